//! Tests of a lock in shared memory whose owners die.

use std::ops::Deref;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::{Holder, Locked, NotLocked, RawLock, home};
use crate::atomics::{AtomicU32, AtomicU64, Ordering};
use crate::sys::clock;
use crate::sys::memory::{Mapping, PAGE};

/// The memory that the processes of these tests share.
#[repr(C, align(8))]
struct Area {
    lock: RawLock,
    other: RawLock,
    count: AtomicU64,
    marks: [AtomicU32; 8],
}

// SAFETY: `repr(C)`, and only atomics.
#[allow(unsafe_code, reason = "a structure of shared memory")]
unsafe impl crate::sys::memory::SharedMemory for Area {}

struct Page(Mapping, #[allow(dead_code, reason = "keeps it open")] OwnedFd);

fn page() -> Page {
    let (mapping, fd) = Mapping::with_file(c"lock-test", PAGE).unwrap();
    Page(mapping, fd)
}

impl Deref for Page {
    type Target = Area;

    fn deref(&self) -> &Area {
        self.0.view(0)
    }
}

/// Runs code in a forked process, which then exits silently.
#[allow(unsafe_code, reason = "forks")]
fn child(run: impl FnOnce()) -> Pid {
    // SAFETY: the child takes no lock of this process, and exits here.
    match unsafe { nix::unistd::fork() }.unwrap() {
        ForkResult::Parent { child } => child,
        ForkResult::Child => {
            run();
            // SAFETY: the call ends the process.
            unsafe { libc::_exit(0) }
        }
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < end, "not in time: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn reap(child: Pid) {
    waitpid(child, None).unwrap();
}

/// Starts a process that owns the lock and waits.
fn owner(page: &Page) -> Pid {
    page.marks[0].store(0, Ordering::SeqCst);
    let child = child(|| {
        assert!(page.lock.lock().is_ok());
        page.marks[0].store(1, Ordering::SeqCst);
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    });
    until("the child owns it", || page.marks[0].load(Ordering::SeqCst) == 1);
    child
}

#[test]
fn it_is_taken_and_given_back() {
    let page = page();
    for _ in 0..3 {
        assert_eq!(page.lock.lock(), Ok(Locked::Clean));
        assert!(page.lock.is_mine());
        page.lock.unlock();
        assert_eq!(page.lock.try_lock(), Ok(Some(Locked::Clean)));
        page.lock.unlock();
        assert!(!page.lock.is_mine());
    }
}

#[test]
fn all_threads_and_children_have_one_home() {
    let own = home().unwrap();
    assert_ne!(own, 0);
    assert_eq!(thread::spawn(|| home().unwrap()).join().unwrap(), own);
    if !cfg!(miri) {
        let page = page();
        reap(child(|| page.count.store(home().unwrap(), Ordering::SeqCst)));
        assert_eq!(page.count.load(Ordering::SeqCst), own);
    }
}

#[test]
fn one_thread_at_a_time() {
    const ROUNDS: u64 = if cfg!(miri) { 10 } else { 20_000 };
    let page = page();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..ROUNDS {
                    assert_eq!(page.lock.lock(), Ok(Locked::Clean));
                    let seen = page.count.load(Ordering::Relaxed);
                    page.count.store(seen + 1, Ordering::Relaxed);
                    page.lock.unlock();
                }
            });
        }
    });
    assert_eq!(page.count.load(Ordering::Relaxed), 4 * ROUNDS);
}

#[test]
#[cfg_attr(miri, ignore = "forks")]
fn one_process_at_a_time() {
    let page = page();
    let run = || {
        for _ in 0..5_000 {
            assert_eq!(page.lock.lock(), Ok(Locked::Clean));
            let seen = page.count.load(Ordering::Relaxed);
            page.count.store(seen + 1, Ordering::Relaxed);
            page.lock.unlock();
        }
    };
    let children: Vec<_> = (0..4).map(|_| child(run)).collect();
    children.into_iter().for_each(reap);
    assert_eq!(page.count.load(Ordering::Relaxed), 20_000);
}

#[test]
fn taking_it_twice_is_an_error() {
    let page = page();
    assert_eq!(page.lock.lock(), Ok(Locked::Clean));
    assert_eq!(page.lock.lock(), Err(NotLocked::Deadlock));
    assert_eq!(page.lock.try_lock(), Err(NotLocked::Deadlock));
    page.lock.unlock();
    assert_eq!(page.lock.lock(), Ok(Locked::Clean));
    page.lock.unlock();
}

#[test]
fn another_thread_waits_no_longer_than_it_wants() {
    let page = page();
    assert_eq!(page.lock.lock(), Ok(Locked::Clean));
    thread::scope(|scope| {
        scope.spawn(|| {
            assert_eq!(page.lock.try_lock(), Ok(None));
            let begun = Instant::now();
            let until = clock::now() + 20_000_000;
            assert_eq!(page.lock.lock_until(until), Err(NotLocked::TimedOut));
            assert!(begun.elapsed() >= Duration::from_millis(20));
        });
    });
    page.lock.unlock();
    assert_eq!(page.lock.try_lock(), Ok(Some(Locked::Clean)));
    page.lock.unlock();
}

