//! The program's side of a cluster: sends chunks, and receives their outcomes.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use async_nats::{Message, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::connection::ServerConnection;
use super::message::{
    ChunkMessage, ChunkOutcomes, PoolSetup, RunMessage, decoded, room_for_inputs,
};
use super::outgoing::{is_connected, keep_queued};
use super::presence::{Agents, PRESENCE_SUBJECT, Presence};
use super::sent::SentChunks;
use super::settings::ClusterSettings;
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{Failure, encoded};
use crate::remote::{RemoteInputs, RemoteOutcomes};

/// Called with the number of workers of all agents.
pub(super) type OnWorkers = Box<dyn Fn(usize) + Send + Sync>;

/// What the pool wants from the thread of the client.
pub(super) enum Command {
    Run(RemoteInputs, SyncSender<RemoteOutcomes>),
    Watch(OnWorkers),
    End,
}

/// How often agents are asked while the pool starts, and later.
const ASK_AT_START: Duration = Duration::from_millis(200);
const ASK: Duration = Duration::from_secs(2);

/// The time that further agents have after the first one, if the user has not asked for a number of workers.
const SETTLE: Duration = Duration::from_millis(300);

/// The maximum time for leaving the server in order.
const LEAVE: Duration = Duration::from_secs(1);

/// A chunk that is on its way.
struct Sent {
    publisher: AbortHandle,
    at: Instant,
    message: Bytes,
}

/// The state of the client.
pub(super) struct Submitter {
    settings: ClusterSettings,
    setup: Vec<u8>,
    setup_hash: u64,
    connection: ServerConnection,
    /// The name of this run, which no other run has.
    run: String,
    agents: Agents,
    presences: Subscriber,
    inbox: String,
    outcomes: Subscriber,
    chunks: SentChunks,
    sent: HashMap<u64, Sent>,
    /// Parts that the server does not store, and the reasons.
    refused: UnboundedSender<(u64, String)>,
    refusals: UnboundedReceiver<(u64, String)>,
    on_workers: Option<(OnWorkers, usize)>,
}

impl Submitter {
    /// Connects and waits for agents.
    pub(super) async fn start(settings: ClusterSettings, setup: PoolSetup) -> Result<Self> {
        let connection = ServerConnection::open(&settings.url, "procession program").await?;
        connection.ensure_stream().await?;
        let failed = |error: &dyn std::fmt::Display| {
            let text =
                format!("the NATS server at {} refuses a subscription: {error}", connection.url);
            Error::new(ErrorKind::Cluster, text)
        };
        let run = new_run()?;
        let inbox = connection.client.new_inbox();
        let presences =
            connection.client.subscribe(inbox.clone()).await.map_err(|error| failed(&error))?;
        let subject = connection.subjects.run(&run);
        let outcomes =
            connection.client.subscribe(subject).await.map_err(|error| failed(&error))?;
        let (refused, refusals) = mpsc::unbounded_channel();
        let mut submitter = Submitter {
            agents: Agents::new(connection.subjects.build.clone()),
            setup_hash: setup.hash(),
            setup: encoded(&setup),
            connection,
            run,
            presences,
            inbox,
            outcomes,
            chunks: SentChunks::default(),
            sent: HashMap::new(),
            refused,
            refusals,
            on_workers: None,
            settings,
        };
        submitter.wait_for_agents().await?;
        Ok(submitter)
    }

    /// Returns the number of workers of all agents.
    pub(super) fn workers(&self) -> usize {
        self.agents.workers()
    }

