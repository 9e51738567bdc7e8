//! The work of an agent: takes chunks, runs them, and sends their outcomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use super::AgentSettings;
use super::delivery::{EndedRuns, deliver};
use super::pools::Pools;
use super::state::{Agent, PAUSE, all_failed, options};
use super::{broadcast, presence};
use crate::cluster::{ChunkMessage, RunMessage, ServerConnection, Subjects, decoded, shown};
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{Failure, FailureKind};
use crate::pool::Pool;
use crate::remote::{RemoteInputs, RemoteOutcome};

/// The time for which a request for a chunk waits at the server. An agent that ends waits for its requests, so that no
/// chunk is on its way to it.
const ASK: Duration = Duration::from_secs(2);

/// The time that the server may be silent after a request has expired.
const SILENT: Duration = Duration::from_secs(1);

/// Serves until a signal ends the agent.
pub(super) async fn serve(settings: AgentSettings, pools: Pools) -> Result<()> {
    let unhandled =
        |error: std::io::Error| Error::start(format!("it cannot handle signals: {error}"));
    let terminated = crate::sys::signals::termination().map_err(unhandled)?;
    #[allow(
        deprecated,
        reason = "later versions have an unsafe constructor for descriptors that are not owned"
    )]
    let terminated = AsyncFd::with_interest(terminated, Interest::READABLE).map_err(unhandled)?;
    let AgentSettings { url, workers, host_timeout } = settings;
    let connection = tokio::select! {
        connection = connect(&url) => connection?,
        _ = terminated.readable() => return Ok(()),
    };
    let consumer = connection.ensure_consumer(host_timeout).await?;
    let presence = presence::of_this_process(workers, host_timeout, &connection)?;
    let agent = Agent {
        connection,
        consumer,
        pools,
        host: presence.host.clone(),
        id: presence.id.clone(),
        workers,
        host_timeout,
        stored: AtomicU64::new(0),
        ended_runs: EndedRuns::default(),
        is_ending: AtomicBool::new(false),
    };
    let agent = Arc::new(agent);
    let broadcasts = Arc::default();
    let broadcasting = tokio::spawn(broadcast::serve(
        Arc::clone(&agent),
        presence.id.clone(),
        Arc::clone(&broadcasts),
    ));
    let answering = tokio::spawn(presence::answer(Arc::clone(&agent), presence));
    let mut slots = JoinSet::new();
    for _ in 0..workers {
        slots.spawn(serve_slot(Arc::clone(&agent)));
    }
    let place = &agent.connection.url;
    eprintln!("procession agent: serves the server at {place} with {workers} workers");
    // It fails only if the runtime ends.
    drop(terminated.readable().await);
    agent.is_ending.store(true, Ordering::Relaxed);
    eprintln!("procession agent: finishes its tasks and ends");
    while slots.join_next().await.is_some() {}
    broadcast::finish(&broadcasts).await;
    broadcasting.abort();
    answering.abort();
    let _ = agent.connection.client.flush().await;
    Ok(())
}

