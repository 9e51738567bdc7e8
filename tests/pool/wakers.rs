//! Wakers that own a pool, whose dispatcher calls them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};
use std::{future::Future, path::PathBuf, pin::pin};

use procession_tests::{EVERY, StartMethod, conformance, pool, wait};
use runtime::{Handle, Pool, worker};

conformance! {
    EVERY => [
        a_waker_that_is_woken_may_drop_the_pool,
        a_waker_that_is_dropped_may_drop_the_pool,
        a_waker_may_drop_the_pool_while_another_thread_waits,
        a_waker_may_end_the_pool_in_every_way,
        a_waker_that_drops_a_busy_pool_blocks_no_thread,
        a_waker_that_panics_ends_nothing,
    ];
}

#[worker]
fn until_file(path: PathBuf) -> u64 {
    while !path.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

/// A way to end a pool.
type End = fn(&Pool);

/// Owns a pool. When it is woken or dropped, it ends and drops the pool, and reports how long that took.
struct Owner {
    pool: Mutex<Option<Pool>>,
    end: End,
    told: Sender<Duration>,
}

impl Owner {
    fn end(&self) {
        let Some(pool) = self.pool.lock().unwrap().take() else { return };
        let begin = Instant::now();
        (self.end)(&pool);
        drop(pool);
        self.told.send(begin.elapsed()).unwrap();
    }
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {
        self.end();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns a waker that owns the pool, and the receiver of its report.
fn owner(pool: Pool, end: End) -> (Waker, Receiver<Duration>) {
    let (told, hear) = channel();
    (Waker::from(Arc::new(Owner { pool: Mutex::new(Some(pool)), end, told })), hear)
}

fn poll(handle: &mut Handle<u64>, waker: &Waker) {
    // Polled with a clone of the waker, as by another executor.
    let waker = waker.clone();
    assert!(matches!(pin!(handle).poll(&mut Context::from_waker(&waker)), Poll::Pending));
}

/// A pool waits for killed workers for up to ten seconds. A pool without such workers ends quickly.
fn assert_soon(hear: &Receiver<Duration>) {
    let took = hear.recv_timeout(Duration::from_secs(30)).expect("the pool was dropped");
    assert!(took < Duration::from_secs(8), "the drop took {took:?}");
}

fn a_waker_that_is_woken_may_drop_the_pool(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 2);
    let mut handle = pool.submit(until_file, dir.path().join("go"));
    let (waker, hear) = owner(pool, |_| ());
    poll(&mut handle, &waker);
    drop(waker);
    // No thread waits in a call, so the dispatcher reads the result and wakes the waker.
    std::fs::write(dir.path().join("go"), "").unwrap();
    assert_soon(&hear);
    assert_eq!(handle.wait().unwrap(), 1);
}

fn a_waker_that_is_dropped_may_drop_the_pool(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 2);
    let mut handle = pool.submit(until_file, dir.path().join("go"));
    let (waker, hear) = owner(pool, |_| ());
    poll(&mut handle, &waker);
    drop(waker);
    // The handle is detached; its waker is dropped when its task has ended.
    drop(handle);
    std::fs::write(dir.path().join("go"), "").unwrap();
    assert_soon(&hear);
}

fn a_waker_may_drop_the_pool_while_another_thread_waits(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 2);
    let mut handle = pool.submit(until_file, dir.path().join("go"));
    let other = pool.submit(until_file, dir.path().join("later"));
    let (waker, hear) = owner(pool, |_| ());
    poll(&mut handle, &waker);
    drop(waker);
    // Either this thread or the dispatcher reads the results of both calls.
    let waiting = std::thread::spawn(move || other.wait());
    std::thread::sleep(Duration::from_millis(20));
    std::fs::write(dir.path().join("go"), "").unwrap();
    std::thread::sleep(Duration::from_millis(100));
    std::fs::write(dir.path().join("later"), "").unwrap();
    assert_soon(&hear);
    assert_eq!(handle.wait().unwrap(), 1);
    // The task runs while the pool is dropped, which may end its worker.
    drop(waiting.join().unwrap());
}

/// The thread that wakes reads the results of others: it is a waiting thread, or the dispatcher.
fn a_waker_that_drops_a_busy_pool_blocks_no_thread(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let busy = || Pool::builder().start_method(method).workers(1).grace(Duration::from_secs(40));
    for waits in [false, true] {
        let [go, later] = ["go", "later"].map(|name| dir.path().join(format!("{name}{waits}")));
        let (busy, pool) = (busy().build().unwrap(), pool(method, 2));
        let running = busy.submit(until_file, later.clone());
        wait::for_it("it runs", || busy.workers()[0].task().is_some());
        let mut handle = pool.submit(until_file, go.clone());
        let (waker, hear) = owner(busy, |_| ());
        poll(&mut handle, &waker);
        drop(waker);
        let second = pool.submit(until_file, go.clone());
        std::fs::write(&go, "").unwrap();
        if waits {
            assert_eq!(second.wait().unwrap(), 1);
        }
        let took = hear.recv_timeout(Duration::from_secs(30)).expect("the pool was dropped");
        assert!(took < Duration::from_secs(10), "the drop took {took:?}");
        // The pool ends on its own, and its tasks have their values.
        std::fs::write(&later, "").unwrap();
        assert_eq!(running.wait().unwrap(), 1);
        assert_eq!(handle.wait().unwrap(), 1);
    }
}

fn a_waker_may_end_the_pool_in_every_way(method: StartMethod) {
    let ends: [End; 3] = [Pool::close, Pool::join, Pool::terminate];
    for end in ends {
        let dir = tempfile::tempdir().unwrap();
        let pool = pool(method, 1);
        let mut handle = pool.submit(until_file, dir.path().join("go"));
        let (waker, hear) = owner(pool, end);
        poll(&mut handle, &waker);
        drop(waker);
        std::fs::write(dir.path().join("go"), "").unwrap();
        assert_soon(&hear);
        assert_eq!(handle.wait().unwrap(), 1);
    }
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

struct Bad;

impl Wake for Bad {
    fn wake(self: Arc<Self>) {
        PANICS.fetch_add(1, Ordering::SeqCst);
        panic!("woken");
    }
}

/// Panics when it is dropped, unless a panic drops it.
struct Worse;

impl Wake for Worse {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Worse {
    fn drop(&mut self) {
        PANICS.fetch_add(1, Ordering::SeqCst);
        panic!("dropped");
    }
}

fn a_waker_that_panics_ends_nothing(method: StartMethod) {
    std::panic::set_hook(Box::new(|_| ()));
    let dir = tempfile::tempdir().unwrap();
    let pool = pool(method, 1);
    let mut woken = pool.submit(until_file, dir.path().join("go"));
    let mut dropped = pool.submit(until_file, dir.path().join("go"));
    {
        let (bad, worse) = (Waker::from(Arc::new(Bad)), Waker::from(Arc::new(Worse)));
        poll(&mut woken, &bad);
        poll(&mut dropped, &worse);
    }
    drop(dropped);
    std::fs::write(dir.path().join("go"), "").unwrap();
    wait::for_it("both have panicked", || PANICS.load(Ordering::SeqCst) == 2);
    assert_eq!(woken.wait().unwrap(), 1);
    assert_eq!(pool.apply(until_file, dir.path().join("go")).unwrap(), 1);
    let _ = std::panic::take_hook();
}