    async fn wait_for_agents(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut first: Option<Instant> = None;
        let mut ask = tokio::time::interval(ASK_AT_START);
        loop {
            tokio::select! {
                Some(message) = self.presences.next() => self.note_presence(&message),
                _ = ask.tick() => self.ask().await,
            }
            let workers = self.workers();
            if workers > 0 {
                first.get_or_insert_with(Instant::now);
            }
            let is_enough = match self.settings.workers {
                Some(asked) => workers >= asked,
                None => first.is_some_and(|first| first.elapsed() > SETTLE),
            };
            if is_enough {
                return Ok(());
            }
            let limit = self.settings.agents_timeout;
            if begun.elapsed() > limit {
                let wanted = match self.settings.workers {
                    Some(asked) => format!("{asked} workers were asked for"),
                    None => "no worker is there".to_owned(),
                };
                let text = format!(
                    "{wanted}, and within {limit:?} {} at the NATS server {}; start agents with the same executable and \
                     PROCESSION_AGENT, or give them more time with agents_timeout(..)",
                    self.agents.summary(),
                    self.connection.url
                );
                return Err(Error::new(ErrorKind::Cluster, text));
            }
        }
    }

    async fn ask(&self) {
        if is_connected(&self.connection) {
            let client = &self.connection.client;
            // Without an answer the agents are asked again.
            let asked =
                client.publish_with_reply(PRESENCE_SUBJECT, self.inbox.clone(), "".into()).await;
            drop(asked);
        }
    }

    fn note_presence(&mut self, message: &Message) {
        if let Some(presence) = Presence::read(&message.payload) {
            self.agents.note(presence);
        }
        let workers = self.workers();
        if let Some((on_workers, known)) = &mut self.on_workers
            && workers > *known
        {
            *known = workers;
            on_workers(workers);
        }
    }

