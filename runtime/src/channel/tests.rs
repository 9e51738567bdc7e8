//! Threads that send and receive through the memory of a channel, under its locks. Miri runs them as well.
//!
//! `MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-many-seeds=0..16" cargo +nightly miri test -p procession --lib channel`

use std::thread;

use super::ring::{FoundMessage, MessageRing, MessageSpot};
use crate::lock::{Locked, RawLock};

/// Messages of each sender.
const COUNT: u64 = if cfg!(miri) { 12 } else { 5000 };

/// Calls a function under a lock.
fn under<R>(lock: &RawLock, act: impl FnOnce() -> R) -> R {
    assert_eq!(lock.lock(), Ok(Locked::Clean));
    let outcome = act();
    lock.unlock();
    outcome
}

/// The bytes of a message: some fit their slot, others do not.
fn message(from: u64, number: u64) -> Vec<u8> {
    let mut bytes = [from, number].map(u64::to_le_bytes).concat();
    bytes.resize(16 + [0, 24, 25, 700][number as usize % 4], (from + number) as u8);
    bytes
}

fn send(ring: &MessageRing, bytes: &[u8]) {
    let put = || {
        let spot = if ring.is_full() { None } else { ring.place(bytes.len()).ok() };
        let Some(spot) = spot else { return false };
        assert!(!matches!(spot, MessageSpot::Separate));
        ring.write(spot, bytes, 0);
        ring.publish();
        true
    };
    while !under(&ring.page().senders.lock, put) {
        thread::yield_now();
    }
}

fn take(ring: &MessageRing) -> Option<(FoundMessage, Vec<u8>)> {
    under(&ring.page().receivers.lock, || {
        if !ring.has_message() {
            return None;
        }
        let (found, mut bytes) = (ring.next().unwrap(), Vec::new());
        ring.read(&found, &mut bytes).unwrap();
        ring.release(&found);
        Some((found, bytes))
    })
}

/// Receives a number of messages, and returns the sender and the number of each.
fn receive(ring: &MessageRing, count: u64) -> Vec<(u64, u64)> {
    let mut all = Vec::new();
    while (all.len() as u64) < count {
        let Some((found, bytes)) = take(ring) else {
            thread::yield_now();
            continue;
        };
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let (from, number) = (word(0), word(8));
        assert_eq!(bytes, message(from, number));
        assert_eq!(found.entry.len, bytes.len() as u64);
        all.push((from, number));
    }
    all
}

#[test]
fn rule_c2_a_message_arrives_whole_and_in_order() {
    for capacity in [1, 3] {
        let ring = MessageRing::new(capacity).unwrap();
        let received = thread::scope(|scope| {
            scope.spawn(|| (0..COUNT).for_each(|number| send(&ring, &message(7, number))));
            receive(&ring, COUNT)
        });
        assert!(received.into_iter().eq((0..COUNT).map(|number| (7, number))));
        assert_eq!(ring.len(), 0);
    }
}

#[test]
fn rule_c1_two_senders_and_two_receivers_take_turns() {
    let ring = MessageRing::new(2).unwrap();
    let mut received = thread::scope(|scope| {
        for from in 0..2 {
            let ring = &ring;
            scope.spawn(move || (0..COUNT).for_each(|number| send(ring, &message(from, number))));
        }
        let other = scope.spawn(|| receive(&ring, COUNT));
        let mut received = receive(&ring, COUNT);
        received.extend(other.join().unwrap());
        received
    });
    received.sort_unstable();
    assert!(received.into_iter().eq((0..2).flat_map(|from| (0..COUNT).map(move |n| (from, n)))));
}
