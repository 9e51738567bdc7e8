//! A model of how the sides of a channel sleep and wake (rules C6 and C7), run by loom in every order that threads can have.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p procession --lib models`
//!
//! The steps are those of [`send`](super::send) and [`receive`](super::receive). A lock whose owner dies goes to the next thread, as the
//! kernel hands it on; that is what a guard does which is dropped early. A sleep has no end but a wake-up, so that one
//! that is lost is a deadlock, which loom reports.

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// The socket from which one side reads wake-ups.
#[derive(Default)]
struct Socket {
    tokens: Mutex<u32>,
    changed: Condvar,
}

impl Socket {
    fn wake(&self) {
        *self.tokens.lock().unwrap() += 1;
        self.changed.notify_one();
    }

    fn drain(&self) {
        *self.tokens.lock().unwrap() = 0;
    }

    /// Takes nothing, like `poll`.
    fn sleep(&self) {
        let mut tokens = self.tokens.lock().unwrap();
        while *tokens == 0 {
            tokens = self.changed.wait(tokens).unwrap();
        }
    }
}

/// A lock, and the word that it guards: whether the other side sleeps.
///
/// loom blocks a thread that tries a `Mutex` which another thread takes at the same moment, until it is unlocked. Here the
/// owner may wait for that thread, so the state of the lock is a value.
#[derive(Default)]
struct Lock {
    state: Mutex<LockState>,
    unlocked: Condvar,
}

#[derive(Default)]
struct LockState {
    is_locked: bool,
    sleeps: bool,
}

struct Locked<'a> {
    lock: &'a Lock,
    sleeps: bool,
}

impl Lock {
    fn lock(&self) -> Locked<'_> {
        let mut state = self.state.lock().unwrap();
        while state.is_locked {
            state = self.unlocked.wait(state).unwrap();
        }
        state.is_locked = true;
        Locked { lock: self, sleeps: state.sleeps }
    }

    fn try_lock(&self) -> Option<Locked<'_>> {
        let mut state = self.state.lock().unwrap();
        let is_free = !std::mem::replace(&mut state.is_locked, true);
        is_free.then(|| Locked { lock: self, sleeps: state.sleeps })
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let state = LockState { is_locked: false, sleeps: self.sleeps };
        *self.lock.state.lock().unwrap() = state;
        self.lock.unlocked.notify_one();
    }
}

/// A channel as its two sides share it.
#[derive(Default)]
struct Channel {
    senders: Lock,
    receivers: Lock,
    tail: AtomicU64,
    head: AtomicU64,
    to_senders: Socket,
    to_receivers: Socket,
}

/// The step at which a sender dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dies {
    Never,
    /// The sender dies after it has woken a receiver and before it publishes.
    Woken,
    /// The sender dies after it has published and before it releases its lock.
    Published,
}

const CAPACITY: u64 = 1;

impl Channel {
    fn send(&self, dies: Dies) {
        let mut senders = self.senders.lock();
        let tail = self.tail.load(Ordering::Relaxed);
        loop {
            let head = self.head.load(Ordering::Acquire);
            if tail - head < CAPACITY {
                break;
            }
            self.wait_for_room(head);
        }
        if senders.sleeps {
            self.to_receivers.wake();
            if dies == Dies::Woken {
                return;
            }
            senders.sleeps = false;
        }
        self.tail.store(tail + 1, Ordering::Release);
        if dies == Dies::Published {
            return;
        }
        drop(senders);
    }

    fn wait_for_room(&self, seen: u64) {
        let is_taken = || self.head.load(Ordering::Acquire) != seen;
        while !is_taken() {
            let Some(mut receivers) = self.receivers.try_lock() else {
                thread::yield_now();
                continue;
            };
            if is_taken() {
                return;
            }
            self.to_senders.drain();
            receivers.sleeps = true;
            drop(receivers);
            self.to_senders.sleep();
        }
    }

    fn has_message(&self) -> bool {
        self.tail.load(Ordering::Acquire) > self.head.load(Ordering::Relaxed)
    }

    /// `dies` in the middle: it was woken, and takes nothing.
    fn receive(&self, dies: bool) {
        let mut receivers = self.receivers.lock();
        while !self.has_message() {
            if !self.arm() {
                self.to_receivers.sleep();
                if dies {
                    return;
                }
            }
        }
        if receivers.sleeps {
            self.to_senders.wake();
            receivers.sleeps = false;
        }
        let head = self.head.load(Ordering::Relaxed);
        self.head.store(head + 1, Ordering::Release);
    }

    /// True if there is a message.
    fn arm(&self) -> bool {
        let Some(mut senders) = self.lock_senders() else { return true };
        if self.has_message() {
            return true;
        }
        self.to_receivers.drain();
        senders.sleeps = true;
        false
    }

    /// A wait for this lock without an end is a deadlock: a sender that waits for room may have it.
    fn lock_senders(&self) -> Option<Locked<'_>> {
        loop {
            if let Some(locked) = self.senders.try_lock() {
                return Some(locked);
            }
            if self.has_message() {
                return None;
            }
            thread::yield_now();
        }
    }
}

fn model(run: impl Fn(Arc<Channel>) + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || run(Arc::default()));
}

fn spawn(channel: &Arc<Channel>, run: impl FnOnce(&Channel) + 'static) -> thread::JoinHandle<()> {
    let channel = Arc::clone(channel);
    thread::spawn(move || run(&channel))
}

#[test]
fn rule_c6_nobody_sleeps_who_could_go_on() {
    model(|channel| {
        let sender = spawn(&channel, |channel| (0..3).for_each(|_| channel.send(Dies::Never)));
        (0..3).for_each(|_| channel.receive(false));
        sender.join().unwrap();
        assert!(!channel.has_message());
    });
}

#[test]
fn rule_c6_two_senders_take_turns() {
    model(|channel| {
        let senders = [(); 2].map(|()| spawn(&channel, |channel| channel.send(Dies::Never)));
        (0..2).for_each(|_| channel.receive(false));
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn rule_c6_two_receivers_take_turns() {
    model(|channel| {
        let receivers = [(); 2].map(|()| spawn(&channel, |channel| channel.receive(false)));
        (0..2).for_each(|_| channel.send(Dies::Never));
        receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
    });
}

#[test]
fn rule_c7_a_sender_that_dies_leaves_nobody_asleep() {
    for dies in [Dies::Woken, Dies::Published] {
        model(move |channel| {
            // The first message may be published or not. The second sender continues.
            let sender = spawn(&channel, move |channel| {
                channel.send(dies);
                channel.send(Dies::Never);
            });
            channel.receive(false);
            if dies == Dies::Published {
                channel.receive(false);
            }
            sender.join().unwrap();
        });
    }
}

#[test]
fn rule_c6_a_receiver_that_dies_when_it_is_woken_gives_way() {
    model(|channel| {
        let receiver = spawn(&channel, |channel| channel.receive(true));
        let other = spawn(&channel, |channel| channel.receive(false));
        (0..2).for_each(|_| channel.send(Dies::Never));
        receiver.join().unwrap();
        other.join().unwrap();
    });
}
