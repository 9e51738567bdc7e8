//! What the actors of a manager share in its process: the ways to their callers, and their ends.

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

/// How long a caller may keep its answer from being sent, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// The actors of a manager.
pub(super) struct ActorHost {
    /// Where the answers to the callers go.
    links: Mutex<ReplyLinks>,
    actors: Mutex<LiveActors>,
    all_ended: Condvar,
    is_closing: AtomicBool,
    /// The most threads of one actor.
    threads: usize,
}

#[derive(Default)]
struct ReplyLinks {
    senders: HashMap<u64, MessageSender>,
    /// At how many it is looked for those that are gone.
    sweep_at: usize,
}

#[derive(Default)]
struct LiveActors {
    receivers: HashMap<u64, MessageReceiver>,
    /// Those that are being made too.
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

    /// Takes in where the answers to a caller go.
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
        // Closing takes its time.
        drop(gone);
    }

    fn link(&self, link: u64) -> Option<MessageSender> {
        self.links().senders.get(&link).cloned()
    }

    /// Whether nobody waits for the answers that go there.
    pub(super) fn is_gone(&self, link: u64) -> bool {
        self.link(link).is_none_or(|sender| sender.is_gone())
    }

    /// Answers a call with what follows the head of a reply.
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

    /// The same, for a call whose request is not here any more.
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

    /// Sends an answer to whoever waits for it; gives what makes it impossible.
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
        // One answer at a time is awaited there, so that there is room. A caller that goes to sleep may hold the
        // lock for a moment; one that was stopped meanwhile is given up.
        match sender.send(reply, objects, Some(clock::now() + PATIENCE)) {
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
        // The kernel shows 15 bytes of it.
        let short = of.rsplit("::").next().unwrap_or(of);
        let name = format!("actor {}", short.trim_end_matches('>'));
        std::thread::Builder::new().name(name.replace('\0', "")).spawn(body).map(drop)
    }

    /// An actor is being made.
    pub(super) fn begins(&self, actor: u64, receiver: &MessageReceiver) {
        let mut actors = self.actors();
        actors.count += 1;
        actors.receivers.insert(actor, receiver.clone());
    }

    /// An actor has ended, or was not made.
    pub(super) fn ended(&self, actor: u64) {
        let mut actors = self.actors();
        let receiver = actors.receivers.remove(&actor);
        actors.count -= 1;
        drop(actors);
        drop(receiver);
        self.all_ended.notify_all();
    }

    /// Has all actors end after the calls that they run, and waits for that.
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
