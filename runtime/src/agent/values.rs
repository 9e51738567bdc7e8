//! Long values, which are in the store of values of the server (rule J9).

use std::sync::atomic::Ordering;

use super::delivery::deliver;
use super::state::{Agent, PAUSE};
use crate::cluster::{LONGEST_VALUE, RunMessage, StoredOutput, input_of, is_connected, packed};
use crate::error::{Error, ErrorKind, Result};
use crate::failure::Failure;
use crate::remote::{RemoteInputs, RemoteOutcome};

/// The number of attempts to store an output.
const ATTEMPTS: usize = 5;

impl Agent {
    /// Fetches the input of a chunk. Returns false if it is not there.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not give it.
    pub(super) async fn fetch_input(
        &self,
        run: &str,
        chunk: u64,
        inputs: &mut RemoteInputs,
    ) -> Result<bool> {
        let len = inputs.lengths.iter().sum();
        match self.connection.get_value(run, &input_of(chunk), len).await {
            Ok(Some(value)) => {
                inputs.bytes = value.bytes;
                Ok(true)
            }
            Ok(None) => {
                // If the program has ended, this removes what it has left.
                let _ = deliver(&self.connection, &self.ended_runs, run, &RunMessage::Alive).await;
                Ok(false)
            }
            Err(why) => {
                let text = format!("its input cannot be read from the server: {why}");
                Err(Error::new(ErrorKind::Cluster, text))
            }
        }
    }

    /// Packs the outcomes of a chunk into messages, and stores those that fit no message.
    pub(super) async fn packed(
        &self,
        run: &str,
        chunk: u64,
        mut outcomes: Vec<RemoteOutcome>,
        took: u64,
    ) -> Vec<RunMessage> {
        for outcome in &mut outcomes {
            if let Ok(bytes) = outcome
                && bytes.len() as u64 > LONGEST_VALUE
            {
                *outcome = Err(Box::new(self.too_long(bytes.len())));
            }
        }
        let (limit, mut values) = (self.connection.client.max_payload(), Vec::new());
        let store = |index, bytes: Vec<u8>| {
            // The same chunk may run again, here or on another agent.
            let number = self.stored.fetch_add(1, Ordering::Relaxed);
            let name = format!("{chunk}-{index}-{}-{number}", self.id);
            let len = bytes.len() as u64;
            values.push((name.clone(), bytes));
            StoredOutput { name, len }
        };
        let mut messages = packed((chunk, took), outcomes, limit, store);
        for (name, bytes) in values {
            if let Err(error) = self.store_output(run, &name, &bytes).await {
                let is_its = |stored: &StoredOutput| stored.name == name;
                for message in &mut messages {
                    if message.stored.as_ref().is_some_and(is_its) {
                        message.stored = None;
                        message.push(Err(Box::new(Failure::on_host(&error, &self.host))));
                    }
                }
            }
        }
        messages.into_iter().map(RunMessage::Outcomes).collect()
    }

    async fn store_output(&self, run: &str, name: &str, bytes: &[u8]) -> Result<()> {
        let mut attempts = 0;
        loop {
            let Err(why) = self.connection.put_value(run, name, bytes).await else { return Ok(()) };
            // Without a connection it waits, because the server may come back.
            attempts += usize::from(is_connected(&self.connection));
            if attempts == ATTEMPTS {
                let text = format!(
                    "the NATS server at {} does not store its output of {} bytes: {why}; give its JetStream more room, or \
                     return the name of a file",
                    self.connection.url,
                    bytes.len()
                );
                return Err(Error::new(ErrorKind::Cluster, text));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn too_long(&self, len: usize) -> Failure {
        let text = format!(
            "its output has {len} bytes, but values of at most {LONGEST_VALUE} bytes reach the program; return the name of a \
             file that both can read"
        );
        let error = Error::new(ErrorKind::Encode, text);
        Failure::on_host(&error, &self.host)
    }
}
