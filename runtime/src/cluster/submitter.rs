//! The program's side of a cluster: sends chunks, and receives their outcomes.

use std::collections::{HashMap, VecDeque};
use std::pin::pin;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_nats::{Message, Subject, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::broadcast::keep_asking;
use super::connection::ServerConnection;
use super::message::{
    BroadcastMessage, ChunkMessage, ChunkOutcomes, PoolSetup, RunMessage, decoded, room_for_inputs,
};
use super::outgoing::{StoredInput, is_connected, keep_queued};
use super::presence::{Agents, PRESENCE_SUBJECT, Presence};
use super::received::{FetchedOutput, OutputFetcher};
use super::sent::{SentChunks, too_long};
use super::settings::ClusterSettings;
use super::setup::OfferedSetup;
use super::values::{MOST as LONGEST_VALUE, input_of};
use crate::error::{Error, ErrorKind, Result};
use crate::failure::{Failure, encoded};
use crate::poison::IgnorePoison;
use crate::remote::{RemoteInputs, RemoteOutcomes};

/// Called with the number of workers of all agents.
pub(super) type OnWorkers = Box<dyn Fn(usize) + Send + Sync>;

/// What the pool wants from the thread of the client.
pub(super) enum Command {
    Run(RemoteInputs, SyncSender<RemoteOutcomes>),
    RunOnAll(RemoteInputs, SyncSender<RemoteOutcomes>),
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

/// The bytes of inputs that are on their way (rule J10).
const MOST_IN_FLIGHT: usize = 256 << 20;

/// A chunk that is on its way.
struct Sent {
    publisher: AbortHandle,
    at: Instant,
    message: Bytes,
    /// The bytes of the message, and of the value in the store of values.
    len: usize,
    /// The pieces of the value.
    pieces: Option<Arc<Mutex<Vec<u64>>>>,
}

/// The state of the client.
pub(super) struct Submitter {
    settings: ClusterSettings,
    setup: OfferedSetup,
    connection: ServerConnection,
    /// The name of this run, which no other run has.
    run: String,
    agents: Agents,
    presences: Subscriber,
    inbox: String,
    outcomes: Subscriber,
    chunks: SentChunks,
    sent: HashMap<u64, Sent>,
    /// The bytes that are on their way, and the parts that wait until there are fewer (rule J10).
    in_flight: usize,
    waiting: VecDeque<(u64, RemoteInputs)>,
    /// Parts that the server does not store, or whose agents are lost, and the reasons.
    refused: UnboundedSender<(u64, ErrorKind, String)>,
    refusals: UnboundedReceiver<(u64, ErrorKind, String)>,
    fetcher: OutputFetcher,
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
        let run = new_word()?;
        let inbox = connection.client.new_inbox();
        let presences =
            connection.client.subscribe(inbox.clone()).await.map_err(|error| failed(&error))?;
        let subject = connection.subjects.run(&run);
        let outcomes =
            connection.client.subscribe(subject).await.map_err(|error| failed(&error))?;
        let (refused, refusals) = mpsc::unbounded_channel();
        let mut submitter = Submitter {
            agents: Agents::new(connection.subjects.build.clone()),
            setup: OfferedSetup::new(setup),
            connection,
            run,
            presences,
            inbox,
            outcomes,
            chunks: SentChunks::default(),
            sent: HashMap::new(),
            in_flight: 0,
            waiting: VecDeque::new(),
            refused,
            refusals,
            fetcher: OutputFetcher::new(),
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
                    Some(Command::RunOnAll(input, answer)) => self.broadcast(input, answer),
                    Some(Command::Watch(on_workers)) => {
                        let workers = self.workers();
                        self.on_workers = Some((on_workers, workers));
                    }
                    Some(Command::End) | None => break,
                },
                Some(message) = self.outcomes.next() => self.receive(message).await,
                Some(fetched) = self.fetcher.next() => self.take_fetched(fetched).await,
                Some(message) = self.presences.next() => self.note_presence(&message),
                Some((part, kind, why)) = self.refusals.recv() => self.fail(part, kind, &why),
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
        self.waiting.extend(self.chunks.add(inputs, answer, room, LONGEST_VALUE));
        self.send_waiting();
    }

    /// Sends parts as long as the bytes that are on their way are few enough. One part may always be.
    fn send_waiting(&mut self) {
        while let Some((_, next)) = self.waiting.front()
            && (self.in_flight == 0 || self.in_flight + next.bytes.len() <= MOST_IN_FLIGHT)
            && let Some((part, inputs)) = self.waiting.pop_front()
        {
            if self.chunks.is_open(part) {
                self.send_part(part, inputs, self.settings.host_retries);
            }
        }
    }

    /// Takes the bytes of an input that fits no message, as a value for the store of values.
    fn take_value(&self, part: u64, input: &mut RemoteInputs) -> Option<StoredInput> {
        let room = room_for_inputs(self.connection.client.max_payload());
        let is_long = input.lengths.len() == 1 && input.bytes.len() + 8 > room;
        is_long.then(|| StoredInput {
            run: self.run.clone(),
            name: input_of(part),
            bytes: std::mem::take(&mut input.bytes).into(),
            pieces: Arc::default(),
        })
    }

    fn send_part(&mut self, part: u64, mut inputs: RemoteInputs, host_retries: u32) {
        let (setup, value) = (self.setup.hash, self.take_value(part, &mut inputs));
        let is_stored = value.is_some();
        let pieces = value.as_ref().map(|value| Arc::clone(&value.pieces));
        let message = encoded(&ChunkMessage { setup, host_retries, is_stored, inputs });
        let message = Bytes::from(message);
        let len = message.len() + value.as_ref().map_or(0, |value| value.bytes.len());
        let subject = self.connection.subjects.chunk(&self.run, part);
        let (connection, refused) = (self.connection.clone(), self.refused.clone());
        let (timeout, kept) = (self.settings.agents_timeout, message.clone());
        let publisher = tokio::spawn(async move {
            let why = keep_queued(connection, subject, kept, value, timeout).await;
            let _ = refused.send((part, ErrorKind::Cluster, why));
        });
        self.note_sent(part, publisher.abort_handle(), message, len, pieces);
    }

    fn note_sent(
        &mut self,
        part: u64,
        publisher: AbortHandle,
        message: Bytes,
        len: usize,
        pieces: Option<Arc<Mutex<Vec<u64>>>>,
    ) {
        self.in_flight += len;
        let at = Instant::now();
        self.sent.insert(part, Sent { publisher, at, message, len, pieces });
    }

    /// Sends an input to each agent, for all of its workers (rule J8).
    fn broadcast(&mut self, input: RemoteInputs, answer: SyncSender<RemoteOutcomes>) {
        let agents = self.agents.present();
        let hosts: Vec<_> =
            agents.iter().map(|agent| (agent.host.clone(), agent.workers)).collect();
        let parts = self.chunks.add_broadcast(&hosts, answer);
        for (agent, part) in agents.into_iter().zip(parts) {
            let (run, mut input) = (self.run.clone(), input.clone());
            if input.bytes.len() as u64 > LONGEST_VALUE {
                let text = too_long(input.bytes.len() as u64, LONGEST_VALUE);
                self.fail(part, ErrorKind::Encode, &text);
                continue;
            }
            let (setup, value) = (self.setup.hash, self.take_value(part, &mut input));
            let is_stored = value.is_some();
            let pieces = value.as_ref().map(|value| Arc::clone(&value.pieces));
            let message = BroadcastMessage { run, chunk: part, setup, is_stored, input };
            let message = Bytes::from(encoded(&message));
            let len = message.len() + value.as_ref().map_or(0, |value| value.bytes.len());
            let (connection, refused) = (self.connection.clone(), self.refused.clone());
            let timeout = self.settings.agents_timeout;
            let publisher = tokio::spawn(async move {
                if let Some(value) = value
                    && let Err(why) = value.store(&connection, timeout).await
                {
                    let _ = refused.send((part, ErrorKind::Cluster, why));
                    return;
                }
                let why = keep_asking(connection, agent, message).await;
                let _ = refused.send((part, ErrorKind::HostLost, why));
            });
            self.note_sent(part, publisher.abort_handle(), Bytes::new(), len, pieces);
        }
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
            Some(RunMessage::Outcomes(outcomes)) if outcomes.stored.is_some() => {
                // It is confirmed afterwards.
                let place = (self.connection.clone(), self.run.clone());
                let is_wanted = self.chunks.is_open(outcomes.chunk);
                return self.fetcher.fetch(place, outcomes, is_wanted, message.reply);
            }
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
            Some(RunMessage::Setup) => {
                match self.setup.answer(&self.connection, &self.run, message.reply.as_ref()) {
                    Some(answer) => reply = answer,
                    None => return,
                }
            }
            None => {}
        }
        self.confirm(message.reply, reply).await;
    }

    async fn confirm(&self, to: Option<Subject>, reply: Vec<u8>) {
        if let Some(to) = to {
            // If it does not arrive, the agent repeats its message.
            let _ = self.connection.client.publish(to, reply.into()).await;
        }
    }

    async fn take_fetched(&mut self, fetched: FetchedOutput) {
        let FetchedOutput { chunk, first, took, output, reply } = fetched;
        // If the store was lost, the agent forgets the chunk, and the program sends it again (rule J2).
        if let Some(output) = output {
            self.chunks.take(chunk, first, vec![output], took);
            self.forget(chunk);
        }
        self.confirm(reply, Vec::new()).await;
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
            self.in_flight -= sent.len;
            if let Some(pieces) = sent.pieces {
                let connection = self.connection.clone();
                let pieces = std::mem::take(&mut *pieces.lock().ignore_poison());
                tokio::spawn(async move { connection.remove_pieces(&pieces).await });
            }
            self.send_waiting();
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

    /// Removes what this run has left in the server. A server that was killed may have chunks again that were done.
    async fn leave(self) {
        self.sent.values().for_each(|sent| sent.publisher.abort());
        if !is_connected(&self.connection) {
            return;
        }
        let purge = pin!(self.connection.remove_run(&self.run));
        // Otherwise the agents drop the chunks when nobody wants their outcomes.
        let _ = tokio::time::timeout(LEAVE, purge).await;
    }
}

/// Returns a word that names a run or an agent, and nothing else.
pub(crate) fn new_word() -> Result<String> {
    let mut bytes = [0; 12];
    crate::sys::random::fill(&mut bytes)
        .map_err(|error| Error::start(format!("no random number is available: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
