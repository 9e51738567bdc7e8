//! Pipes, waiting for several receivers, and async code.

use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use procession_tests::{EVERY, ONCE, PROCESSES, StartMethod, conformance, pool};
use runtime::{
    Fd, Pipe, Process, Receiver, RecvError, RecvTimeoutError, Select, Sender, TryRecvError,
    channel, pipe, worker,
};

conformance! {
    EVERY => [
        a_pipe_echoes_through_a_worker,
        a_message_of_16_mib_passes_whole,
        the_end_of_the_worker_ends_the_pipe,
        a_file_passes_through_a_pipe,
        messages_are_not_merged,
        a_select_collects_from_many,
        async_code_receives,
        async_code_learns_of_the_end,
    ];
    PROCESSES => [
        the_caller_may_drop_the_end_of_its_child,
        a_select_sees_a_killed_sender,
        a_select_beside_a_receiver_gets_its_messages,
        signals_do_not_break_a_wait,
    ];
    ONCE => [
        poll_takes_nothing,
        a_select_tells_what_is_ready,
        a_select_waits_no_longer_than_it_may,
        a_dropped_future_loses_nothing,
        many_futures_wait_with_one_thread,
    ];
}

#[worker]
fn echo(pipe: Pipe<Vec<u8>, Vec<u8>>) {
    pipe.iter().for_each(|bytes| pipe.send(bytes).unwrap());
}

/// PIPE-01.
fn a_pipe_echoes_through_a_worker(method: StartMethod) {
    let pool = pool(method, 1);
    let (ours, theirs) = pipe().unwrap();
    let task = pool.submit(echo, theirs);
    for bytes in [&b""[..], b"x", &[7; 1000]] {
        ours.send(bytes.to_vec()).unwrap();
        assert_eq!(ours.recv().unwrap(), bytes);
    }
    // Fills both directions up to the total capacity of both sides.
    (0..64).for_each(|n| ours.send(vec![n]).unwrap());
    (0..64).for_each(|n| assert_eq!(ours.recv().unwrap(), [n]));
    drop(ours);
    task.wait().unwrap();
}

/// PIPE-05.
fn a_message_of_16_mib_passes_whole(method: StartMethod) {
    let pool = pool(method, 1);
    let (ours, theirs) = pipe().unwrap();
    let task = pool.submit(echo, theirs);
    let bytes: Vec<u8> = (0..16 << 20).map(|n: u32| (n % 251) as u8).collect();
    ours.send(bytes.clone()).unwrap();
    assert!(ours.recv().unwrap() == bytes);
    drop(ours);
    task.wait().unwrap();
}

#[worker]
fn say_one(pipe: Pipe<u64, u64>) {
    pipe.send(1).unwrap();
}

/// PIPE-13.
fn the_end_of_the_worker_ends_the_pipe(method: StartMethod) {
    let pool = pool(method, 1);
    let (ours, theirs) = pipe::<u64, u64>().unwrap();
    pool.apply(say_one, theirs).unwrap();
    assert_eq!(ours.recv().unwrap(), 1);
    assert!(ours.recv().unwrap_err().is_disconnected());
    assert!(ours.send(2).unwrap_err().is_disconnected());
}

/// PIPE-08.
fn the_caller_may_drop_the_end_of_its_child(method: StartMethod) {
    let (ours, theirs) = pipe::<u64, u64>().unwrap();
    let child = Process::builder().start_method(method).spawn(say_one, theirs).unwrap();
    assert_eq!(ours.recv().unwrap(), 1);
    child.join().unwrap();
    assert!(matches!(ours.recv(), Err(RecvError::Disconnected)));
}

#[worker]
fn write_to(pipe: Pipe<(), Fd<std::fs::File>>) {
    let mut file = pipe.recv().unwrap().into_inner();
    file.write_all(b"from the other end").unwrap();
    pipe.send(()).unwrap();
}

/// PIPE-10.
fn a_file_passes_through_a_pipe(method: StartMethod) {
    let pool = pool(method, 1);
    let (ours, theirs) = pipe().unwrap();
    let task = pool.submit(write_to, theirs);
    let file = tempfile::NamedTempFile::new().unwrap();
    ours.send(Fd::new(file.reopen().unwrap()).unwrap()).unwrap();
    ours.recv().unwrap();
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "from the other end");
    task.wait().unwrap();
}

#[worker]
fn send_some(pipe: Pipe<Vec<u8>, u64>) {
    for n in pipe.iter() {
        (0..n).for_each(|n| pipe.send(vec![1; n as usize]).unwrap());
    }
}

/// PIPE-14, PIPE-16, PIPE-17.
/// An empty message is delivered like any other.
fn messages_are_not_merged(method: StartMethod) {
    let pool = pool(method, 1);
    let (ours, theirs) = pipe().unwrap();
    let task = pool.submit(send_some, theirs);
    ours.send(5).unwrap();
    for n in 0..5 {
        for _ in 0..2 {
            assert!(ours.poll(Duration::MAX));
        }
        assert_eq!(ours.recv().unwrap(), vec![1; n]);
    }
    assert!(!ours.poll(Duration::from_millis(5)));
    drop(ours);
    task.wait().unwrap();
}

