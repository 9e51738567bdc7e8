//! Messages arrive: their order, values of any size, and waits with and without a limit.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use procession_tests::{EVERY, ONCE, StartMethod, conformance, pool};
use runtime::{
    ErrorKind, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError, Sender,
    TryRecvError, TrySendError, channel, worker,
};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        a_worker_sends_and_the_caller_receives,
        a_worker_receives_what_the_caller_sends,
        messages_of_one_sender_keep_their_order,
        every_message_is_received_once,
        values_of_any_size_pass,
        a_full_channel_makes_its_sender_wait,
        an_empty_channel_makes_its_receiver_wait,
    ];
    ONCE => [
        a_channel_holds_as_many_as_it_says,
        waits_with_a_limit_end,
        ends_that_are_dropped_disconnect,
        a_message_longer_than_memory_is_given_back,
        a_capacity_of_0_is_refused,
        many_large_messages_wait_for_a_receiver,
        what_does_not_encode_is_given_back,
        iterators_end,
    ];
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
    numbers: Vec<f64>,
    more: HashMap<String, u64>,
}

fn job(n: u64) -> Job {
    Job {
        name: format!("job {n}"),
        numbers: (0..n).map(|n| n as f64).collect(),
        more: (0..n % 7).map(|n| (format!("key {n}"), n)).collect(),
    }
}

#[worker]
fn send_jobs(to: Sender<Job>, count: u64) {
    (0..count).for_each(|n| to.send(job(n)).unwrap());
}

fn a_worker_sends_and_the_caller_receives(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(4).unwrap();
    let task = pool.submit(send_jobs, (sender, 200));
    for n in 0..200 {
        assert_eq!(receiver.recv().unwrap(), job(n));
    }
    task.wait().unwrap();
    assert!(matches!(receiver.recv(), Err(RecvError::Disconnected)));
}

#[worker]
fn sum_of(from: Receiver<u64>) -> (u64, u64) {
    from.iter().fold((0, 0), |(count, sum), n| (count + 1, sum + n))
}

fn a_worker_receives_what_the_caller_sends(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(16).unwrap();
    let task = pool.submit(sum_of, receiver);
    (0..10_000_u64).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    assert_eq!(task.wait().unwrap(), (10_000, 49_995_000));
}

#[worker]
fn send_numbered(to: Sender<(u64, u64)>, own: u64, count: u64) {
    (0..count).for_each(|n| to.send((own, n)).unwrap());
}

fn messages_of_one_sender_keep_their_order(method: StartMethod) {
    let pool = pool(method, 3);
    let (sender, receiver) = channel(8).unwrap();
    let task = pool.map_async(send_numbered, (0..3).map(|own| (sender.clone(), own, 2000_u64)));
    drop(sender);
    let mut next = [0; 3];
    for (own, n) in receiver {
        assert_eq!(n, next[own as usize]);
        next[own as usize] += 1;
    }
    assert_eq!(next, [2000; 3]);
    task.wait().unwrap();
}

#[worker]
fn collect(from: Receiver<(u64, u64)>) -> Vec<(u64, u64)> {
    from.into_iter().collect()
}

fn every_message_is_received_once(method: StartMethod) {
    let pool = pool(method, 4);
    let (sender, receiver) = channel(8).unwrap();
    let receivers: Vec<_> = (0..2).map(|_| pool.submit(collect, receiver.clone())).collect();
    let senders: Vec<_> =
        (0..2).map(|own| pool.submit(send_numbered, (sender.clone(), own, 3000_u64))).collect();
    drop((sender, receiver));
    senders.into_iter().for_each(|task| task.wait().unwrap());
    let mut all: Vec<_> = receivers.into_iter().flat_map(|task| task.wait().unwrap()).collect();
    all.sort_unstable();
    let expected: Vec<_> = (0..2).flat_map(|own| (0..3000).map(move |n| (own, n))).collect();
    assert_eq!(all, expected);
}