    /// Serves the pool until it ends.
    pub(super) async fn run(mut self, mut commands: UnboundedReceiver<Command>) {
        let mut ask = tokio::time::interval(ASK);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Run(inputs, answer)) => self.send(inputs, answer),
                    Some(Command::Watch(on_workers)) => {
                        let workers = self.workers();
                        self.on_workers = Some((on_workers, workers));
                    }
                    Some(Command::End) | None => break,
                },
                Some(message) = self.outcomes.next() => self.receive(message).await,
                Some(message) = self.presences.next() => self.note_presence(&message),
                Some((part, why)) = self.refusals.recv() => self.fail(part, ErrorKind::Cluster, &why),
                _ = ask.tick() => {
                    self.ask().await;
                    self.check_agents();
                }
            }
        }
        self.leave().await;
    }

    fn send(&mut self, inputs: RemoteInputs, answer: SyncSender<RemoteOutcomes>) {
        let room = room_for_inputs(self.connection.client.max_payload());
        for (part, inputs) in self.chunks.add(inputs, answer, room) {
            self.send_part(part, inputs, self.settings.host_retries);
        }
    }

    fn send_part(&mut self, part: u64, inputs: RemoteInputs, host_retries: u32) {
        let message = encoded(&ChunkMessage { setup: self.setup_hash, host_retries, inputs });
        let message = Bytes::from(message);
        let subject = self.connection.subjects.chunk(&self.run, part);
        let (connection, refused) = (self.connection.clone(), self.refused.clone());
        let (patience, kept) = (self.settings.agents_timeout, message.clone());
        let publisher = tokio::spawn(async move {
            let why = keep_queued(connection, subject, kept, patience).await;
            let _ = refused.send((part, why));
        });
        let (publisher, at) = (publisher.abort_handle(), Instant::now());
        self.sent.insert(part, Sent { publisher, at, message });
    }

    /// Sends each input of a part by itself, with one attempt less.
    fn divide(&mut self, part: u64) {
        let Some(sent) = self.sent.get(&part) else { return };
        let Some(ChunkMessage { host_retries, inputs, .. }) = decoded(&sent.message) else {
            return;
        };
        let divided = self.chunks.divide(part);
        let each = inputs.each().unwrap_or_default();
        for (number, index) in divided {
            let (lengths, bytes) = (vec![inputs.lengths[index]], each[index].to_vec());
            let first = inputs.first + index as u64;
            let one = RemoteInputs { first, lengths, bytes, ..inputs };
            self.send_part(number, one, host_retries.saturating_sub(1));
        }
        self.forget(part);
    }

    async fn receive(&mut self, message: Message) {
        let mut reply = Vec::new();
        match decoded(&message.payload) {
            Some(RunMessage::Outcomes(outcomes)) => self.take(outcomes),
            Some(RunMessage::LastTry { chunk, host }) => self.chunks.note_last_try(chunk, host),
            Some(RunMessage::HostsLost { chunk, tries }) => {
                let host = self.chunks.host_of(chunk).map(|host| format!(" `{host}`"));
                let host = host.unwrap_or_default();
                let text = match tries {
                    0 | 1 => format!(
                        "its host{host} was lost: it ended or fell silent before it answered"
                    ),
                    _ => format!(
                        "its host{host} was lost: it ended or fell silent before it answered, as did each of the {tries} hosts \
                         that the input was sent to"
                    ),
                };
                self.fail(chunk, ErrorKind::HostLost, &text);
            }
            Some(RunMessage::Divide { chunk }) => self.divide(chunk),
            Some(RunMessage::Alive) => {}
            Some(RunMessage::Setup) => reply.clone_from(&self.setup),
            None => {}
        }
        if let Some(to) = message.reply {
            // If it does not arrive, the agent repeats its message.
            let _ = self.connection.client.publish(to, reply.into()).await;
        }
    }

    fn take(&mut self, outcomes: ChunkOutcomes) {
        let (chunk, first, took) = (outcomes.chunk, outcomes.first, outcomes.took);
        if let Some(outcomes) = outcomes.each() {
            self.chunks.take(chunk, first, outcomes, took);
        }
        self.forget(chunk);
    }

    /// Fails the inputs of a part that have no outcome.
    fn fail(&mut self, part: u64, kind: ErrorKind, text: &str) {
        let host = self.chunks.host_of(part).unwrap_or_default().to_owned();
        let error = Error::new(kind, text.to_owned());
        self.chunks.fail(part, &Failure::on_host(&error, &host));
        self.forget(part);
    }

    /// Stops keeping a part in the queue if it has all outcomes.
    fn forget(&mut self, part: u64) {
        if !self.chunks.is_open(part)
            && let Some(sent) = self.sent.remove(&part)
        {
            sent.publisher.abort();
        }
    }

    /// Fails what waits if no agent has answered for too long.
    fn check_agents(&mut self) {
        let limit = self.settings.agents_timeout.max(2 * ASK);
        if self.agents.last_seen().is_some_and(|at| at.elapsed() < limit) {
            return;
        }
        let url = &self.connection.url;
        let text = match is_connected(&self.connection) {
            true => format!(
                "no agent of this program has answered for {limit:?} at the NATS server {url}; start agents, or give them \
                 more time with agents_timeout(..)"
            ),
            false => format!(
                "the NATS server at {url} was not reachable for {limit:?}; start it again, or give it more time with \
                 agents_timeout(..)"
            ),
        };
        for part in self.chunks.open_parts() {
            if self.sent.get(&part).is_none_or(|sent| sent.at.elapsed() > limit) {
                self.fail(part, ErrorKind::Cluster, &text);
            }
        }
    }

    /// Removes the chunks of this run from the queue.
    async fn leave(self) {
        self.sent.values().for_each(|sent| sent.publisher.abort());
        if self.chunks.is_empty() || !is_connected(&self.connection) {
            return;
        }
        let ServerConnection { jetstream, subjects, .. } = &self.connection;
        let purge = pin!(async {
            let stream = jetstream.get_stream_no_info(subjects.stream()).await.ok()?;
            stream.purge().filter(subjects.chunks_of(&self.run)).await.ok()
        });
        // Otherwise the agents drop the chunks when nobody wants their outcomes.
        let _ = tokio::time::timeout(LEAVE, purge).await;
    }
}

/// Returns a name that no other run has.
fn new_run() -> Result<String> {
    let mut bytes = [0; 12];
    crate::sys::random::fill(&mut bytes)
        .map_err(|error| Error::start(format!("no random number is available: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
