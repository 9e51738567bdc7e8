//! The side of the caller: it sends a request and waits for the answer (rules A2 to A4).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::chain::{self, WaitingGuard};
use super::link::{
    self, MessageBuffer, MessageReceiver, MessageSender, REPLIES, Unreceived, Unsent,
};
use super::message::{ActorRequest, ReplyStatus, RequestId, read_reply};
use crate::codec::{self, Sink, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::failure::Failure;
use crate::fault::fault;
use crate::handle::{self, Object};
use crate::poison::IgnorePoison;
use crate::sys::clock;
use crate::sys::generation::{Original, PerProcess};
use crate::sys::random;

/// The interval at which a waiting call checks whether its answer depends on the call itself, in nanoseconds.
const SLICE: u64 = 100_000_000;

/// The time that an actor waits for room in its own queue, in nanoseconds. No room will become free, but
/// another thread may have the lock of the queue for a moment.
const OWN_QUEUE_TIMEOUT: u64 = 100_000_000;

/// The maximum number of reply links that are kept for later calls.
const MOST_IDLE: usize = 16;

/// Returns a random number to be used as a unique id.
pub(super) fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    random::fill(&mut bytes).map_err(|error| {
        Error::start(format!("the kernel has no random numbers for an actor: {error}"))
    })?;
    Ok(u64::from_le_bytes(bytes))
}

/// The state that the proxies of one manager share in this process.
#[derive(Debug)]
pub(super) struct ManagerClient {
    original: Original,
    idle: Mutex<Vec<ReplyLink>>,
}

/// The link over which the answers to consecutive calls arrive.
struct ReplyLink {
    number: u64,
    serial: u64,
    receiver: MessageReceiver,
    /// The sending end, until it was sent to the manager.
    sender: Option<MessageSender>,
    request: Vec<u8>,
    buffer: MessageBuffer,
}

impl std::fmt::Debug for ReplyLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplyLink").field("serial", &self.serial).finish_non_exhaustive()
    }
}

static CLIENTS: PerProcess<Mutex<HashMap<u64, Weak<ManagerClient>>>> = PerProcess::new();

impl ManagerClient {
    /// Returns the client of a manager in this process.
    pub(super) fn of(manager: u64) -> Arc<ManagerClient> {
        let mut clients = CLIENTS.get().lock().ignore_poison();
        if let Some(client) = clients.get(&manager).and_then(Weak::upgrade) {
            return client;
        }
        clients.retain(|_, client| client.strong_count() > 0);
        let client = Arc::new(ManagerClient { original: Original::here(), idle: Mutex::default() });
        clients.insert(manager, Arc::downgrade(&client));
        client
    }

    /// Returns whether this process has created the client, and not its parent before a fork.
    pub(super) fn is_here(&self) -> bool {
        self.original.is_here()
    }

    fn link(&self) -> Result<ReplyLink> {
        let mut idle = self.idle.lock().ignore_poison();
        while let Some(link) = idle.pop() {
            // A link to an earlier process of a restarted manager cannot be used.
            if !link.receiver.is_gone() {
                return Ok(link);
            }
        }
        drop(idle);
        let (sender, receiver) = link::pair(REPLIES)?;
        Ok(ReplyLink {
            number: random()?,
            serial: 0,
            receiver,
            sender: Some(sender),
            request: Vec::new(),
            buffer: MessageBuffer::new(),
        })
    }

    /// Keeps a link for a later call. A link whose call was given up is not kept, because its answer may
    /// still arrive.
    fn put_back(&self, link: ReplyLink) {
        let mut idle = self.idle.lock().ignore_poison();
        if idle.len() < MOST_IDLE {
            idle.push(link);
        }
    }
}

/// The target of a call, and the names for its errors.
pub(super) struct CallTarget<'a> {
    pub(super) sender: &'a MessageSender,
    pub(super) actor: u64,
    pub(super) pid: u32,
    /// The names of the type and of the method.
    pub(super) of: &'static str,
    pub(super) name: &'static str,
    pub(super) method: u32,
    pub(super) timeout: Option<Duration>,
}