#[worker]
fn echo(from: Receiver<Vec<u8>>, to: Sender<Vec<u8>>) {
    from.iter().for_each(|bytes| to.send(bytes).unwrap());
}

/// Uses sizes at each limit: of the slot, of the heap, and of separate memory.
fn values_of_any_size_pass(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, requests) = channel(2).unwrap();
    let (answers, receiver) = channel(2).unwrap();
    let task = pool.submit(echo, (requests, answers));
    let around = |n: usize| [n - 9, n - 8, n - 7, n];
    let sizes = [0, 1, 31, 32, 33, 40, 41, 63, 64, 65, 5000, 300_000]
        .into_iter()
        .chain(around(1 << 20))
        .chain([3_000_001, 16 << 20]);
    for size in sizes {
        let bytes: Vec<u8> = (0..size).map(|n| (n * 7 % 251) as u8).collect();
        sender.send(bytes.clone()).unwrap();
        assert!(receiver.recv().unwrap() == bytes, "{size} bytes");
    }
    drop(sender);
    task.wait().unwrap();
}

#[worker]
fn send_all(to: Sender<u64>, count: u64) {
    (0..count).for_each(|n| to.send(n).unwrap());
}

fn a_full_channel_makes_its_sender_wait(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(3).unwrap();
    let task = pool.submit(send_all, (sender, 100));
    while receiver.len() < 3 {
        std::thread::yield_now();
    }
    assert!(receiver.is_full() && !task.is_done());
    for n in 0..100 {
        assert_eq!(receiver.recv().unwrap(), n);
        // A pause in which the sender usually goes to sleep.
        if n % 20 == 0 {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    task.wait().unwrap();
}

fn an_empty_channel_makes_its_receiver_wait(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(3).unwrap();
    let task = pool.submit(sum_of, receiver);
    for n in 0..20_u64 {
        sender.send(n).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(sender);
    assert_eq!(task.wait().unwrap(), (20, 190));
}

fn a_channel_holds_as_many_as_it_says(_: StartMethod) {
    for capacity in [1, 2, 3, 100] {
        let (sender, receiver) = channel(capacity).unwrap();
        for round in 0..5 {
            for n in 0..capacity {
                assert_eq!((sender.len(), sender.is_full()), (n, false));
                sender.try_send(round * 1000 + n).unwrap();
            }
            assert!(matches!(sender.try_send(7), Err(TrySendError::Full(7))));
            assert_eq!((sender.capacity(), receiver.len()), (capacity, capacity));
            for n in 0..capacity {
                assert_eq!(receiver.try_recv().unwrap(), round * 1000 + n);
            }
            assert!(matches!(receiver.try_recv(), Err(TryRecvError::Empty)));
            assert!(receiver.is_empty());
        }
    }
}

fn waits_with_a_limit_end(_: StartMethod) {
    let (sender, receiver) = channel(1).unwrap();
    let (begun, limit) = (Instant::now(), Duration::from_millis(20));
    assert!(matches!(receiver.recv_timeout(limit), Err(RecvTimeoutError::Timeout)));
    sender.send(1).unwrap();
    assert!(matches!(sender.send_timeout(2, limit), Err(SendTimeoutError::Timeout(2))));
    assert!(begun.elapsed() >= 2 * limit);
    assert_eq!(receiver.recv_timeout(Duration::ZERO).unwrap(), 1);
    assert!(matches!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout)));
    sender.send_timeout(3, Duration::MAX).unwrap();
    assert_eq!(receiver.recv_timeout(Duration::MAX).unwrap(), 3);
}

fn ends_that_are_dropped_disconnect(_: StartMethod) {
    let (sender, receiver) = channel(4).unwrap();
    let other = sender.clone();
    sender.send(1).unwrap();
    drop(sender);
    other.send(2).unwrap();
    drop(other);
    assert_eq!(receiver.recv().unwrap(), 1);
    assert_eq!(receiver.try_recv().unwrap(), 2);
    assert!(matches!(receiver.try_recv(), Err(TryRecvError::Disconnected)));
    assert!(matches!(receiver.recv(), Err(RecvError::Disconnected)));
    let (sender, receiver) = channel(1).unwrap();
    let other = receiver.clone();
    drop(receiver);
    sender.send(1).unwrap();
    drop(other);
    assert!(matches!(sender.try_send(2), Err(TrySendError::Disconnected(2))));
    assert!(matches!(
        sender.send_timeout(2, Duration::from_secs(9)),
        Err(SendTimeoutError::Disconnected(2))
    ));
    let SendError(value, ..) = sender.send(2).unwrap_err();
    assert_eq!(value, 2);
}

fn a_message_longer_than_memory_is_given_back(_: StartMethod) {
    /// Encodes more bytes than the process may allocate.
    struct Huge;
    impl Serialize for Huge {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            use serde::ser::SerializeSeq;
            let part = vec![0_u8; 64 << 20];
            let mut sequence = to.serialize_seq(Some(1 << 20))?;
            (0..1 << 20).try_for_each(|_| sequence.serialize_element(&part))?;
            sequence.end()
        }
    }
    impl<'de> Deserialize<'de> for Huge {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            unreachable!("it is never received")
        }
    }
    // Limits this process to half a gigabyte more than it uses now.
    let used = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = used.split(' ').next().unwrap().parse().unwrap();
    let limit = pages * 4096 + (512 << 20);
    let (sender, receiver) = channel(1).unwrap();
    let all = nix::sys::resource::Resource::RLIMIT_AS;
    nix::sys::resource::setrlimit(all, limit, limit).unwrap();
    let error = sender.send(Huge).unwrap_err();
    assert_eq!(error.error().map(runtime::Error::kind), Some(ErrorKind::Encode), "{error}");
    let Huge = error.into_inner();
    assert!(receiver.is_empty());
}