/// PIPE-04.
fn poll_takes_nothing(_: StartMethod) {
    let (ours, theirs) = pipe::<(), ()>().unwrap();
    assert!(!theirs.poll(Duration::ZERO));
    let begun = Instant::now();
    assert!(!theirs.poll(Duration::from_millis(20)));
    assert!(begun.elapsed() >= Duration::from_millis(20));
    ours.send(()).unwrap();
    assert!(theirs.poll(Duration::ZERO) && theirs.poll(Duration::MAX));
    theirs.recv().unwrap();
    assert!(!theirs.poll(Duration::ZERO));
    drop(ours);
    assert!(theirs.poll(Duration::MAX));
    assert!(matches!(theirs.try_recv(), Err(TryRecvError::Disconnected)));
}

#[worker]
fn send_slowly(to: Sender<u64>, own: u64) {
    for n in 0..10 {
        to.send(own * 100 + n).unwrap();
        thread::sleep(Duration::from_millis(own));
    }
}

/// PIPE-28.
fn a_select_collects_from_many(method: StartMethod) {
    let pool = pool(method, 4);
    let (senders, mut receivers): (Vec<_>, Vec<Receiver<u64>>) =
        (0..4).map(|_| channel(2).unwrap()).unzip();
    let task = pool.map_async(send_slowly, senders.into_iter().zip(0..4_u64));
    let mut all = Vec::new();
    while !receivers.is_empty() {
        let mut select = Select::new();
        for receiver in &receivers {
            select.recv(receiver);
        }
        let ready = select.ready();
        match receivers[ready].try_recv() {
            Ok(value) => all.push(value),
            Err(TryRecvError::Disconnected) => drop(receivers.remove(ready)),
            Err(error) => panic!("nobody else receives: {error}"),
        }
    }
    all.sort_unstable();
    let expected: Vec<_> = (0..4).flat_map(|own| (0..10).map(move |n| own * 100 + n)).collect();
    assert_eq!(all, expected);
    task.wait().unwrap();
}

fn a_select_tells_what_is_ready(_: StartMethod) {
    let (numbers, from_numbers) = channel::<u64>(4).unwrap();
    let (words, from_words) = channel::<String>(4).unwrap();
    let mut select = Select::new();
    let (first, second) = (select.recv(&from_numbers), select.recv(&from_words));
    assert_eq!((first, second, select.try_ready()), (0, 1, None));
    numbers.send(1).unwrap();
    assert_eq!(select.ready(), 0);
    words.send("one".to_owned()).unwrap();
    // Receivers that are ready at the same time take turns.
    let mut seen = [select.ready(), select.ready()];
    seen.sort_unstable();
    assert_eq!(seen, [0, 1]);
    from_numbers.recv().unwrap();
    assert_eq!((select.ready(), select.ready()), (1, 1));
    from_words.recv().unwrap();
    assert_eq!(select.try_ready(), None);
    drop(words);
    assert_eq!(select.ready(), 1);
    // The same channel is added twice.
    let again = from_numbers.clone();
    let mut select = Select::new();
    select.recv(&from_numbers);
    select.recv(&again);
    assert_eq!(select.ready_timeout(Duration::from_millis(10)), None);
    numbers.send(1).unwrap();
    assert!(select.ready() < 2);
}

/// PIPE-29, PIPE-31.
fn a_select_waits_no_longer_than_it_may(_: StartMethod) {
    let (_numbers, receiver) = channel::<u64>(4).unwrap();
    let mut select = Select::new();
    select.recv(&receiver);
    let begun = Instant::now();
    assert_eq!(select.ready_timeout(Duration::from_millis(20)), None);
    assert!(begun.elapsed() >= Duration::from_millis(20));
    assert_eq!(Select::new().ready_timeout(Duration::ZERO), None);
}

