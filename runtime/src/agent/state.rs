//! The state of an agent, and the pools in which it runs what programs send.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};

use super::delivery::{EndedRuns, deliver};
use super::pools::Pools;
use crate::cluster::{PoolSetup, RunMessage, SETUP, ServerConnection, SetupAnswer, decoded};
use crate::engine::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::Failure;
use crate::pool::Pool;
use crate::remote::{RemoteInputs, RemoteOutcome};

/// The pause after a failed request.
pub(super) const PAUSE: Duration = Duration::from_millis(300);

/// How often the program of a running chunk is asked whether it is still there.
const ASK_PROGRAM: Duration = Duration::from_secs(5);

/// The state that the tasks of an agent share.
pub(super) struct Agent {
    pub(super) connection: ServerConnection,
    pub(super) consumer: PullConsumer,
    pub(super) pools: Pools,
    pub(super) host: String,
    /// The word that identifies it.
    pub(super) id: String,
    pub(super) workers: usize,
    pub(super) host_timeout: Duration,
    /// The number of outputs that it has stored.
    pub(super) stored: AtomicU64,
    pub(super) ended_runs: EndedRuns,
    pub(super) is_ending: AtomicBool,
}

impl Agent {
    /// Reports progress to the server until a future ends (rule J4).
    pub(super) async fn with_progress<R>(
        &self,
        message: &Message,
        work: impl Future<Output = R>,
    ) -> R {
        let period = self.host_timeout / 3;
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(period, &mut work).await {
                Ok(outcome) => return outcome,
                Err(_) => drop(message.ack_with(AckKind::Progress).await),
            }
        }
    }

    /// Runs `work` with the pool of a setup, and returns its outcomes and the nanoseconds that it took. Returns `None` if
    /// the program has ended.
    pub(super) async fn in_pool(
        &self,
        run: &str,
        setup: u64,
        count: usize,
        work: impl FnOnce(&Pool, &AtomicBool) -> Vec<RemoteOutcome> + Send + 'static,
    ) -> Option<(Vec<RemoteOutcome>, u64)> {
        let error = match self.pools.get(setup, self.ask_setup(run)).await {
            Ok(pool) => {
                let is_unwanted = Arc::<AtomicBool>::default();
                let unwanted = Arc::clone(&is_unwanted);
                let mut work = tokio::task::spawn_blocking(move || {
                    let begun = Instant::now();
                    let outcomes = work(&pool, &unwanted);
                    (outcomes, begun.elapsed())
                });
                let outcome = tokio::select! {
                    outcome = &mut work => outcome,
                    () = self.program_ends(run) => {
                        is_unwanted.store(true, Ordering::Relaxed);
                        let _ = work.await;
                        return None;
                    }
                };
                match outcome {
                    Ok((outcomes, took)) => {
                        return Some((
                            outcomes,
                            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
                        ));
                    }
                    Err(error) => Error::start(format!("the agent has panicked: {error}")),
                }
            }
            Err(error) if error.kind() == ErrorKind::Closed => return None,
            Err(error) => error,
        };
        Some((all_failed(count, &error, &self.host), 0))
    }

    /// Asks a program for the setup of its pool.
    async fn ask_setup(&self, run: &str) -> Result<PoolSetup> {
        let ended = || Error::new(ErrorKind::Closed, "the program has ended");
        let malformed = || Error::new(ErrorKind::Cluster, "the settings of the pool are malformed");
        let ask = deliver(&self.connection, &self.ended_runs, run, &RunMessage::Setup);
        match decoded(&ask.await.ok_or_else(ended)?).ok_or_else(malformed)? {
            SetupAnswer::Setup(setup) => Ok(setup),
            SetupAnswer::Stored(len) => {
                let value = self.connection.get_value(run, SETUP, len).await;
                let missing = |why| {
                    let text = format!("the settings of the pool cannot be read: {why}");
                    Error::new(ErrorKind::Cluster, text)
                };
                let value = value.and_then(|value| value.ok_or_else(|| "they are lost".to_owned()));
                decoded(&value.map_err(missing)?.bytes).ok_or_else(malformed)
            }
        }
    }

    /// Waits until the program of a run has ended.
    async fn program_ends(&self, run: &str) {
        loop {
            tokio::time::sleep(ASK_PROGRAM).await;
            if deliver(&self.connection, &self.ended_runs, run, &RunMessage::Alive).await.is_none()
            {
                return;
            }
        }
    }
}

/// Returns the options of a call in the pool of this host.
pub(super) fn options(inputs: &RemoteInputs) -> Options {
    let mut options = Options::default();
    options.scheduling.timeout = inputs.options.timeout();
    options.scheduling.retries = inputs.options.retries();
    options.soft_timeout =
        (inputs.soft_timeout != 0).then(|| Duration::from_nanos(inputs.soft_timeout));
    options
}

pub(super) fn all_failed(count: usize, error: &Error, host: &str) -> Vec<RemoteOutcome> {
    (0..count).map(|_| Err(Box::new(Failure::on_host(error, host)))).collect()
}
