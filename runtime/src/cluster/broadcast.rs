//! Sending an input to all workers of an agent (rule J8).

use std::time::{Duration, Instant};

use async_nats::{Request, RequestErrorKind};
use bytes::Bytes;

use super::connection::ServerConnection;
use super::outgoing::is_connected;
use super::presence::Presence;

/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(300);

/// How often the agent is asked whether it is still there.
const CHECK: Duration = Duration::from_secs(2);

/// The time without a subscription of the agent, after which it counts as ended. An agent that has lost its connection
/// needs some time to connect again.
const ENDED_AFTER: Duration = Duration::from_secs(5);

/// Sends a message to an agent, and asks whether the agent is still there. Ends only if it is lost, with the reason.
pub(super) async fn keep_asking(
    connection: ServerConnection,
    agent: Presence,
    message: Bytes,
) -> String {
    let subject = connection.subjects.agent(&agent.id);
    let (mut message, mut has_it) = (message, false);
    let mut silent_since: Option<Instant> = None;
    loop {
        let request = Request::new().payload(message.clone());
        let limit = match connection.client.send_request(subject.clone(), request).await {
            Ok(_) => {
                // From now on, the agent only has to answer.
                (message, has_it, silent_since) = (Bytes::new(), true, None);
                tokio::time::sleep(CHECK).await;
                continue;
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => ENDED_AFTER,
            Err(_) => Duration::from_secs(agent.timeout),
        };
        // Without a connection the program waits, because the server may come back.
        if !is_connected(&connection) {
            silent_since = None;
        } else if silent_since.get_or_insert_with(Instant::now).elapsed() > limit {
            let host = &agent.host;
            return match has_it {
                true => format!(
                    "its host `{host}` was lost: it ended or fell silent before it answered"
                ),
                false => {
                    format!("its host `{host}` was lost: it ended or fell silent before it began")
                }
            };
        }
        tokio::time::sleep(PAUSE).await;
    }
}