#[worker]
fn wait_and_die(_to: Sender<u64>, from: Receiver<u64>) {
    let _ = from.recv();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn a_select_sees_a_killed_sender(method: StartMethod) {
    let pool = pool(method, 1);
    let (_silent, quiet) = channel::<u64>(1).unwrap();
    let (sender, receiver) = channel::<u64>(1).unwrap();
    let (go, going) = channel::<u64>(1).unwrap();
    let task = pool.submit(wait_and_die, (sender, going));
    let mut select = Select::new();
    select.recv(&quiet);
    let dying = select.recv(&receiver);
    assert_eq!(select.ready_timeout(Duration::from_millis(5)), None);
    go.send(1).unwrap();
    assert_eq!(select.ready(), dying);
    task.wait().unwrap_err();
}

#[worker]
fn count(from: Receiver<u64>, ready: Sender<()>) -> u64 {
    ready.send(()).unwrap();
    from.iter().count() as u64
}

/// Another process waits for the same channel, and gets the wake-ups.
fn a_select_beside_a_receiver_gets_its_messages(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel::<u64>(4).unwrap();
    let (ready, is_ready) = channel(1).unwrap();
    let task = pool.submit(count, (receiver.clone(), ready));
    is_ready.recv().unwrap();
    let feed = thread::spawn(move || (0..2000).for_each(|n| sender.send(n).unwrap()));
    let mut own = 0;
    loop {
        let mut select = Select::new();
        select.recv(&receiver);
        select.ready();
        match receiver.try_recv() {
            Ok(_) => own += 1,
            Err(TryRecvError::Empty) => {}
            Err(error) => {
                assert!(error.is_disconnected(), "{error}");
                break;
            }
        }
    }
    feed.join().unwrap();
    assert_eq!(task.wait().unwrap() + own, 2000);
}

/// A handler of SIGUSR1 that interrupts system calls.
#[allow(unsafe_code, reason = "handlers of signals")]
#[worker]
fn interrupt(pid: u32, ready: Sender<u64>, large: Receiver<Vec<u8>>) {
    let pid = nix::unistd::Pid::from_raw(pid as i32);
    for _ in 0..20 {
        thread::sleep(Duration::from_millis(2));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
    }
    ready.send(1).unwrap();
    assert_eq!(large.recv().unwrap().len(), 16 << 20);
}

/// PIPE-32.
#[allow(unsafe_code, reason = "handlers of signals")]
fn signals_do_not_break_a_wait(method: StartMethod) {
    use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
    extern "C" fn nothing(_: i32) {}
    let pool = pool(method, 1);
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler does nothing.
    unsafe { sigaction(Signal::SIGUSR1, &action) }.unwrap();
    let (ready, is_ready) = channel(1).unwrap();
    let (sender, large) = channel(1).unwrap();
    let task = pool.submit(interrupt, (std::process::id(), ready, large));
    assert!(matches!(
        is_ready.recv_timeout(Duration::from_millis(10)),
        Err(RecvTimeoutError::Timeout)
    ));
    assert_eq!(is_ready.recv().unwrap(), 1);
    sender.send(vec![1; 16 << 20]).unwrap();
    task.wait().unwrap();
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// A minimal executor.
fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn async_code_receives(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel(2).unwrap();
    let task = pool.submit(send_slowly, (sender, 1_u64));
    let all = block_on(async {
        let mut all = Vec::new();
        while let Ok(value) = receiver.recv_async().await {
            all.push(value);
        }
        all
    });
    assert_eq!(all, (100..110).collect::<Vec<_>>());
    task.wait().unwrap();
}

fn async_code_learns_of_the_end(method: StartMethod) {
    let pool = pool(method, 1);
    let (sender, receiver) = channel::<u64>(2).unwrap();
    let (go, going) = channel::<u64>(1).unwrap();
    let task = pool.submit(hold, (sender, going));
    let go = thread::spawn(move || {
        thread::sleep(Duration::from_millis(5));
        drop(go);
    });
    assert!(block_on(receiver.recv_async()).unwrap_err().is_disconnected());
    go.join().unwrap();
    task.wait().unwrap();
}

#[worker]
fn hold(to: Sender<u64>, until: Receiver<u64>) {
    assert!(until.recv().is_err());
    drop(to);
}

fn a_dropped_future_loses_nothing(_: StartMethod) {
    let (sender, receiver) = channel(4).unwrap();
    for n in 0..50 {
        let waker = Waker::noop();
        let mut context = Context::from_waker(waker);
        {
            let mut future = pin!(receiver.recv_async());
            assert!(future.as_mut().poll(&mut context).is_pending());
            if n % 2 == 0 {
                sender.send(n).unwrap();
            }
        }
        if n % 2 == 1 {
            sender.send(n).unwrap();
        }
        assert_eq!(receiver.recv().unwrap(), n);
    }
    drop(sender);
    assert!(receiver.recv().unwrap_err().is_disconnected());
    drop(receiver);
}

fn many_futures_wait_with_one_thread(_: StartMethod) {
    let ends: Vec<_> = (0..50).map(|_| channel::<usize>(1).unwrap()).collect();
    let (senders, receivers): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
    let mut futures: Vec<_> =
        receivers.iter().map(|receiver| Box::pin(receiver.recv_async())).collect();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    for future in &mut futures {
        assert!(future.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(std::fs::read_dir("/proc/self/task").unwrap().count(), 2);
    for n in (0..50).rev() {
        senders[n].send(n).unwrap();
        let value = loop {
            match futures[n].as_mut().poll(&mut context) {
                Poll::Ready(value) => break value.unwrap(),
                Poll::Pending => thread::park(),
            }
        };
        assert_eq!(value, n);
    }
}
