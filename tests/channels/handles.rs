//! Ends in values, and handles in messages.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use procession_tests::{EVERY, ONCE, StartMethod, conformance, pool};
use runtime::{
    Fd, Pool, Receiver, Sender, Shared, SharedMut, State, TrySendError, channel, initializer,
    worker,
};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        ends_stand_in_structs_and_results,
        an_initializer_takes_an_end,
        a_preload_takes_an_end,
        a_worker_of_a_worker_takes_an_end,
        files_pass_in_messages,
        memory_passes_in_messages,
        ends_pass_in_messages,
        a_message_holds_many_handles,
        descriptors_and_mappings_are_as_before,
    ];
    ONCE => [
        a_hundred_thousand_handles_leave_nothing,
        exclusive_memory_is_given_back,
        too_many_handles_are_refused,
        a_message_stays_until_there_are_descriptors,
        too_many_channels_say_what_to_raise,
        a_process_that_locks_its_memory_is_not_filled,
    ];
}

#[derive(Serialize, Deserialize)]
struct Both {
    name: String,
    sender: Sender<String>,
    receivers: Vec<Option<Receiver<String>>>,
}

#[worker]
fn make(name: &str) -> Both {
    let (sender, receiver) = channel(4).unwrap();
    sender.send(format!("from {name}")).unwrap();
    Both { name: name.to_owned(), sender, receivers: vec![None, Some(receiver)] }
}

#[worker]
fn pass(both: Both) -> Both {
    both.sender.send(format!("again {}", both.name)).unwrap();
    both
}

fn ends_stand_in_structs_and_results(method: StartMethod) {
    let pool = pool(method, 2);
    let both = pool.apply(make, "there").unwrap();
    let mut both = pool.apply(pass, both).unwrap();
    let receiver = both.receivers[1].take().unwrap();
    drop(both);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), ["from there", "again there"]);
}

#[initializer]
fn keep(sender: Sender<u64>) -> Sender<u64> {
    sender
}

#[worker]
fn send_to_kept(to: State<Sender<u64>>, n: u64) {
    to.send(n).unwrap();
}

fn sums(pool: &Pool, receiver: &Receiver<u64>) {
    let task = pool.map_async(send_to_kept, 0..100_u64);
    assert_eq!(receiver.iter().take(100).sum::<u64>(), 4950);
    task.wait().unwrap();
}

fn an_initializer_takes_an_end(method: StartMethod) {
    let (sender, receiver) = channel(4).unwrap();
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.initializer(keep, sender).build().unwrap();
    sums(&pool, &receiver);
    drop(pool);
    assert!(receiver.recv().unwrap_err().is_disconnected());
}

fn a_preload_takes_an_end(method: StartMethod) {
    let (sender, receiver) = channel(4).unwrap();
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.preload(keep, sender).build().unwrap();
    sums(&pool, &receiver);
    drop(pool);
    assert!(receiver.recv().unwrap_err().is_disconnected());
}

#[worker]
fn send_text(to: Sender<String>, text: &str) {
    to.send(text.to_owned()).unwrap();
}

#[worker]
fn in_a_pool_of_its_own(method: u8, to: Sender<String>) {
    let inner = pool(EVERY[method as usize], 1);
    inner.apply(send_text, (to, "from within")).unwrap();
}

fn a_worker_of_a_worker_takes_an_end(method: StartMethod) {
    let pool = pool(method, 1);
    for (n, inner) in EVERY.iter().enumerate() {
        // A worker thread cannot use `Fork`, because its process has other threads.
        if method == StartMethod::Thread && *inner == StartMethod::Fork {
            continue;
        }
        let (sender, receiver) = channel(1).unwrap();
        pool.apply(in_a_pool_of_its_own, (n as u8, sender)).unwrap();
        assert_eq!(receiver.iter().collect::<Vec<_>>(), ["from within"], "{inner:?}");
    }
}

#[worker]
fn append_all(files: Receiver<(Fd<File>, String)>, to: Sender<Fd<File>>) {
    for (file, text) in files {
        let mut file = file.into_inner();
        file.write_all(text.as_bytes()).unwrap();
        to.send(Fd::new(file).unwrap()).unwrap();
    }
}

