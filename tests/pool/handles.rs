//! `submit` and `map_async`: handles, their waits, cancelling, and futures.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use procession_tests::tasks::{fail, square, touch, until_file};
use procession_tests::{EVERY, StartMethod, conformance, pool, wait};
use runtime::ErrorKind;

conformance! {
    EVERY => [
        a_handle_gives_the_output,
        map_async_gives_the_same_list,
        a_failure_comes_through_a_handle,
        a_wait_with_a_timeout_gives_up_and_can_go_on,
        what_has_not_started_can_be_cancelled,
        what_runs_or_is_done_cannot_be_cancelled,
        cancel_at_once_then_close_does_not_hang,
        cancelling_some_of_many_leaves_none_pending,
        a_dropped_handle_lets_its_task_go_on,
        a_handle_moves_to_another_thread,
        a_handle_is_a_future,
        many_futures_wake_their_tasks,
    ];
}

/// POOL-04, PPE-01.
fn a_handle_gives_the_output(method: StartMethod) {
    let pool = pool(method, 2);
    let handles: Vec<_> = (0..100).map(|x| pool.submit(square, x)).collect();
    for (x, handle) in (0..).zip(handles) {
        assert_eq!(handle.wait().unwrap(), square(x));
    }
}

/// POOL-04.
fn map_async_gives_the_same_list(method: StartMethod) {
    let pool = pool(method, 2);
    let expected: Vec<u64> = (0..5000).map(square).collect();
    assert_eq!(pool.map_async(square, 0..5000).wait().unwrap(), expected);
    let handle = pool.task(square).chunk_size(3).map_async(0..5000);
    assert_eq!(handle.wait().unwrap(), expected);
}

/// POOL-05 and POOL-26: `wait` returns what a callback receives in other libraries.
fn a_failure_comes_through_a_handle(method: StartMethod) {
    let pool = pool(method, 2);
    let error = pool.submit(fail, "so it is".to_owned()).wait().unwrap_err();
    assert_eq!(error.panic().unwrap().message, "so it is");
    let texts = ["one".to_owned()];
    let error = pool.map_async(fail, texts).wait().unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Panicked, Some(0)));
}

/// PPE-41 and PPE-44 in part.
fn a_wait_with_a_timeout_gives_up_and_can_go_on(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("go");
    let pool = pool(method, 1);
    let mut handle = pool.submit(until_file, file.clone());
    let begin = Instant::now();
    assert!(handle.wait_timeout(Duration::ZERO).is_none());
    assert!(handle.wait_timeout(Duration::from_millis(40)).is_none());
    assert!(begin.elapsed() >= Duration::from_millis(40));
    assert!(!handle.is_done());
    std::fs::write(file, "").unwrap();
    let output = handle.wait_timeout(Duration::from_secs(20));
    assert_eq!(output.expect("in time").unwrap(), 1);
}

/// PPE-44.
fn what_has_not_started_can_be_cancelled(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let (go, proof) = (dir.path().join("go"), dir.path().join("proof"));
    let pool = pool(method, 1);
    let running = pool.submit(until_file, go.clone());
    wait::for_it("the first task runs", || pool.workers()[0].task().is_some());
    let mut waiting = pool.submit(touch, proof.clone());
    assert!(waiting.cancel(), "it had not started");
    assert!(waiting.is_done());
    assert!(!waiting.cancel(), "nothing is left to cancel");
    let error = waiting.wait().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert_eq!(error.task().map(|task| task.ends_with("touch")), Some(true));
    std::fs::write(go, "").unwrap();
    assert_eq!(running.wait().unwrap(), 1);
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
    assert!(!proof.exists(), "the cancelled task ran");
}

/// PPE-44.
fn what_runs_or_is_done_cannot_be_cancelled(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let pool = pool(method, 1);
    let mut running = pool.submit(until_file, go.clone());
    wait::for_it("the task runs", || pool.workers()[0].task().is_some());
    assert!(!running.cancel(), "it runs");
    std::fs::write(go, "").unwrap();
    assert_eq!(running.wait().unwrap(), 1);
    let mut done = pool.submit(square, 6);
    wait::for_it("the task is done", || done.is_done());
    assert!(!done.cancel(), "it is done");
    assert_eq!(done.wait().unwrap(), 36);
}

/// PPE-38.
fn cancel_at_once_then_close_does_not_hang(method: StartMethod) {
    for _ in 0..10 {
        let pool = pool(method, 1);
        let mut handle = pool.submit(square, 3);
        let cancelled = handle.cancel();
        pool.close();
        pool.join();
        match handle.wait() {
            Ok(9) => assert!(!cancelled),
            Ok(other) => panic!("{other} is no square of 3"),
            Err(error) => {
                assert!(cancelled);
                assert_eq!(error.kind(), ErrorKind::Cancelled);
            }
        }
    }
}

/// PPE-37.
fn cancelling_some_of_many_leaves_none_pending(method: StartMethod) {
    let pool = pool(method, 2);
    let mut handles: Vec<_> = (0..400).map(|x| pool.submit(square, x)).collect();
    let cancelled: Vec<bool> = handles.iter_mut().map(|handle| handle.cancel()).collect();
    pool.join();
    for (x, (handle, cancelled)) in (0..).zip(handles.into_iter().zip(cancelled)) {
        assert!(handle.is_done());
        match handle.wait() {
            Ok(value) => assert!(value == square(x) && !cancelled),
            Err(error) => assert!(error.kind() == ErrorKind::Cancelled && cancelled),
        }
    }
}

fn a_dropped_handle_lets_its_task_go_on(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("proof");
    let pool = pool(method, 1);
    drop(pool.submit(touch, file.clone()));
    wait::for_it("the task has run", || file.exists());
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

fn a_handle_moves_to_another_thread(method: StartMethod) {
    let pool = pool(method, 1);
    let handle = pool.submit(square, 11);
    let output = std::thread::spawn(move || handle.wait()).join().unwrap();
    assert_eq!(output.unwrap(), 121);
}

/// Wakes a thread, and counts.
struct Alarm(Thread, AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let alarm = Arc::new(Alarm(std::thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&alarm));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return (output, alarm.1.load(Ordering::SeqCst));
        }
        // Only a wake-up ends this loop; the watchdog reports a lost one.
        while alarm.1.swap(0, Ordering::SeqCst) == 0 {
            std::thread::park();
        }
    }
}

/// PPE-43: a waker has the role of a callback.
fn a_handle_is_a_future(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let go = dir.path().join("go");
    let pool = pool(method, 1);
    let handle = pool.submit(until_file, go.clone());
    let opener = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        std::fs::write(go, "").unwrap();
    });
    assert_eq!(block_on(handle).0.unwrap(), 1);
    opener.join().unwrap();
    let error = block_on(pool.submit(fail, "late".to_owned())).0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    let done = pool.submit(square, 3);
    wait::for_it("the task is done", || done.is_done());
    let (output, wakes) = block_on(done);
    assert_eq!((output.unwrap(), wakes), (9, 0));
}

/// PPE-41: all of many handles.
fn many_futures_wake_their_tasks(method: StartMethod) {
    let pool = &pool(method, 2);
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            scope.spawn(move || {
                let all = async {
                    let handles: Vec<_> =
                        (0..50).map(|x| pool.submit(square, x + thread)).collect();
                    let mut sum = 0;
                    for handle in handles {
                        sum += handle.await.unwrap();
                    }
                    sum + pool.map_async(square, 0..100).await.unwrap()[3]
                };
                let expected: u64 = (0..50).map(|x| square(x + thread)).sum();
                assert_eq!(block_on(all).0, expected + 9);
            });
        }
    });
}