#[test]
#[cfg_attr(miri, ignore = "needs the chains of the kernel")]
fn threads_that_wait_for_each_other_are_told() {
    let page = page();
    let (told, turn) = (AtomicU32::new(0), std::sync::Barrier::new(2));
    let run = |first: &RawLock, second: &RawLock| {
        assert_eq!(first.lock(), Ok(Locked::Clean));
        turn.wait();
        match second.lock() {
            Ok(_) => second.unlock(),
            Err(error) => {
                assert_eq!(error, NotLocked::Deadlock);
                told.fetch_add(1, Ordering::Relaxed);
            }
        }
        first.unlock();
    };
    thread::scope(|scope| {
        scope.spawn(|| run(&page.lock, &page.other));
        scope.spawn(|| run(&page.other, &page.lock));
    });
    assert_eq!(told.load(Ordering::Relaxed), 1);
}

#[test]
#[cfg_attr(miri, ignore = "forks")]
fn the_next_is_told_of_a_dead_owner() {
    for reaped in [true, false] {
        let page = page();
        let child = owner(&page);
        assert_eq!(page.lock.try_lock(), Ok(None));
        kill(child, Signal::SIGKILL).unwrap();
        match reaped {
            true => reap(child),
            false => {
                let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
                waitid(Id::Pid(child), flags).unwrap();
            }
        }
        match reaped {
            true => assert_eq!(page.lock.lock(), Ok(Locked::OwnerDied)),
            false => assert_eq!(page.lock.try_lock(), Ok(Some(Locked::OwnerDied))),
        }
        page.lock.unlock();
        assert_eq!(page.lock.lock(), Ok(Locked::Clean));
        page.lock.unlock();
        if !reaped {
            reap(child);
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "forks")]
fn who_waits_is_told_at_once() {
    let page = page();
    let child = owner(&page);
    thread::scope(|scope| {
        let waiters: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let locked = page.lock.lock();
                    let at = Instant::now();
                    page.lock.unlock();
                    (locked, at)
                })
            })
            .collect();
        until("somebody sleeps", || page.lock.has_waiters());
        let killed = Instant::now();
        kill(child, Signal::SIGKILL).unwrap();
        reap(child);
        let ends: Vec<_> = waiters.into_iter().map(|waiter| waiter.join().unwrap()).collect();
        let died = ends.iter().filter(|(locked, _)| *locked == Ok(Locked::OwnerDied)).count();
        let clean = ends.iter().filter(|(locked, _)| *locked == Ok(Locked::Clean)).count();
        assert_eq!((died, clean), (1, 2));
        // It must not learn this from its own check, which happens once per second.
        assert!(ends.iter().any(|(_, at)| *at - killed < Duration::from_millis(900)));
    });
}

#[test]
#[cfg_attr(miri, ignore = "needs the kernel to see the end of a thread")]
fn a_thread_that_ends_with_it_is_a_dead_owner() {
    let page = page();
    for _ in 0..3 {
        thread::scope(|scope| {
            scope.spawn(|| assert!(page.lock.lock().is_ok()));
        });
        assert_eq!(page.lock.lock(), Ok(Locked::OwnerDied));
        page.lock.unlock();
    }
}

#[test]
#[cfg_attr(miri, ignore = "forks")]
fn a_forked_child_owns_nothing() {
    let page = page();
    assert_eq!(page.lock.lock(), Ok(Locked::Clean));
    let child = child(|| {
        assert!(!page.lock.is_mine());
        page.lock.unlock();
        let free = page.lock.try_lock() != Ok(None);
        page.marks[0].store(1 + u32::from(free), Ordering::SeqCst);
    });
    reap(child);
    assert_eq!(page.marks[0].load(Ordering::SeqCst), 1);
    assert!(page.lock.is_mine());
    page.lock.unlock();
}

/// Sets a lock to the state in which an ended thread left it.
fn leave(lock: &RawLock, word: u32, owner: u64) {
    let (its_word, its_owner) = lock.parts();
    its_word.store(word, Ordering::SeqCst);
    its_owner.store(owner, Ordering::SeqCst);
}

/// Another thread of this process, which lives as long as the value.
struct Bystander(Holder, mpsc::Sender<()>, Option<thread::JoinHandle<()>>);

fn bystander() -> Bystander {
    let (send, holder) = mpsc::channel();
    let (end, wait) = mpsc::channel();
    let thread = thread::spawn(move || {
        send.send(Holder::current()).unwrap();
        let _: Result<(), _> = wait.recv();
    });
    Bystander(holder.recv().unwrap(), end, Some(thread))
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.1 = mpsc::channel().0;
        self.2.take().unwrap().join().unwrap();
    }
}

#[test]
#[cfg_attr(miri, ignore = "threads have no start there")]
fn rule_k6_an_id_that_was_given_to_this_thread() {
    let page = page();
    let me = Holder::current();
    leave(&page.lock, me.tid(), Holder::new(me.tid(), 1).raw());
    assert_eq!(page.lock.lock(), Ok(Locked::OwnerDied));
    page.lock.unlock();
    leave(&page.lock, me.tid(), 0);
    assert_eq!(page.lock.try_lock(), Ok(Some(Locked::Clean)));
    page.lock.unlock();
    assert_eq!(page.lock.try_lock(), Ok(Some(Locked::Clean)));
    page.lock.unlock();
}