fn files_pass_in_messages(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, files) = channel(4).unwrap();
    let (to, receiver) = channel(4).unwrap();
    let task = pool.submit(append_all, (files, to));
    for n in 0..50 {
        let file = tempfile::tempfile().unwrap();
        sender.send((Fd::new(file).unwrap(), format!("text {n}"))).unwrap();
        let mut file = receiver.recv().unwrap().into_inner();
        let mut text = String::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, format!("text {n}"));
    }
    drop(sender);
    task.wait().unwrap();
}

#[worker]
fn double_all(parts: Receiver<SharedMut<[f64]>>, to: Sender<SharedMut<[f64]>>) {
    for mut part in parts {
        part.iter_mut().for_each(|value| *value *= 2.0);
        to.send(part).unwrap();
    }
}

fn memory_passes_in_messages(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, parts) = channel(4).unwrap();
    let (to, receiver) = channel(4).unwrap();
    let task = pool.submit(double_all, (parts, to));
    let values: Vec<f64> = (0..1000).map(f64::from).collect();
    for part in SharedMut::from_slice(&values).unwrap().split(4) {
        sender.send(part).unwrap();
    }
    drop(sender);
    task.wait().unwrap();
    let whole: Shared<[f64]> = SharedMut::join(receiver).unwrap().freeze();
    assert!(whole.iter().zip(&values).all(|(got, value)| *got == 2.0 * value));
}

#[worker]
fn answer_all(requests: Receiver<(String, Sender<String>)>) {
    for (name, answer) in requests {
        answer.send(format!("hello {name}")).unwrap();
    }
}

fn ends_pass_in_messages(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, requests) = channel(4).unwrap();
    let task = pool.submit(answer_all, requests);
    for n in 0..20 {
        let (answer, answers) = channel(1).unwrap();
        sender.send((format!("{n}"), answer)).unwrap();
        assert_eq!(answers.iter().collect::<Vec<_>>(), [format!("hello {n}")]);
    }
    drop(sender);
    task.wait().unwrap();
}

#[worker]
fn lengths(from: Receiver<Vec<Shared<[u64]>>>) -> Vec<usize> {
    from.iter().map(|all| all.iter().map(|one| one[0] as usize).sum()).collect()
}

fn a_message_holds_many_handles(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(4).unwrap();
    let task = pool.submit(lengths, receiver);
    for count in [1, 63, 64, 65, 300] {
        let all = (0..count).map(|n| Shared::<[u64]>::from_slice(&[n]).unwrap()).collect();
        sender.send(all).unwrap();
    }
    drop(sender);
    let sum = |count: usize| count * (count - 1) / 2;
    assert_eq!(task.wait().unwrap(), [1, 63, 64, 65, 300].map(sum));
}

fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps").unwrap().lines().count()
}

fn files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[worker]
fn counts() -> (usize, usize) {
    (files(), mappings())
}

#[worker]
fn forward(from: Receiver<Sender<u64>>, n: u64) {
    from.recv().unwrap().send(n).unwrap();
}

fn descriptors_and_mappings_are_as_before(method: StartMethod) {
    let pool = pool(method, 1);
    let round = |n: u64| {
        let (sender, receiver) = channel(2).unwrap();
        let (inner, numbers) = channel(2).unwrap();
        sender.send(inner).unwrap();
        pool.apply(forward, (receiver, n)).unwrap();
        assert_eq!(numbers.recv().unwrap(), n);
    };
    (0..20).for_each(round);
    let (here, there) = ((files(), mappings()), pool.apply(counts, ()).unwrap());
    (0..200).for_each(round);
    assert_eq!(files(), here.0);
    assert_eq!(pool.apply(counts, ()).unwrap().0, there.0);
    // The allocator may map memory as well, so the numbers are not exact.
    assert!(mappings() < here.1 + 20);
    assert!(pool.apply(counts, ()).unwrap().1 < there.1 + 20);
}

fn a_hundred_thousand_handles_leave_nothing(_: StartMethod) {
    let (sender, receiver) = channel(64).unwrap();
    let memory = Shared::<[u64]>::zeroed(8).unwrap();
    let (here, mapped) = (files(), mappings());
    for _ in 0..100_000 / 50 {
        for _ in 0..50 {
            // An object that exists already, and a new one.
            sender
                .send((memory.clone(), Fd::new(File::open("/dev/null").unwrap()).unwrap()))
                .unwrap();
        }
        (0..50).for_each(|_| drop(receiver.recv().unwrap()));
    }
    assert_eq!(files(), here);
    assert!(mappings() < mapped + 20);
}

