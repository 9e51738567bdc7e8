//! A model of how the sides of a channel sleep and wake (rules C6 and C7), run by loom in every order that threads can have.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p procession --lib models`
//!
//! The steps are those of [`send`](super::send) and [`receive`](super::receive). A lock whose owner dies goes to the next thread, as the
//! kernel hands it on; that is what a guard does which is dropped early. A sleep has no end but a wake-up, so that one
//! that is lost is a deadlock, which loom reports.

use loom::sync::atomic::{AtomicU64, Ordering};
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
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

/// The words that a lock guards: whether the other side sleeps.
#[derive(Default)]
struct Channel {
    senders: Mutex<bool>,
    receivers: Mutex<bool>,
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
        let mut receiver_sleeps = self.senders.lock().unwrap();
        let tail = self.tail.load(Ordering::Relaxed);
        loop {
            let head = self.head.load(Ordering::Acquire);
            if tail - head < CAPACITY {
                break;
            }
            self.wait_for_room(head);
        }
        if *receiver_sleeps {
            self.to_receivers.wake();
            if dies == Dies::Woken {
                return;
            }
            *receiver_sleeps = false;
        }
        self.tail.store(tail + 1, Ordering::Release);
        if dies == Dies::Published {
            return;
        }
        drop(receiver_sleeps);
    }

    fn wait_for_room(&self, seen: u64) {
        let is_taken = || self.head.load(Ordering::Acquire) != seen;
        while !is_taken() {
            let Ok(mut sender_sleeps) = self.receivers.try_lock() else {
                thread::yield_now();
                continue;
            };
            if is_taken() {
                return;
            }
            self.to_senders.drain();
            *sender_sleeps = true;
            drop(sender_sleeps);
            self.to_senders.sleep();
        }
    }

    fn has_message(&self) -> bool {
        self.tail.load(Ordering::Acquire) > self.head.load(Ordering::Relaxed)
    }

    /// `dies` in the middle: it was woken, and takes nothing.
    fn receive(&self, dies: bool) {
        let mut sender_sleeps = self.receivers.lock().unwrap();
        while !self.has_message() {
            if !self.arm() {
                self.to_receivers.sleep();
                if dies {
                    return;
                }
            }
        }
        if *sender_sleeps {
            self.to_senders.wake();
            *sender_sleeps = false;
        }
        let head = self.head.load(Ordering::Relaxed);
        self.head.store(head + 1, Ordering::Release);
    }

    /// True if there is a message.
    fn arm(&self) -> bool {
        let Some(mut receiver_sleeps) = self.lock_senders() else { return true };
        if self.has_message() {
            return true;
        }
        self.to_receivers.drain();
        *receiver_sleeps = true;
        false
    }

    /// A wait for this lock without an end is a deadlock: a sender that waits for room may have it.
    fn lock_senders(&self) -> Option<MutexGuard<'_, bool>> {
        loop {
            if let Ok(guard) = self.senders.try_lock() {
                return Some(guard);
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
