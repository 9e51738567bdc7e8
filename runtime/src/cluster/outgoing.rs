//! Keeping a chunk in the work queue until its outcomes have arrived (rule J2).

use std::time::{Duration, Instant};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;

use super::connection::ServerConnection;

/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(300);

/// How often the server is asked whether it still has the chunk.
const CHECK: Duration = Duration::from_secs(3);

/// The number of consecutive checks that have to find no message before the chunk is sent again. An agent
/// acknowledges a chunk just after its outcomes were confirmed, so that one check proves nothing.
const MISSES: u32 = 2;

/// Sends a chunk, and sends it again whenever the server does not have it any more. Ends only if the server refuses
/// it for as long as `patience`, with the reason.
pub(super) async fn keep_queued(
    connection: ServerConnection,
    subject: String,
    message: Bytes,
    patience: Duration,
) -> String {
    loop {
        if let Err(why) = send(&connection, &subject, &message, patience).await {
            return why;
        }
        let mut misses = 0;
        while misses < MISSES {
            tokio::time::sleep(CHECK).await;
            match is_queued(&connection, &subject).await {
                Some(true) => misses = 0,
                Some(false) => misses += 1,
                None => {}
            }
        }
    }
}

async fn send(
    connection: &ServerConnection,
    subject: &str,
    message: &Bytes,
    patience: Duration,
) -> Result<(), String> {
    let mut refused_since: Option<Instant> = None;
    loop {
        let sent = connection.jetstream.publish(subject.to_owned(), message.clone()).await;
        let error = match sent {
            Ok(acknowledged) => match acknowledged.await {
                Ok(_) => return Ok(()),
                Err(error) => error,
            },
            Err(error) => error,
        };
        // Without a connection the program waits, because the server may come back.
        if is_connected(connection) {
            let since = refused_since.get_or_insert_with(Instant::now);
            if since.elapsed() > patience {
                return Err(format!(
                    "the NATS server at {} does not store a chunk: {error}",
                    connection.url
                ));
            }
        }
        tokio::time::sleep(PAUSE).await;
        // The server may have stored it without a confirmation, or may have lost the stream.
        match is_queued(connection, subject).await {
            Some(true) => return Ok(()),
            Some(false) => {}
            None => drop(connection.ensure_stream().await),
        }
    }
}

pub(super) fn is_connected(connection: &ServerConnection) -> bool {
    connection.client.connection_state() == async_nats::connection::State::Connected
}

/// Returns whether the server has the chunk; `None` if it cannot be asked.
async fn is_queued(connection: &ServerConnection, subject: &str) -> Option<bool> {
    let stream =
        connection.jetstream.get_stream_no_info(connection.subjects.stream()).await.ok()?;
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(_) => Some(true),
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Some(false),
            // 10059: the stream does not exist, so that the server was replaced.
            LastRawMessageErrorKind::JetStream(error) if error.error_code().0 == 10_059 => {
                drop(connection.ensure_stream().await);
                Some(false)
            }
            _ => None,
        },
    }
}
