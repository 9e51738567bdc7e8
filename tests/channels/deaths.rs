//! The state of a channel after processes that have an end were killed.

use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use procession_tests::{PROCESSES, StartMethod, conformance, pool};
use runtime::{ErrorKind, Process, Receiver, RecvError, Sender, channel, worker};

conformance! {
    PROCESSES => [
        a_killed_sender_disconnects_a_waiting_receiver,
        a_killed_receiver_disconnects_a_waiting_sender,
        what_a_killed_sender_sent_is_received,
        a_receiver_that_is_killed_while_it_waits_gives_way,
        a_sender_that_is_killed_while_it_waits_gives_way,
        a_template_holds_no_end,
        an_end_in_the_memory_of_a_fork_is_refused,
        a_killed_process_gives_its_messages_and_ends_back,
    ];
}

#[worker]
fn send_and_die(to: Sender<u64>, count: u64) {
    (0..count).for_each(|n| to.send(n).unwrap());
    raise(Signal::SIGKILL).unwrap();
}

#[worker]
fn receive_and_die(from: Receiver<u64>, count: u64) {
    (0..count).for_each(|n| assert_eq!(from.recv().unwrap(), n));
    raise(Signal::SIGKILL).unwrap();
}

#[worker]
fn receive_for_ever(from: Receiver<u64>, ready: Sender<u32>) -> u64 {
    ready.send(std::process::id()).unwrap();
    from.iter().sum()
}

#[worker]
fn send_for_ever(to: Sender<u64>, ready: Sender<u32>) -> u64 {
    ready.send(std::process::id()).unwrap();
    (0..).take_while(|n| to.send(*n).is_ok()).count() as u64
}

fn a_killed_sender_disconnects_a_waiting_receiver(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(4).unwrap();
    let task = pool.submit(send_and_die, (sender, 0_u64));
    assert!(matches!(receiver.recv(), Err(RecvError::Disconnected)));
    assert_eq!(task.wait().unwrap_err().kind(), ErrorKind::Signaled);
}

fn a_killed_receiver_disconnects_a_waiting_sender(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(2).unwrap();
    let task = pool.submit(receive_and_die, (receiver, 3_u64));
    let sent = (0..).take_while(|n| sender.send(*n).is_ok()).count();
    assert!(sent >= 3, "{sent} were sent");
    assert_eq!(task.wait().unwrap_err().kind(), ErrorKind::Signaled);
}

fn what_a_killed_sender_sent_is_received(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(1000).unwrap();
    let task = pool.submit(send_and_die, (sender, 500_u64));
    assert_eq!(task.wait().unwrap_err().kind(), ErrorKind::Signaled);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
}

fn kill(pid: u32) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid as i32), Signal::SIGKILL).unwrap();
}

/// The receiver that sleeps on the socket is killed. The other one, which sleeps on the lock, takes its
/// place.
fn a_receiver_that_is_killed_while_it_waits_gives_way(method: StartMethod) {
    let pool = pool(method, 3);
    for _ in 0..20 {
        let (sender, receiver) = channel(4).unwrap();
        let (ready, pids) = channel(4).unwrap();
        let first = pool.submit(receive_for_ever, (receiver.clone(), ready.clone()));
        let victim = pids.recv().unwrap();
        // After this time the first receiver usually sleeps.
        std::thread::sleep(Duration::from_millis(1));
        let second = pool.submit(receive_for_ever, (receiver, ready));
        pids.recv().unwrap();
        kill(victim);
        assert_eq!(first.wait().unwrap_err().kind(), ErrorKind::Signaled);
        (1..=3).for_each(|n| sender.send(n).unwrap());
        drop(sender);
        assert_eq!(second.wait().unwrap(), 6);
    }
}

fn a_sender_that_is_killed_while_it_waits_gives_way(method: StartMethod) {
    let pool = pool(method, 3);
    for _ in 0..20 {
        let (sender, receiver) = channel(2).unwrap();
        let (ready, pids) = channel(4).unwrap();
        let first = pool.submit(send_for_ever, (sender.clone(), ready.clone()));
        let victim = pids.recv().unwrap();
        std::thread::sleep(Duration::from_millis(1));
        let second = pool.submit(send_for_ever, (sender, ready));
        pids.recv().unwrap();
        kill(victim);
        assert_eq!(first.wait().unwrap_err().kind(), ErrorKind::Signaled);
        assert_eq!(receiver.iter().take(10).count(), 10);
        drop(receiver);
        assert!(second.wait().unwrap() >= 6);
    }
}

/// Under `Fork` the template, its standby and all workers have copies of the memory of the caller.
fn a_template_holds_no_end(method: StartMethod) {
    let (sender, receiver) = channel::<u64>(4).unwrap();
    let (to, from) = channel::<u64>(4).unwrap();
    let _pool = pool(method, 2);
    drop(sender);
    assert!(matches!(receiver.recv(), Err(RecvError::Disconnected)));
    drop(from);
    assert!(to.send(1).unwrap_err().is_disconnected());
}

static KEPT: std::sync::Mutex<Option<Sender<u64>>> = std::sync::Mutex::new(None);

/// Uses the end that the memory of the caller contains.
#[worker]
fn use_inherited() -> Option<String> {
    let kept = KEPT.lock().unwrap();
    let error = kept.as_ref()?.send(7).unwrap_err();
    Some(error.to_string())
}

fn an_end_in_the_memory_of_a_fork_is_refused(method: StartMethod) {
    let (sender, receiver) = channel::<u64>(4).unwrap();
    *KEPT.lock().unwrap() = Some(sender);
    let pool = pool(method, 1);
    let told = pool.apply(use_inherited, ()).unwrap();
    let expected = (method == StartMethod::Fork).then(|| {
        "an end of a channel does not pass to other processes by a fork; make it a parameter of the task, or an input of an \
         initializer"
            .to_owned()
    });
    assert_eq!(told, expected);
    assert!(receiver.is_empty());
    KEPT.lock().unwrap().take();
}

#[worker]
fn serve_once(requests: Receiver<Sender<String>>) {
    let answer = requests.recv().unwrap();
    answer.send("here".to_owned()).unwrap();
    drop(answer);
    let _second = requests.recv().unwrap();
    raise(Signal::SIGKILL).unwrap();
}

/// A message that contains an end keeps the channel of that end connected until the message is received.
/// After that the receiving process keeps it connected until it ends.
fn a_killed_process_gives_its_messages_and_ends_back(method: StartMethod) {
    let (sender, requests) = channel(4).unwrap();
    let server = Process::builder().start_method(method).spawn(serve_once, requests).unwrap();
    let (answer, answers) = channel(4).unwrap();
    sender.send(answer).unwrap();
    assert_eq!(answers.recv().unwrap(), "here");
    assert!(answers.recv().unwrap_err().is_disconnected());
    let (answer, answers) = channel(4).unwrap();
    sender.send(answer).unwrap();
    assert!(answers.recv().unwrap_err().is_disconnected());
    assert_eq!(server.join().unwrap_err().kind(), ErrorKind::Signaled);
}
