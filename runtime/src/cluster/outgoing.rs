//! Keeping a chunk in the work queue until its outcomes have arrived (rule J2).

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;

use super::connection::ServerConnection;
use crate::poison::IgnorePoison;

/// The pause after a failed attempt.
const PAUSE: Duration = Duration::from_millis(300);

/// How often the server is asked whether it still has the chunk: at first, and when a chunk has waited for long, so that
/// many chunks of long tasks do not keep the server busy.
const CHECK: Duration = Duration::from_secs(3);
const CHECK_LATER: Duration = Duration::from_secs(30);

/// The number of consecutive checks that have to find no message before the chunk is sent again. An agent
/// acknowledges a chunk just after its outcomes were confirmed, so that one check proves nothing.
const MISSES: u32 = 2;

/// Sends a chunk, and sends it again whenever the server does not have it any more. Ends only if the server refuses
/// it for as long as `timeout`, with the reason.
pub(super) async fn keep_queued(
    connection: ServerConnection,
    subject: String,
    message: Bytes,
    value: Option<StoredInput>,
    timeout: Duration,
) -> String {
    loop {
        if let Some(value) = &value
            && let Err(why) = value.store(&connection, timeout).await
        {
            return why;
        }
        if let Err(why) = send(&connection, &subject, &message, timeout).await {
            return why;
        }
        let (mut misses, mut pause) = (0, CHECK);
        let mut connects = connection.connects();
        while misses < MISSES {
            tokio::time::sleep(pause).await;
            match is_handed_out(&connection, &subject).await {
                Some(true) => (misses, pause) = (0, (2 * pause).min(CHECK_LATER)),
                Some(false) => (misses, pause) = (misses + 1, CHECK),
                None => pause = CHECK,
            }
            if connects != connection.connects() {
                // The server may have lost something.
                (connects, pause) = (connection.connects(), CHECK);
            }
        }
    }
}

/// An input in the store of values (rule J9).
pub(super) struct StoredInput {
    pub(super) run: String,
    pub(super) name: String,
    pub(super) bytes: Bytes,
    /// The numbers of its pieces, as soon as they are stored.
    pub(super) pieces: Arc<Mutex<Vec<u64>>>,
}

impl StoredInput {
    /// Stores the input. If the server refuses it for as long as `timeout`, returns the reason.
    pub(super) async fn store(
        &self,
        connection: &ServerConnection,
        timeout: Duration,
    ) -> Result<(), String> {
        let mut refused_since: Option<Instant> = None;
        loop {
            let why = match connection.put_value(&self.run, &self.name, &self.bytes).await {
                Ok(pieces) => {
                    let former =
                        std::mem::replace(&mut *self.pieces.lock().ignore_poison(), pieces);
                    connection.remove_pieces(&former).await;
                    return Ok(());
                }
                Err(why) => why,
            };
            if !is_connected(connection) {
                refused_since = None;
            } else if refused_since.get_or_insert_with(Instant::now).elapsed() > timeout {
                return Err(format!(
                    "the NATS server at {} does not store a value of {} bytes: {why}; give its JetStream more room, or pass \
                     the name of a file",
                    connection.url,
                    self.bytes.len()
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn send(
    connection: &ServerConnection,
    subject: &str,
    message: &Bytes,
    timeout: Duration,
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
            if since.elapsed() > timeout {
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

pub(crate) fn is_connected(connection: &ServerConnection) -> bool {
    connection.client.connection_state() == async_nats::connection::State::Connected
}

/// Returns whether the server has the chunk and agents have it or can get it; `None` if it cannot be asked.
///
/// A server that was killed may have a chunk of which it knows at the same time that it was acknowledged. It gives it to nobody.
async fn is_handed_out(connection: &ServerConnection, subject: &str) -> Option<bool> {
    match is_queued(connection, subject).await {
        Some(true) => connection.has_work().await,
        other => other,
    }
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