/// Connects to the server, and waits for a server that is not there yet.
async fn connect(url: &str) -> Result<ServerConnection> {
    let mut was_told = false;
    loop {
        match ServerConnection::open(url, "procession agent").await {
            Err(error) if error.kind() == ErrorKind::Cluster => {
                if !was_told {
                    eprintln!("procession agent: waits for the server at {}: {error}", shown(url));
                }
                was_told = true;
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

/// Takes one chunk after the other, for one worker (rule J7).
async fn serve_slot(agent: Arc<Agent>) {
    let mut deliveries = JoinSet::new();
    while !agent.is_ending.load(Ordering::Relaxed) {
        match agent.next().await {
            Ok(Some(message)) => agent.clone().handle(message, &mut deliveries).await,
            Ok(None) => {}
            Err(_) => {
                // The server was restarted or replaced.
                tokio::time::sleep(PAUSE).await;
                drop(agent.connection.ensure_consumer(agent.host_timeout).await);
            }
        }
        while deliveries.try_join_next().is_some() {}
    }
    while deliveries.join_next().await.is_some() {}
}

impl Agent {
    /// Asks for a chunk. Returns `None` if there was none.
    async fn next(&self) -> Result<Option<Message>, async_nats::Error> {
        let mut batch = self.consumer.batch().max_messages(1).expires(ASK).messages().await?;
        // The server says when the request has expired. It does not answer for a consumer that does not exist.
        tokio::time::timeout(ASK + SILENT, batch.next()).await?.transpose()
    }

    /// Runs a chunk. Its outcomes are delivered while the next one runs.
    async fn handle(self: Arc<Self>, message: Message, deliveries: &mut JoinSet<()>) {
        let tries = message.info().map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1));
        let subject = message.subject.clone();
        let place = Subjects::parts(&subject);
        let chunk = decoded::<ChunkMessage>(&message.payload);
        let (Some((run, chunk)), Some(content)) = (place, chunk) else {
            // Nobody waits for what this build did not send.
            return drop(message.ack_with(AckKind::Term).await);
        };
        if self.ended_runs.contains(run) {
            return drop(message.ack().await);
        }
        let attempts = u64::from(content.host_retries) + 1;
        let answers = if tries > attempts {
            vec![RunMessage::HostsLost { chunk, tries: attempts }]
        } else if tries > 1 && content.inputs.lengths.len() > 1 {
            vec![RunMessage::Divide { chunk }]
        } else {
            let mut content = content;
            if content.is_stored {
                let fetch = self.fetch_input(run, chunk, &mut content.inputs);
                match self.with_progress(&message, fetch).await {
                    Ok(true) => {}
                    // The program sends it again (rule J2).
                    Ok(false) => return drop(message.ack().await),
                    Err(error) => {
                        let failed = all_failed(content.inputs.lengths.len(), &error, &self.host);
                        let answers = self.packed(run, chunk, failed, 0).await;
                        return self.answer(message, answers, deliveries);
                    }
                }
            }
            if tries == attempts {
                let last_try = RunMessage::LastTry { chunk, host: self.host.clone() };
                let delivered = deliver(&self.connection, &self.ended_runs, run, &last_try);
                if self.with_progress(&message, delivered).await.is_none() {
                    return drop(message.ack().await);
                }
            }
            let Some((outcomes, took)) = self.with_progress(&message, self.run(run, content)).await
            else {
                return drop(message.ack().await);
            };
            self.with_progress(&message, self.packed(run, chunk, outcomes, took)).await
        };
        self.answer(message, answers, deliveries);
    }

    /// Delivers the answers to a chunk, and acknowledges it, while the next chunk runs.
    fn answer(
        self: Arc<Self>,
        message: Message,
        answers: Vec<RunMessage>,
        deliveries: &mut JoinSet<()>,
    ) {
        let Some((run, _)) = Subjects::parts(&message.subject) else { return };
        let run = run.to_owned();
        deliveries.spawn(async move {
            let deliver = async {
                for answer in &answers {
                    deliver(&self.connection, &self.ended_runs, &run, answer).await?;
                }
                Some(())
            };
            self.with_progress(&message, deliver).await;
            // If this is lost, the chunk runs again, and its outcomes are dropped (rule J3).
            drop(message.ack().await);
        });
    }

    /// Runs the inputs of a chunk. Returns `None` if the program has ended.
    async fn run(&self, run: &str, content: ChunkMessage) -> Option<(Vec<RemoteOutcome>, u64)> {
        let ChunkMessage { setup, inputs, .. } = content;
        let (count, host) = (inputs.lengths.len(), self.host.clone());
        let work = move |pool: &Pool, is_unwanted: &AtomicBool| {
            run_inputs(pool, &inputs, &host, is_unwanted)
        };
        self.in_pool(run, setup, count, work).await
    }
}

/// Runs the inputs of a chunk in a pool of this host.
fn run_inputs(
    pool: &Pool,
    inputs: &RemoteInputs,
    host: &str,
    is_unwanted: &AtomicBool,
) -> Vec<RemoteOutcome> {
    let Some(each) = inputs.each() else {
        let failure = Failure::plain(FailureKind::Decode, "its chunk is malformed".to_owned());
        return inputs.lengths.iter().map(|_| Err(Box::new(failure.clone()))).collect();
    };
    match pool.map_encoded(inputs.task, &options(inputs), &each, is_unwanted) {
        Ok(outcomes) => {
            let failure = |error| Box::new(Failure::on_host(&error, host));
            outcomes.into_iter().map(|outcome| outcome.map_err(failure)).collect()
        }
        Err(error) => all_failed(each.len(), &error, host),
    }
}
