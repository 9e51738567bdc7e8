//! Outputs that a program reads from the store of values (rule J9).

use std::collections::HashSet;

use async_nats::Subject;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::connection::ServerConnection;
use super::message::ChunkOutcomes;
use crate::error::{Error, ErrorKind};
use crate::failure::Failure;
use crate::remote::RemoteOutcome;

/// An output that was read; `None` if it was not there.
pub(super) struct FetchedOutput {
    pub(super) chunk: u64,
    pub(super) first: u64,
    pub(super) took: u64,
    pub(super) output: Option<RemoteOutcome>,
    /// The subject at which the agent waits for the confirmation.
    pub(super) reply: Option<Subject>,
}

/// The outputs that are being read, by their chunks and their indices.
pub(super) struct OutputFetcher {
    fetching: HashSet<(u64, u64)>,
    fetched: UnboundedSender<FetchedOutput>,
    fetches: UnboundedReceiver<FetchedOutput>,
}

impl OutputFetcher {
    pub(super) fn new() -> Self {
        let (fetched, fetches) = unbounded_channel();
        OutputFetcher { fetching: HashSet::new(), fetched, fetches }
    }

    /// Begins to read an output, if it is wanted, and removes it.
    pub(super) fn fetch(
        &mut self,
        (connection, run): (ServerConnection, String),
        outcomes: ChunkOutcomes,
        is_wanted: bool,
        reply: Option<Subject>,
    ) {
        let ChunkOutcomes { chunk, first, took, stored, .. } = outcomes;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let Some(stored) = stored.filter(|stored| stored.name.bytes().all(is_word)) else { return };
        if !self.fetching.insert((chunk, first)) {
            // The agent repeats its message while the output is read.
            return;
        }
        let fetched = self.fetched.clone();
        tokio::spawn(async move {
            let output = match is_wanted {
                true => connection.get_value(&run, &stored.name, stored.len).await,
                false => Ok(None),
            };
            match &output {
                Ok(Some(value)) => connection.remove_pieces(&value.pieces).await,
                _ => connection.remove_value(&run, &stored.name).await,
            }
            let failed = |why| {
                let text = format!("its output cannot be read from the server: {why}");
                Box::new(Failure::on_host(&Error::new(ErrorKind::Cluster, text), ""))
            };
            let output = output.map(|value| value.map(|value| value.bytes));
            let output = output.map_err(failed).transpose();
            let _ = fetched.send(FetchedOutput { chunk, first, took, output, reply });
        });
    }

    /// Waits for an output.
    pub(super) async fn next(&mut self) -> Option<FetchedOutput> {
        let fetched = self.fetches.recv().await?;
        self.fetching.remove(&(fetched.chunk, fetched.first));
        Some(fetched)
    }
}