fn a_capacity_of_0_is_refused(_: StartMethod) {
    for (capacity, text) in [
        (0, "a channel has to hold at least one message; its capacity is 0"),
        (1 << 40, "a channel holds at most 16777216 messages, not 1099511627776"),
    ] {
        let error = channel::<u64>(capacity).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (ErrorKind::Configuration, text.to_owned()));
    }
}

/// Some programs fill a queue before they start its receiver.
fn many_large_messages_wait_for_a_receiver(_: StartMethod) {
    let (sender, receiver) = channel(500).unwrap();
    let bytes = |n: usize| vec![n as u8; 100_000 + n];
    for round in 0..2 {
        (0..500).for_each(|n| sender.try_send(bytes(n + round)).unwrap());
        assert!(sender.try_send(Vec::new()).unwrap_err().is_full());
        (0..500).for_each(|n| assert!(receiver.try_recv().unwrap() == bytes(n + round)));
    }
}

fn what_does_not_encode_is_given_back(_: StartMethod) {
    use std::os::unix::ffi::OsStringExt;
    let (sender, receiver) = channel(4).unwrap();
    let path = std::path::PathBuf::from(std::ffi::OsString::from_vec(vec![b'a', 0xff]));
    let error = sender.send(path.clone()).unwrap_err();
    assert!(!error.is_disconnected());
    assert_eq!(error.error().map(runtime::Error::kind), Some(ErrorKind::Encode));
    assert!(error.to_string().starts_with("a `std::path::PathBuf` cannot be sent: "), "{error}");
    assert_eq!(error.into_inner(), path);
    sender.send("b".into()).unwrap();
    assert_eq!(receiver.recv().unwrap(), std::path::Path::new("b"));
}

fn iterators_end(_: StartMethod) {
    let (sender, receiver) = channel(4).unwrap();
    (0..3).for_each(|n| sender.send(n).unwrap());
    assert_eq!(receiver.try_iter().collect::<Vec<u8>>(), [0, 1, 2]);
    (3..6).for_each(|n| sender.send(n).unwrap());
    drop(sender);
    assert_eq!((&receiver).into_iter().take(2).collect::<Vec<u8>>(), [3, 4]);
    assert_eq!(receiver.into_iter().collect::<Vec<u8>>(), [5]);
}