fn exclusive_memory_is_given_back(_: StartMethod) {
    let (sender, receiver) = channel(1).unwrap();
    let part = |value: f64| SharedMut::from_slice(&[value; 100]).unwrap();
    sender.send(part(1.0)).unwrap();
    let Err(TrySendError::Full(mut back)) = sender.try_send(part(2.0)) else {
        panic!("it is full");
    };
    assert!(back.iter().all(|value| *value == 2.0));
    back[0] = 3.0;
    assert_eq!(receiver.recv().unwrap()[0], 1.0);
    sender.send(back).unwrap();
    let part = receiver.recv().unwrap();
    assert_eq!(part[..2], [3.0, 2.0]);
    drop(receiver);
    let back = sender.send(part).unwrap_err().into_inner();
    assert_eq!(back[..2], [3.0, 2.0]);
}

fn too_many_handles_are_refused(_: StartMethod) {
    nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 4096, 4096).unwrap();
    let (sender, receiver) = channel::<Vec<Fd<File>>>(1).unwrap();
    let all: Vec<_> =
        (0..1025).map(|_| Fd::new(File::open("/dev/null").unwrap()).unwrap()).collect();
    let error = sender.send(all).unwrap_err();
    assert_eq!(error.to_string(), "a message cannot be sent: it holds more than 1024 handles");
    let mut all = error.into_inner();
    all.pop();
    sender.send(all).unwrap();
    assert_eq!(receiver.recv().unwrap().len(), 1024);
}

fn a_message_stays_until_there_are_descriptors(_: StartMethod) {
    let (sender, receiver) = channel(4).unwrap();
    for n in 0..2 {
        let all: Vec<_> =
            (0..10).map(|_| Fd::new(File::open("/dev/null").unwrap()).unwrap()).collect();
        sender.send((n, all)).unwrap();
    }
    let mut held = Vec::new();
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, most) = nix::sys::resource::getrlimit(limit).unwrap();
    nix::sys::resource::setrlimit(limit, 64, most).unwrap();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
    }
    for _ in 0..3 {
        let error = receiver.recv().unwrap_err().to_string();
        assert_eq!(
            error,
            "the handles in a message cannot be received: this process has too many open files; raise RLIMIT_NOFILE \
             (`ulimit -n`) or keep fewer handles"
        );
    }
    held.clear();
    for expected in 0..2 {
        let (n, all) = receiver.recv().unwrap();
        assert_eq!((n, all.len()), (expected, 10));
    }
}

fn too_many_channels_say_what_to_raise(_: StartMethod) {
    let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
    let (_, most) = nix::sys::resource::getrlimit(limit).unwrap();
    nix::sys::resource::setrlimit(limit, 1024, most).unwrap();
    let mut all = Vec::new();
    let error = loop {
        match channel::<u64>(1) {
            Ok(ends) => all.push(ends),
            Err(error) => break error,
        }
    };
    assert!(all.len() > 300, "{}", all.len());
    assert_eq!(
        error.to_string(),
        "failed to make a channel: this process has too many open files; raise RLIMIT_NOFILE (`ulimit -n`) or keep fewer \
         handles"
    );
    nix::sys::resource::setrlimit(limit, most.min(4096), most).unwrap();
    while all.len() < 1000 {
        all.push(channel(1).unwrap());
    }
    for (n, (sender, receiver)) in (0..).zip(&all) {
        sender.send(n).unwrap();
        assert_eq!(receiver.recv().unwrap(), n);
    }
}

/// The heap of a channel takes a gigabyte of address space.
fn a_process_that_locks_its_memory_is_not_filled(_: StartMethod) {
    use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
    if mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).is_err() {
        println!("skipped: this user may not lock memory");
        return;
    }
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    };
    let before = resident();
    let (sender, receiver) = channel(100).unwrap();
    for len in [10, 100_000, 3 << 20] {
        sender.send(vec![7_u8; len]).unwrap();
        assert_eq!(receiver.recv().unwrap(), vec![7; len]);
    }
    let grown = resident().saturating_sub(before);
    munlockall().unwrap();
    assert!(grown < 50, "{grown} MiB became resident");
}
