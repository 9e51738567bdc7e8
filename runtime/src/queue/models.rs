//! Models of the protocol. loom runs them in every interleaving of threads, and Miri in an
//! interleaving that depends on a seed, with stores that become visible late.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p procession --lib models`
//!
//! `MIRIFLAGS="-Zmiri-many-seeds=0..64" cargo +nightly miri test -p procession --lib models`

use super::worker_page::WorkerPage;
use super::{
    ClaimOwner, Claims, Consumer, Header, Kind, PoolPage, Producer, SLOTS, Started, Waiting, Wake,
};
use crate::atomics::{Arc, AtomicU64, Ordering, fence, thread};
use crate::sys::futex;

#[cfg(loom)]
fn model(run: impl Fn() + Sync + Send + 'static) {
    /// Switches of threads that are not asked for by the model.
    const PREEMPTIONS: usize = 3;
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(run);
}

#[cfg(loom)]
fn area<T: Default>() -> T {
    T::default()
}

/// Miri goes on with its choices from one run to the next.
#[cfg(miri)]
fn model(run: impl Fn() + Sync + Send + 'static) {
    (0..4).for_each(|_| run());
}

/// Memory as workers have it.
#[cfg(miri)]
fn area<T: crate::sys::memory::SharedMemory>() -> Area<T> {
    let len = size_of::<T>().next_multiple_of(crate::sys::memory::PAGE);
    let (mapping, _) = crate::sys::memory::Mapping::with_file(c"model", len).unwrap();
    Area(mapping, std::marker::PhantomData)
}

#[cfg(miri)]
struct Area<T>(crate::sys::memory::Mapping, std::marker::PhantomData<T>);

#[cfg(miri)]
impl<T: crate::sys::memory::SharedMemory> std::ops::Deref for Area<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.view(0)
    }
}

/// The part of the caller's region that a model needs.
#[derive(Default)]
struct Region {
    tail: AtomicU64,
    descriptors: [AtomicU64; SLOTS],
}

impl Region {
    /// Rule Q1.
    fn publish(&self, claims: Claims<'_>, position: u64) {
        self.descriptors[position as usize % SLOTS].store(position * 10, Ordering::Relaxed);
        claims.offer(position);
        self.tail.store(position + 1, Ordering::Release);
    }

    fn claim(&self, claims: Claims<'_>, worker: usize) -> Option<u64> {
        let read = |position| self.descriptors[position as usize % SLOTS].load(Ordering::Relaxed);
        let (position, seen) = claims.claim(self.tail.load(Ordering::Acquire), worker, read)?;
        assert_eq!(seen, position * 10, "the descriptor is of another chunk");
        Some(position)
    }
}

#[test]
fn rules_1_and_2_each_chunk_has_one_owner() {
    model(|| {
        let shared = Arc::new((area::<PoolPage>(), Region::default()));
        shared.1.tail.store(1, Ordering::Relaxed);
        shared.0.claims().set_cursor(1);
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let claim = || shared.1.claim(shared.0.claims(), worker);
                    [claim(), claim()]
                })
            })
            .collect();
        shared.1.publish(shared.0.claims(), 1);
        shared.1.publish(shared.0.claims(), 2);
        let mut claimed: Vec<(u64, usize)> = Vec::new();
        for (worker, thread) in workers.into_iter().enumerate() {
            let own = thread.join().unwrap();
            claimed.extend(own.into_iter().flatten().map(|position| (position, worker)));
        }
        claimed.sort_unstable();
        assert!(claimed.windows(2).all(|pair| pair[0].0 != pair[1].0), "{claimed:?}");
        for (position, worker) in claimed {
            assert_eq!(shared.0.claims().owner(position), ClaimOwner::Worker(worker));
        }
    });
}

#[test]
fn rule_3_a_slot_that_is_used_again_gives_no_old_descriptor() {
    model(|| {
        let shared = Arc::new((area::<PoolPage>(), Region::default()));
        shared.0.claims().set_cursor(1);
        shared.1.publish(shared.0.claims(), 1);
        let workers: Vec<_> = (0..2)
            .map(|worker| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || shared.1.claim(shared.0.claims(), worker))
            })
            .collect();
        // The next position of the same slot, once the first has an owner.
        let again = 1 + SLOTS as u64;
        let owner = shared.0.claims().owner(1);
        if let ClaimOwner::Worker(_) = owner {
            shared.1.publish(shared.0.claims(), again);
        }
        let claimed: Vec<_> = workers.into_iter().filter_map(|w| w.join().unwrap()).collect();
        assert!(claimed.contains(&1), "nobody took what was free: {claimed:?}");
        let twice = claimed.len() == 2;
        assert!(!twice || (matches!(owner, ClaimOwner::Worker(_)) && claimed.contains(&again)));
    });
}