#[test]
#[cfg_attr(miri, ignore = "threads have no start there")]
fn rule_k7_an_id_that_was_given_to_another_thread() {
    let page = page();
    let other = bystander();
    let tid = other.0.tid();
    for (owner, locked) in [(Holder::new(tid, 1).raw(), Locked::OwnerDied), (0, Locked::Clean)] {
        leave(&page.lock, tid, owner);
        assert_eq!(page.lock.lock(), Ok(locked));
        page.lock.unlock();
        assert_eq!(page.lock.lock(), Ok(Locked::Clean));
        page.lock.unlock();
    }
    // No other thread has the lock.
    leave(&page.lock, tid, other.0.raw());
    let until = clock::now() + 3_500_000_000;
    assert_eq!(page.lock.lock_until(until), Err(NotLocked::TimedOut));
}

#[test]
#[cfg_attr(miri, ignore = "threads have no start there")]
fn rule_k9_several_wait_for_an_id_that_was_given_again() {
    let page = page();
    let other = bystander();
    leave(&page.lock, other.0.tid(), Holder::new(other.0.tid(), 1).raw());
    let died = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for _ in 0..200 {
                    if page.lock.lock().unwrap() == Locked::OwnerDied {
                        died.fetch_add(1, Ordering::Relaxed);
                    }
                    let seen = page.count.load(Ordering::Relaxed);
                    page.count.store(seen + 1, Ordering::Relaxed);
                    page.lock.unlock();
                }
            });
        }
    });
    assert_eq!(page.count.load(Ordering::Relaxed), 1200);
    assert_eq!(died.load(Ordering::Relaxed), 1);
    assert_eq!(page.lock.try_lock(), Ok(Some(Locked::Clean)));
    page.lock.unlock();
}

#[test]
#[cfg_attr(miri, ignore = "forks")]
fn rule_k7_a_stopped_waiter_holds_up_nobody_for_long() {
    let page = page();
    assert_eq!(page.lock.lock(), Ok(Locked::Clean));
    let waiter = child(|| {
        page.marks[1].store(1, Ordering::SeqCst);
        assert_eq!(page.lock.lock(), Ok(Locked::Clean));
        page.count.fetch_add(1, Ordering::SeqCst);
        page.lock.unlock();
        page.marks[1].store(2, Ordering::SeqCst);
    });
    until("it waits", || page.lock.has_waiters());
    kill(waiter, Signal::SIGSTOP).unwrap();
    waitpid(waiter, Some(WaitPidFlag::WUNTRACED)).unwrap();
    page.lock.unlock();
    for _ in 0..3 {
        assert_eq!(page.lock.lock(), Ok(Locked::Clean));
        assert_eq!(page.count.load(Ordering::SeqCst), 0);
        page.lock.unlock();
    }
    kill(waiter, Signal::SIGCONT).unwrap();
    reap(waiter);
    assert_eq!(page.marks[1].load(Ordering::SeqCst), 2);
    assert_eq!(page.lock.lock(), Ok(Locked::Clean));
    page.lock.unlock();
}

/// Processes take the lock, count, and die at random, with or without the lock.
#[test]
#[cfg_attr(miri, ignore = "forks")]
fn owners_that_are_killed_one_after_the_other() {
    let page = page();
    let done = AtomicBool::new(false);
    let turn = || {
        // A dead owner left an odd count.
        let (locked, seen) = (page.lock.lock().unwrap(), page.count.load(Ordering::Relaxed));
        let mark = match (locked, seen % 2) {
            (Locked::Clean, 1) => 1,
            (Locked::OwnerDied, _) => 2,
            _ => 0,
        };
        page.marks[mark].fetch_add(1, Ordering::SeqCst);
        page.count.store((seen & !1) + 1, Ordering::Relaxed);
        page.count.store((seen & !1) + 2, Ordering::Relaxed);
        page.lock.unlock();
    };
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    turn();
                }
            });
        }
        // On a busy machine many of them die before they take the lock.
        let mut n = 0;
        while n < 150 || (page.marks[2].load(Ordering::SeqCst) == 0 && n < 10_000) {
            n += 1;
            let forever = || {
                loop {
                    turn();
                }
            };
            let victims: Vec<_> = (0..2).map(|_| child(forever)).collect();
            thread::sleep(Duration::from_micros(500 + n * 37 % 3000));
            victims.iter().for_each(|victim| kill(*victim, Signal::SIGKILL).unwrap());
            victims.into_iter().for_each(reap);
        }
        done.store(true, Ordering::Relaxed);
    });
    let [clean, not_told, died] = [0, 1, 2].map(|n| page.marks[n].load(Ordering::SeqCst));
    assert_eq!(not_told, 0, "dead owners that nobody was told of");
    assert!(clean > 0 && died > 0, "{died} owners died");
}