impl CallTarget<'_> {
    fn error(&self, kind: ErrorKind, text: impl Into<String>, was_begun: bool) -> Error {
        self.fill(Error::new(kind, text.into()).with(|facts| facts.was_begun = Some(was_begun)))
    }

    fn fill(&self, error: Error) -> Error {
        error.on_task(format!("{}::{}", self.of, self.name)).with(|facts| {
            facts.is_method = true;
            facts.pid = Some(self.pid);
        })
    }

    fn gone(&self) -> Error {
        let text = "its actor has ended; the call did not run";
        self.error(ErrorKind::ActorDied, text, false)
    }

    fn died(&self) -> Error {
        let text = "its actor died before it answered; the call may have run";
        self.error(ErrorKind::ActorDied, text, true)
    }

    fn too_late(&self, was_sent: bool) -> Error {
        let time = self.timeout.unwrap_or_default();
        let text = match was_sent {
            true => format!("it did not answer within {time:?}; the call may still run"),
            false => format!("it did not begin within {time:?}; the call did not run"),
        };
        self.error(ErrorKind::TimedOut, text, was_sent)
    }

    fn unsent(&self, error: Unsent) -> Error {
        match error {
            Unsent::Gone => self.gone(),
            Unsent::Full if self.timeout.is_none() || self.calls_itself() => self.full(),
            Unsent::Full => self.too_late(false),
            Unsent::Failed(error) => {
                let text = format!("it could not be sent: {error}");
                self.error(ErrorKind::Encode, text, false)
            }
        }
    }

    fn full(&self) -> Error {
        let text = "its actor calls itself faster than it runs, and its queue is full; the call did not run";
        self.error(ErrorKind::Deadlock, text, false)
    }

    fn circular(&self) -> Error {
        let text = "its actor waits for this call to end, which would wait for it; use `#[cast]`, or call the method itself";
        self.error(ErrorKind::Deadlock, text, false)
    }

    fn calls_itself(&self) -> bool {
        chain::contains(self.actor)
    }

    fn until(&self) -> Option<u64> {
        let nanoseconds = u64::try_from(self.timeout?.as_nanos()).unwrap_or(u64::MAX);
        Some(clock::now().saturating_add(nanoseconds).max(1))
    }

    /// Encodes a request and returns the objects in it.
    fn write(
        &self,
        to: &mut Vec<u8>,
        request: &ActorRequest,
        arguments: &impl Serialize,
    ) -> Result<Vec<Arc<Object>>> {
        to.clear();
        request.write(to);
        let (encoded, objects) = handle::collect(|| {
            let mut sink = Sink::over(to);
            codec::encode(arguments, &mut sink)
        });
        encoded.map_err(|error| {
            let text = format!("its arguments could not be encoded: {error}");
            self.error(ErrorKind::Encode, text, false)
        })?;
        Ok(objects)
    }

    /// Sends a request without waiting for an answer.
    pub(super) fn cast(&self, arguments: &impl Serialize) -> Result<()> {
        let until = self.until();
        let request = ActorRequest {
            id: RequestId { link: 0, serial: 0 },
            method: self.method,
            cast: true,
            registers: false,
            sent: clock::now(),
            until: until.unwrap_or(0),
            chain: Vec::new(),
        };
        let mut bytes = Vec::with_capacity(256);
        let objects = self.write(&mut bytes, &request, arguments)?;
        // An actor that waits for room in its own queue would wait forever.
        let timeout = match self.calls_itself() {
            true => Some(clock::now() + OWN_QUEUE_TIMEOUT),
            false => until,
        };
        fault("casting");
        self.sender.send(&bytes, &objects, timeout).map_err(|error| self.unsent(error))
    }

    /// Makes a call and waits for the answer.
    pub(super) fn call<R: DeserializeOwned>(
        &self,
        client: &ManagerClient,
        arguments: &impl Serialize,
    ) -> Result<R> {
        if self.calls_itself() {
            return Err(self.circular());
        }
        let mut link = client.link()?;
        let outcome = self.call_over(&mut link, arguments);
        let answered = match &outcome {
            Ok(_) => true,
            Err(unanswered) => unanswered.link_is_free,
        };
        if answered {
            client.put_back(link);
        }
        outcome.unwrap_or_else(|unanswered| Err(unanswered.error))
    }

    fn call_over<R: DeserializeOwned>(
        &self,
        link: &mut ReplyLink,
        arguments: &impl Serialize,
    ) -> Result<Result<R>, Unanswered> {
        let until = self.until();
        link.serial += 1;
        let request = ActorRequest {
            id: RequestId { link: link.number, serial: link.serial },
            method: self.method,
            cast: false,
            registers: link.sender.is_some(),
            sent: clock::now(),
            until: until.unwrap_or(0),
            chain: chain::chain(),
        };
        let not_sent = |error| Unanswered { error, link_is_free: true };
        let mut objects = self.write(&mut link.request, &request, arguments).map_err(not_sent)?;
        objects.extend(link.sender.iter().flat_map(MessageSender::objects));
        fault("calling");
        let sent = self.sender.send(&link.request, &objects, until);
        sent.map_err(|error| not_sent(self.unsent(error)))?;
        fault("called");
        // From now on only the manager has the sending end, so that the end of its process is noticed here.
        link.sender = None;
        drop(objects);
        self.answer(link, request.id, until)
    }

    /// Waits for the answer to a sent request.
    fn answer<R: DeserializeOwned>(
        &self,
        link: &mut ReplyLink,
        id: RequestId,
        until: Option<u64>,
    ) -> Result<Result<R>, Unanswered> {
        let lost = |error| Unanswered { error, link_is_free: false };
        let mut waiting: Option<WaitingGuard> = None;
        loop {
            let slice = clock::now() + SLICE;
            let wake = until.map_or(slice, |until| until.min(slice));
            let ReplyLink { receiver, buffer, .. } = &mut *link;
            let message = match receiver.receive(buffer, Some(wake)) {
                Ok(message) => message,
                Err(Unreceived::Gone) => return Err(lost(self.died())),
                Err(Unreceived::Failed(error)) => {
                    let text = format!("its output could not be received: {error}");
                    return Err(lost(self.error(ErrorKind::Decode, text, true)));
                }
                Err(Unreceived::TimeOver) => {
                    if until.is_some_and(|until| clock::now() >= until) {
                        return Err(lost(self.too_late(true)));
                    }
                    match &waiting {
                        None => waiting = WaitingGuard::begin(id, self.actor),
                        Some(waiting) if waiting.is_circular() => {
                            return Err(lost(self.circular()));
                        }
                        Some(_) => {}
                    }
                    continue;
                }
            };
            if let Some((serial, status, rest)) = read_reply(message.bytes)
                && serial == id.serial
            {
                return Ok(self.outcome(status, rest));
            }
        }
    }

    /// Converts an answer into a result.
    fn outcome<R: DeserializeOwned>(&self, status: ReplyStatus, bytes: &[u8]) -> Result<R> {
        match status {
            ReplyStatus::Value => {
                let mut source = Source::new(bytes);
                let decoded = codec::decode(&mut source);
                decoded.and_then(|value| source.finish().map(|()| value)).map_err(|error| {
                    let text = format!("its output could not be decoded: {error}");
                    self.error(ErrorKind::Decode, text, true)
                })
            }
            ReplyStatus::Failed => {
                let failure = Failure::decoded(bytes);
                let was_begun = failure.was_begun();
                let error = failure.into_error();
                Err(self.fill(error.with(|facts| facts.was_begun = Some(was_begun))))
            }
            ReplyStatus::Expired => Err(self.too_late(false)),
            ReplyStatus::Ended => Err(self.gone()),
        }
    }
}

/// A call without an answer.
struct Unanswered {
    error: Error,
    /// Whether the link can be used again, because no answer will arrive over it.
    link_is_free: bool,
}