#[test]
fn rule_4_a_chunk_is_claimed_or_withdrawn() {
    model(|| {
        let shared = Arc::new((area::<PoolPage>(), Region::default()));
        shared.0.claims().set_cursor(1);
        shared.1.publish(shared.0.claims(), 1);
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.1.claim(shared.0.claims(), 0))
        };
        let withdrawn = shared.0.claims().withdraw(1);
        assert_ne!(withdrawn, worker.join().unwrap().is_some());
    });
}

#[test]
fn rule_5_the_cursor_passes_nothing_that_is_free() {
    model(|| {
        let shared = Arc::new((area::<PoolPage>(), Region::default()));
        shared.1.tail.store(1, Ordering::Relaxed);
        shared.0.claims().set_cursor(1);
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.1.claim(shared.0.claims(), 0))
        };
        shared.1.publish(shared.0.claims(), 1);
        shared.1.publish(shared.0.claims(), 2);
        let claimed = worker.join().unwrap();
        let claims = shared.0.claims();
        let free = (1..3).find(|position| claims.owner(*position) == ClaimOwner::Free);
        assert!(claims.cursor() <= free.unwrap_or(3), "after {claimed:?}");
    });
}

/// Reads messages until four outputs have come. `check` gets the number of outputs before a message, and returns the number in it.
fn read_four(page: &WorkerPage, check: impl Fn(usize, Header, &[u64]) -> usize) {
    let (mut consumer, mut next) = (Consumer::default(), 0);
    while next < 4 {
        let end = consumer.end(page.ring()).unwrap();
        while let Some(header) = consumer.peek(page.ring(), end).unwrap() {
            let mut words = Vec::new();
            consumer.take(page.ring(), header, &mut words);
            next += check(next, header, &words);
        }
        consumer.publish_consumed(page.ring());
        thread::yield_now();
    }
}

#[test]
fn rule_8_messages_are_whole_and_in_order() {
    model(|| {
        let page = Arc::new(area::<WorkerPage>());
        let worker = {
            let page = Arc::clone(&page);
            thread::spawn(move || {
                let mut producer = Producer::default();
                for n in 0..4_u64 {
                    let payload = [n.to_le_bytes(), (!n).to_le_bytes()].concat();
                    while !producer.fits(page.ring(), payload.len()) {
                        thread::yield_now();
                    }
                    producer.push(page.ring(), Kind::Value, n as usize, &payload);
                }
            })
        };
        read_four(&page, |next, header, words| {
            let number = next as u64;
            assert_eq!((header.index, words), (next, &[number, !number][..]));
            1
        });
        worker.join().unwrap();
    });
}

#[test]
fn rule_23_what_is_published_of_a_run_can_be_read() {
    model(|| {
        let page = Arc::new(area::<WorkerPage>());
        let worker = {
            let page = Arc::clone(&page);
            thread::spawn(move || {
                let mut producer = Producer::default();
                let output = |producer: &mut Producer, n: usize| {
                    let output = (n as u64 * 10).to_le_bytes();
                    if producer.append_to_run(page.ring(), n, &output) {
                        return;
                    }
                    while !producer.output(page.ring(), n, &output) {
                        thread::yield_now();
                    }
                };
                // One apart, a run that something else ends, and another run.
                (0..3).for_each(|n| output(&mut producer, n));
                while !producer.fits(page.ring(), 0) {
                    thread::yield_now();
                }
                producer.push(page.ring(), Kind::End, 0, &[]);
                output(&mut producer, 3);
            })
        };
        read_four(&page, |next, header, words| {
            if header.kind == Kind::End {
                assert_eq!(next, 3);
                return 0;
            }
            assert_eq!(header.index, next);
            let expected = (next as u64..).map(|n| n * 10);
            assert!(words.iter().copied().eq(expected.take(words.len())), "{next}: {words:?}");
            words.len()
        });
        worker.join().unwrap();
    });
}

#[test]
fn rule_15_nothing_else_dies_for_a_doomed_input() {
    const FIRST: Started = Started { position: 1, index: 0 };
    const SECOND: Started = Started { position: 2, index: 0 };
    model(|| {
        let page = Arc::new(area::<WorkerPage>());
        let killed = Arc::new(AtomicU64::new(0));
        page.set_started(FIRST);
        let worker = {
            let (page, killed) = (Arc::clone(&page), Arc::clone(&killed));
            thread::spawn(move || {
                let mut producer = Producer::default();
                producer.push(page.ring(), Kind::Value, 0, &[]);
                while page.is_marked_for_kill(FIRST) {
                    // SIGKILL, as far as a model has it.
                    if killed.load(Ordering::SeqCst) == 1 {
                        return false;
                    }
                    thread::yield_now();
                }
                page.set_started(SECOND);
                true
            })
        };
        page.set_kill_mark(Some(FIRST));
        let answered = Consumer::default().has_messages(page.ring());
        if !answered && page.started() == Some(FIRST) {
            killed.store(1, Ordering::SeqCst);
        } else {
            page.set_kill_mark(None);
        }
        let began_another = worker.join().unwrap();
        assert!(!(began_another && killed.load(Ordering::SeqCst) == 1));
    });
}

