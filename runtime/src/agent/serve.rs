//! The work of an agent: takes chunks, runs them, and sends their outcomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{AckKind, Message};
use futures_util::StreamExt;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::JoinSet;

use super::AgentSettings;
use super::delivery::{EndedRuns, deliver, tell};
use super::pools::Pools;
use crate::cluster::{
    ChunkMessage, PRESENCE_SUBJECT, PoolSetup, Presence, RunMessage, ServerConnection, Subjects,
    decoded, packed, shown,
};
use crate::engine::Options;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{Failure, FailureKind};
use crate::pool::Pool;
use crate::remote::{RemoteInputs, RemoteOutcome};

/// The time for which a request for a chunk waits at the server. An agent that ends waits for its requests, so that no
/// chunk is on its way to it.
const ASK: Duration = Duration::from_secs(2);

/// The time that the server may be silent after a request has expired.
const SILENT: Duration = Duration::from_secs(1);

/// How often the program of a running chunk is asked whether it is still there.
const ASK_PROGRAM: Duration = Duration::from_secs(5);

/// The pause after a failed request.
const PAUSE: Duration = Duration::from_millis(300);

/// The state that the tasks of an agent share.
struct Agent {
    connection: ServerConnection,
    consumer: PullConsumer,
    pools: Pools,
    host: String,
    host_timeout: Duration,
    ended_runs: EndedRuns,
    is_ending: AtomicBool,
}

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
    let (host, ended_runs, is_ending) = (host_name(), EndedRuns::default(), AtomicBool::new(false));
    let presence = presence(&host, workers, &connection);
    let agent = Agent { connection, consumer, pools, host, host_timeout, ended_runs, is_ending };
    let agent = Arc::new(agent);
    let answering = tokio::spawn(answer_presence(Arc::clone(&agent), presence));
    let mut slots = JoinSet::new();
    for _ in 0..workers {
        slots.spawn(serve_slot(Arc::clone(&agent)));
    }
    let place = &agent.connection.url;
    eprintln!("procession agent: serves the server at {place} with {workers} workers");
    // It fails only if the runtime ends.
    drop(terminated.readable().await);
    agent.is_ending.store(true, Ordering::Relaxed);
    answering.abort();
    eprintln!("procession agent: finishes its tasks and ends");
    while slots.join_next().await.is_some() {}
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

/// Returns the name of this host.
fn host_name() -> String {
    let name = crate::sys::read_text("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

fn presence(host: &str, workers: usize, connection: &ServerConnection) -> Presence {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(|path| path.file_name());
    Presence {
        host: host.to_owned(),
        pid: std::process::id(),
        workers,
        build: connection.subjects.build.clone(),
        program: program.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
    }
}

/// Answers the programs that look for agents.
async fn answer_presence(agent: Arc<Agent>, presence: Presence) {
    let client = &agent.connection.client;
    loop {
        if let Ok(mut questions) = client.subscribe(PRESENCE_SUBJECT).await {
            while let Some(question) = questions.next().await {
                if let Some(to) = question.reply {
                    // A program asks again.
                    let _ = client.publish(to, presence.to_text().into()).await;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
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
            if tries == attempts {
                let host = self.host.clone();
                tell(&self.connection, run, &RunMessage::LastTry { chunk, host }).await;
            }
            let Some((outcomes, took)) = self.with_progress(&message, self.run(run, content)).await
            else {
                return drop(message.ack().await);
            };
            let limit = self.connection.client.max_payload();
            let too_long = |len| self.too_long(len, limit);
            let packed = packed((chunk, took), outcomes, limit, too_long);
            packed.into_iter().map(RunMessage::Outcomes).collect()
        };
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

    /// Reports progress to the server until a future ends (rule J4).
    async fn with_progress<R>(&self, message: &Message, work: impl Future<Output = R>) -> R {
        let period = self.host_timeout / 3;
        let mut work = std::pin::pin!(work);
        loop {
            match tokio::time::timeout(period, &mut work).await {
                Ok(outcome) => return outcome,
                Err(_) => drop(message.ack_with(AckKind::Progress).await),
            }
        }
    }

    /// Runs the inputs of a chunk. Returns `None` if the program has ended.
    async fn run(&self, run: &str, content: ChunkMessage) -> Option<(Vec<RemoteOutcome>, u64)> {
        let ChunkMessage { setup, inputs, .. } = content;
        let count = inputs.lengths.len();
        let ask = async {
            let ended = || Error::new(ErrorKind::Closed, "the program has ended");
            let answer = deliver(&self.connection, &self.ended_runs, run, &RunMessage::Setup).await;
            let setup = decoded::<PoolSetup>(&answer.ok_or_else(ended)?);
            setup.ok_or_else(|| {
                Error::new(ErrorKind::Cluster, "the settings of the pool are malformed")
            })
        };
        let error = match self.pools.get(setup, ask).await {
            Ok(pool) => {
                let (host, is_unwanted) = (self.host.clone(), Arc::<AtomicBool>::default());
                let unwanted = Arc::clone(&is_unwanted);
                let mut work = tokio::task::spawn_blocking(move || {
                    let begun = Instant::now();
                    let outcomes = run_inputs(&pool, &inputs, &host, &unwanted);
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

    fn too_long(&self, len: usize, limit: usize) -> Failure {
        let text = format!(
            "its output has {len} bytes, but the messages of the server have at most {limit}; raise `max_payload` of the \
             server (up to 64 MB), or return the place of a file"
        );
        let error = Error::new(ErrorKind::Encode, text);
        Failure::on_host(&error, &self.host)
    }
}

fn all_failed(count: usize, error: &Error, host: &str) -> Vec<RemoteOutcome> {
    (0..count).map(|_| Err(Box::new(Failure::on_host(error, host)))).collect()
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
    let mut options = Options::default();
    options.scheduling.timeout = inputs.options.timeout();
    options.scheduling.retries = inputs.options.retries();
    options.soft_timeout =
        (inputs.soft_timeout != 0).then(|| Duration::from_nanos(inputs.soft_timeout));
    match pool.map_encoded(inputs.task, &options, &each, is_unwanted) {
        Ok(outcomes) => {
            let failure = |error| Box::new(Failure::on_host(&error, host));
            outcomes.into_iter().map(|outcome| outcome.map_err(failure)).collect()
        }
        Err(error) => all_failed(each.len(), &error, host),
    }
}
