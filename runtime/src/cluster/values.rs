//! Values that are longer than a message, which the server stores in pieces (rule J9).
//!
//! The object store of the client is not used, because it leaves the pieces of a value behind that it could not store as a whole, and
//! a message for each value that was removed.

use std::time::Duration;

use async_nats::jetstream::stream::{self, DirectGetErrorKind, DiscardPolicy, StorageType, Stream};

use super::connection::ServerConnection;
use super::message::room_for_inputs;
use super::outgoing::is_connected;

/// The maximum length of a value.
pub(crate) const MOST: u64 = 1 << 30;

/// The maximum length of a piece, and the number of pieces that are sent without a confirmation.
const PIECE: usize = 512 << 10;
const UNCONFIRMED: usize = 8;

/// The name of the setup of a pool.
pub(crate) const SETUP: &str = "setup";

/// The time after which the server removes a value that nobody has removed.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The time for one attempt to send or fetch a value, for each begun 16 MiB.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);

/// The number of attempts to fetch a value, and the pause between them.
const ATTEMPTS: usize = 5;
const PAUSE: Duration = Duration::from_millis(500);

/// A value that was read, and the numbers of its pieces in the stream.
#[derive(Default)]
pub(crate) struct StoredValue {
    pub(crate) bytes: Vec<u8>,
    pub(crate) pieces: Vec<u64>,
}

fn attempt_timeout(len: u64) -> Duration {
    ATTEMPT_TIMEOUT.saturating_mul(u32::try_from(len >> 24).unwrap_or(u32::MAX).saturating_add(1))
}

/// The name of the input of a chunk.
pub(crate) fn input_of(chunk: u64) -> String {
    format!("{chunk}-input")
}

impl ServerConnection {
    /// Returns the stream of the values of this build, and creates it if it does not exist.
    async fn values(&self) -> Result<Stream, String> {
        let config = stream::Config {
            name: self.subjects.values_stream(),
            subjects: vec![self.subjects.all_values()],
            // A full store refuses values, and does not remove others.
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            max_age: MAX_AGE,
            allow_direct: true,
            ..stream::Config::default()
        };
        self.jetstream.get_or_create_stream(config).await.map_err(|error| error.to_string())
    }

    /// Stores a value in pieces, and returns their numbers in the stream. If it cannot be stored as a whole, removes what
    /// was stored.
    ///
    /// # Errors
    ///
    /// Returns what the server says, or that it does not answer.
    pub(crate) async fn put_value(
        &self,
        run: &str,
        name: &str,
        value: &[u8],
    ) -> Result<Vec<u64>, String> {
        let mut pieces = Vec::new();
        let limit = attempt_timeout(value.len() as u64);
        let put = self.try_put((run, name), value, &mut pieces);
        let put = tokio::time::timeout(limit, put).await;
        match put.unwrap_or_else(|_| Err("no answer".to_owned())) {
            Ok(()) => Ok(pieces),
            Err(why) => {
                self.remove_pieces(&pieces).await;
                Err(why)
            }
        }
    }

    async fn try_put(
        &self,
        (run, name): (&str, &str),
        value: &[u8],
        pieces: &mut Vec<u64>,
    ) -> Result<(), String> {
        self.values().await?;
        let size = room_for_inputs(self.client.max_payload()).min(PIECE);
        let mut outcome = Ok(());
        // After an error, the pieces that are on their way have to be known as well.
        for (number, group) in value.chunks(size * UNCONFIRMED).enumerate() {
            let mut unconfirmed = Vec::new();
            for (index, piece) in group.chunks(size).enumerate() {
                let subject = self.subjects.piece(run, name, number * UNCONFIRMED + index);
                match self.jetstream.publish(subject, piece.to_vec().into()).await {
                    Ok(sent) => unconfirmed.push(sent),
                    Err(error) => outcome = Err(error.to_string()),
                }
            }
            for sent in unconfirmed {
                match sent.await {
                    Ok(confirmed) => pieces.push(confirmed.sequence),
                    Err(error) => outcome = Err(error.to_string()),
                }
            }
            outcome.clone()?;
        }
        outcome
    }

    /// Returns a stored value of the given length, for which it allocates no more than that, and the numbers of its pieces;
    /// `None` if the value is not there.
    ///
    /// # Errors
    ///
    /// Returns what the server says after several attempts, or that the value has another length.
    pub(crate) async fn get_value(
        &self,
        run: &str,
        name: &str,
        len: u64,
    ) -> Result<Option<StoredValue>, String> {
        if len > MOST {
            return Err(format!("a value of {len} bytes is too long"));
        }
        let mut attempts = 0;
        loop {
            let limit = attempt_timeout(len);
            let got = tokio::time::timeout(limit, self.try_get(run, name, len)).await;
            let why = match got.unwrap_or_else(|_| Err("no answer".to_owned())) {
                Ok(value) => return Ok(value),
                Err(why) => why,
            };
            // Without a connection it waits, because the server may come back.
            attempts += usize::from(is_connected(self));
            if attempts == ATTEMPTS {
                return Err(why);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn try_get(
        &self,
        run: &str,
        name: &str,
        len: u64,
    ) -> Result<Option<StoredValue>, String> {
        let (stream, mut value) = (self.values().await?, StoredValue::default());
        while (value.bytes.len() as u64) < len {
            let subject = self.subjects.piece(run, name, value.pieces.len());
            match stream.direct_get_last_for_subject(subject).await {
                Ok(piece) => {
                    value.bytes.extend_from_slice(&piece.payload);
                    value.pieces.push(piece.sequence);
                }
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error.to_string()),
            }
        }
        match value.bytes.len() as u64 == len {
            true => Ok(Some(value)),
            false => Err("it has another length".to_owned()),
        }
    }

    /// Removes pieces of values one by one. A server of version 2.9 does not count the room of messages as free that are
    /// removed by their subject.
    pub(crate) async fn remove_pieces(&self, pieces: &[u64]) {
        let Ok(stream) = self.jetstream.get_stream_no_info(self.subjects.values_stream()).await
        else {
            return;
        };
        for piece in pieces {
            // Otherwise it is removed with its run.
            let _ = stream.delete_message(*piece).await;
        }
    }

    /// Removes a stored value that nobody has read, if it is there.
    pub(crate) async fn remove_value(&self, run: &str, name: &str) {
        self.purge(self.subjects.values_stream(), self.subjects.pieces(run, name)).await;
    }

    /// Removes what a run has left in the server: its chunks and its values.
    pub(crate) async fn remove_run(&self, run: &str) {
        self.purge(self.subjects.stream(), self.subjects.chunks_of(run)).await;
        // Most builds have no long values, and no stream for them.
        self.purge(self.subjects.values_stream(), self.subjects.values_of(run)).await;
    }

    /// Removes the messages of a stream with the given subjects. If that fails, their age removes them.
    async fn purge(&self, stream: String, subjects: String) {
        if let Ok(stream) = self.jetstream.get_stream_no_info(stream).await {
            let _ = stream.purge().filter(subjects).await;
        }
    }
}