#[test]
fn rule_16_no_worker_sleeps_while_there_is_work() {
    model(|| {
        let shared = Arc::new((area::<PoolPage>(), Region::default(), area::<WorkerPage>()));
        let worker = {
            let shared = Arc::clone(&shared);
            // As `Sleeper::sleep` does it.
            thread::spawn(move || {
                let (pool_page, region, page) = &*shared;
                let has_work = || region.tail.load(Ordering::Acquire) > 0;
                loop {
                    let seen = page.wake_word().load(Ordering::SeqCst);
                    pool_page.idle.set(0);
                    fence(Ordering::SeqCst);
                    if has_work() {
                        break;
                    }
                    futex::wait(page.wake_word(), seen, None);
                    if page.wake_word().load(Ordering::SeqCst) != seen {
                        break;
                    }
                }
                pool_page.idle.clear(0);
                assert!(has_work());
            })
        };
        let (pool_page, region, page) = &*shared;
        region.publish(pool_page.claims(), 1);
        fence(Ordering::SeqCst);
        if pool_page.idle.take().is_some() {
            page.wake();
        }
        worker.join().unwrap();
    });
}

/// A worker that announces its absence, as `Sleeper::announce_absence` and the beginning of `Sleeper::sleep` do it, and a caller that
/// publishes. Returns which bits of the worker the caller saw, and whether the worker saw the chunk at its announcement
/// and before it slept.
fn announces_absence(comes_back: bool) -> ((bool, bool), (bool, bool)) {
    let shared = Arc::new((area::<PoolPage>(), Region::default()));
    let worker = {
        let shared = Arc::clone(&shared);
        thread::spawn(move || {
            let (pool_page, region) = &*shared;
            let has_work = || region.tail.load(Ordering::Acquire) > 0;
            pool_page.absent.set(0);
            fence(Ordering::SeqCst);
            let before = has_work();
            if !comes_back {
                return (before, false);
            }
            pool_page.idle.set(0);
            pool_page.absent.clear(0);
            fence(Ordering::SeqCst);
            (before, has_work())
        })
    };
    shared.1.tail.store(1, Ordering::Release);
    fence(Ordering::SeqCst);
    let sleeps = shared.0.idle.word(0) != 0;
    let is_absent = shared.0.absent.word(0) != 0;
    ((sleeps, is_absent), worker.join().unwrap())
}

#[test]
fn rule_17_a_worker_that_is_absent_is_not_counted_on() {
    model(|| {
        let ((_, is_absent), (before, _)) = announces_absence(false);
        assert!(is_absent || before, "the caller counts on a worker that is absent");
    });
}

#[test]
fn rule_17_a_worker_that_comes_back_sees_the_chunk() {
    model(|| {
        let ((sleeps, is_absent), (_, after)) = announces_absence(true);
        assert!(sleeps || is_absent || after, "the caller counts on a worker that sleeps");
    });
}

#[test]
fn rule_18_the_caller_learns_of_an_end() {
    model(|| {
        let shared = Arc::new((area::<PoolPage>(), area::<WorkerPage>()));
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (pool_page, page) = &*shared;
                Producer::default().push(page.ring(), Kind::End, 0, &[]);
                pool_page.end();
                if pool_page.whom_to_wake(Wake::End) != Waiting::Nobody {
                    pool_page.notify();
                }
            })
        };
        let (pool_page, page) = &*shared;
        let seen = pool_page.announce(Waiting::End, 0);
        if !Consumer::default().has_messages(page.ring()) {
            futex::wait(pool_page.notify_word(), seen, None);
        }
        pool_page.stop_waiting();
        assert!(Consumer::default().has_messages(page.ring()));
        worker.join().unwrap();
    });
}

#[test]
fn rule_18_the_caller_learns_of_a_low_queue() {
    model(|| {
        let shared = Arc::new((area::<PoolPage>(), Region::default()));
        shared.0.claims().set_cursor(1);
        shared.1.publish(shared.0.claims(), 1);
        let worker = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                let (pool_page, region) = &*shared;
                assert_eq!(region.claim(pool_page.claims(), 0), Some(1));
                fence(Ordering::SeqCst);
                if pool_page.whom_to_wake(Wake::Claimed) != Waiting::Nobody {
                    pool_page.notify();
                }
            })
        };
        let pool_page = &shared.0;
        let seen = pool_page.announce(Waiting::Low, 2);
        if pool_page.claims().cursor() < 2 {
            futex::wait(pool_page.notify_word(), seen, None);
        }
        pool_page.stop_waiting();
        worker.join().unwrap();
    });
}
