//! The state that the actors of a manager share in its process: the links to their callers, and the list of
//! actors.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::link::{MessageReceiver, MessageSender, Unsent};
use super::message::{ActorRequest, ReplyStatus, RequestId, begin_reply};
use crate::error::Error;
use crate::handle::Object;
use crate::poison::IgnorePoison;
use crate::sys::clock;

/// The maximum time that an answer waits for room in the reply link, in nanoseconds.
const REPLY_TIMEOUT: u64 = 1_000_000_000;

/// The actors of a manager.
pub(super) struct ActorHost {
    /// The sending ends of the reply links of the callers.
    links: Mutex<ReplyLinks>,
    actors: Mutex<LiveActors>,
    all_ended: Condvar,
    is_closing: AtomicBool,
    /// The maximum number of threads of one actor.
    threads: usize,
}

#[derive(Default)]
struct ReplyLinks {
    senders: HashMap<u64, MessageSender>,
    /// The number of links at which disconnected ones are removed.
    sweep_at: usize,
}

#[derive(Default)]
struct LiveActors {
    receivers: HashMap<u64, MessageReceiver>,
    /// The number of actors, including those that are being created.
    count: usize,
}

impl ActorHost {
    pub(super) fn new(threads: usize) -> Arc<Self> {
        Arc::new(ActorHost {
            links: Mutex::default(),
            actors: Mutex::default(),
            all_ended: Condvar::new(),
            is_closing: AtomicBool::new(false),
            threads,
        })
    }

    fn links(&self) -> MutexGuard<'_, ReplyLinks> {
        self.links.lock().ignore_poison()
    }

    fn actors(&self) -> MutexGuard<'_, LiveActors> {
        self.actors.lock().ignore_poison()
    }

    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }

    /// Registers the reply link of a caller.
    pub(super) fn register(&self, link: u64, objects: &mut Vec<Arc<Object>>) {
        let Some(sender) = MessageSender::of_last(objects) else { return };
        let mut links = self.links();
        let mut gone = Vec::new();
        if links.senders.len() >= links.sweep_at {
            gone.extend(links.senders.extract_if(|_, sender| sender.is_gone()));
            links.sweep_at = 2 * links.senders.len() + 16;
        }
        links.senders.insert(link, sender);
        drop(links);
        // The lock is released first, because closing descriptors takes time.
        drop(gone);
    }

    fn link(&self, link: u64) -> Option<MessageSender> {
        self.links().senders.get(&link).cloned()
    }

    /// Returns whether the caller has closed the reply link.
    pub(super) fn is_gone(&self, link: u64) -> bool {
        self.link(link).is_none_or(|sender| sender.is_gone())
    }

    /// Answers a call with a status and the bytes that follow it.
    pub(super) fn reply(
        &self,
        request: &ActorRequest,
        buffer: &mut Vec<u8>,
        status: ReplyStatus,
        rest: &[u8],
    ) {
        if !request.cast {
            self.answer(request.id, buffer, status, rest);
        }
    }

    /// Like [`reply`](Self::reply), for a call of which only the id is left.
    pub(super) fn answer(
        &self,
        id: RequestId,
        buffer: &mut Vec<u8>,
        status: ReplyStatus,
        rest: &[u8],
    ) {
        begin_reply(buffer, id.serial, status);
        buffer.extend_from_slice(rest);
        let _ = self.send_to(id.link, buffer, &[]);
    }

    /// Sends an answer, unless the request is a cast. Returns the reason if the answer cannot be sent.
    pub(super) fn send(
        &self,
        request: &ActorRequest,
        reply: &[u8],
        objects: &[Arc<Object>],
    ) -> Option<Error> {
        if request.cast {
            return None;
        }
        self.send_to(request.id.link, reply, objects)
    }

    fn send_to(&self, link: u64, reply: &[u8], objects: &[Arc<Object>]) -> Option<Error> {
        let sender = self.link(link)?;
        // One answer at a time is expected, so the link has room. A caller that goes to sleep may have the
        // lock for a moment. A caller that is stopped during that time gets no answer.
        match sender.send(reply, objects, Some(clock::now() + REPLY_TIMEOUT)) {
            Ok(()) => None,
            Err(Unsent::Failed(error)) => Some(error),
            Err(Unsent::Gone | Unsent::Full) => {
                drop(self.links().senders.remove(&link));
                None
            }
        }
    }

    pub(super) fn start_thread(
        &self,
        of: &str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        // The kernel keeps only the first 15 bytes of the name.
        let short = of.rsplit("::").next().unwrap_or(of);
        let name = format!("actor {}", short.trim_end_matches('>'));
        std::thread::Builder::new().name(name.replace('\0', "")).spawn(body).map(drop)
    }

    /// Records that an actor is being created.
    pub(super) fn begins(&self, actor: u64, receiver: &MessageReceiver) {
        let mut actors = self.actors();
        actors.count += 1;
        actors.receivers.insert(actor, receiver.clone());
    }

    /// Records that an actor has ended, or could not be created.
    pub(super) fn ended(&self, actor: u64) {
        let mut actors = self.actors();
        let receiver = actors.receivers.remove(&actor);
        actors.count -= 1;
        drop(actors);
        drop(receiver);
        self.all_ended.notify_all();
    }

    /// Tells all actors to end after their running calls, and waits until they have ended.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::SeqCst);
        let mut actors = self.actors();
        actors.receivers.values().for_each(MessageReceiver::close);
        while actors.count > 0 {
            actors = self.all_ended.wait(actors).ignore_poison();
            actors.receivers.values().for_each(MessageReceiver::close);
        }
    }
}
