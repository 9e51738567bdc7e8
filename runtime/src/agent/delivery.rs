//! Messages from an agent to the program of a run (rules J4 and J6).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use async_nats::{Request, RequestErrorKind};
use bytes::Bytes;

use crate::cluster::{RunMessage, ServerConnection};
use crate::failure::encoded;
use crate::poison::IgnorePoison;

/// The pause before a message is sent again.
const PAUSE: Duration = Duration::from_millis(200);

/// The time without anybody who wants the outcomes of a run, after which its program counts as ended. A program that
/// has lost its connection needs some time to connect again.
const ENDED_AFTER: Duration = Duration::from_secs(5);

/// The time for which the chunks of such a run are dropped without another attempt.
const ENDED_FOR: Duration = Duration::from_secs(20);

/// The runs whose programs have ended.
#[derive(Default)]
pub(super) struct EndedRuns(Mutex<HashMap<String, Instant>>);

impl EndedRuns {
    fn note(&self, run: &str) {
        let mut ended_runs = self.0.lock().ignore_poison();
        ended_runs.retain(|_, at| at.elapsed() < ENDED_FOR);
        ended_runs.insert(run.to_owned(), Instant::now());
    }

    pub(super) fn contains(&self, run: &str) -> bool {
        self.0.lock().ignore_poison().get(run).is_some_and(|at| at.elapsed() < ENDED_FOR)
    }
}

/// Sends a message to the program of a run until it is confirmed, and returns the answer. Returns `None` if the
/// program has ended.
pub(super) async fn deliver(
    connection: &ServerConnection,
    ended_runs: &EndedRuns,
    run: &str,
    message: &RunMessage,
) -> Option<Bytes> {
    let subject = connection.subjects.run(run);
    let payload = Bytes::from(encoded(message));
    let mut nobody_since: Option<Instant> = None;
    loop {
        let request = Request::new().payload(payload.clone());
        match connection.client.send_request(subject.clone(), request).await {
            Ok(answer) => return Some(answer.payload),
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                let since = nobody_since.get_or_insert_with(Instant::now);
                if since.elapsed() > ENDED_AFTER || ended_runs.contains(run) {
                    ended_runs.note(run);
                    // A program that has ended in order has removed it itself.
                    connection.remove_run(run).await;
                    return None;
                }
            }
            // The connection is lost or slow.
            Err(_) => nobody_since = None,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
