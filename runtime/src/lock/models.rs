//! Models of the lock. Loom runs them in every possible order of their threads, with a
//! [simulated](crate::sys::futex::simulated) kernel.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release -p procession --lib models`

use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

use super::{Locked, RawLock};
use crate::fault;
use crate::sys::futex::simulated;

/// A lock and the guarded value, whose accesses loom checks.
struct Guarded {
    lock: RawLock,
    count: UnsafeCell<u32>,
}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Guarded { lock: RawLock::default(), count: UnsafeCell::new(0) })
    }

    /// Increments the value, under the lock.
    fn turn(&self) -> Locked {
        let locked = self.lock.lock().expect("it is not this thread's");
        #[allow(unsafe_code, reason = "loom checks that nobody else has it")]
        // SAFETY: the lock is owned.
        self.count.with_mut(|count| unsafe { *count += 1 });
        self.lock.unlock();
        locked
    }

    fn count(&self) -> u32 {
        #[allow(unsafe_code, reason = "loom checks that nobody else has it")]
        // SAFETY: the lock is owned.
        self.count.with(|count| unsafe { *count })
    }
}

fn model(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(run);
}

/// Starts a thread of the model with an id.
fn spawn<R: 'static>(tid: u32, run: impl FnOnce() -> R + 'static) -> thread::JoinHandle<R> {
    thread::spawn(move || {
        simulated::set_tid(tid);
        run()
    })
}

#[test]
fn rule_k1_one_owner_at_a_time() {
    model(3, || {
        let guarded = Guarded::new();
        let threads: Vec<_> = (1..=3)
            .map(|tid| {
                let guarded = Arc::clone(&guarded);
                spawn(tid, move || assert_eq!(guarded.turn(), Locked::Clean))
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(guarded.count(), 3);
    });
}

/// The points at which a thread can die, and whether it is the owner at that point.
const POINTS: [(&str, bool); 8] = [
    ("lock-begun", false),
    ("lock-word", false),
    ("lock-owner", true),
    ("lock-waits", false),
    ("lock-claimed", true),
    ("unlock-begun", true),
    ("unlock-owner", false),
    ("unlock-done", false),
];

/// One thread dies, another takes its lock over, and a third one arrives at any time.
#[test]
fn rules_k4_and_k5_who_comes_after_the_dead_is_told() {
    for (point, owns) in POINTS {
        model(2, move || {
            let guarded = Guarded::new();
            let victim = {
                let guarded = Arc::clone(&guarded);
                spawn(1, move || {
                    let died = fault::dies_at(point, || _ = guarded.turn());
                    if died {
                        simulated::end(1, &[guarded.lock.parts().0]);
                    }
                    died
                })
            };
            let others: Vec<_> = (2..=3)
                .map(|tid| {
                    let guarded = Arc::clone(&guarded);
                    spawn(tid, move || guarded.turn())
                })
                .collect();
            let died = victim.join().unwrap();
            let told = others.into_iter().map(|other| other.join().unwrap());
            let mut told = told.filter(|locked| *locked == Locked::OwnerDied).count();
            simulated::set_tid(4);
            told += usize::from(guarded.turn() == Locked::OwnerDied);
            assert_eq!(told, usize::from(died && owns), "{point}");
        });
    }
}

/// Two threads take over from the same dead thread, and one of them dies there too.
#[test]
fn rule_k5_who_takes_over_may_die() {
    for (point, owns) in POINTS {
        model(2, move || {
            let guarded = Guarded::new();
            simulated::set_tid(1);
            assert!(fault::dies_at("unlock-begun", || _ = guarded.turn()));
            simulated::end(1, &[guarded.lock.parts().0]);
            let victim = {
                let guarded = Arc::clone(&guarded);
                spawn(2, move || {
                    let died = fault::dies_at(point, || _ = guarded.turn());
                    if died {
                        simulated::end(2, &[guarded.lock.parts().0]);
                    }
                    died
                })
            };
            let other = {
                let guarded = Arc::clone(&guarded);
                spawn(3, move || guarded.turn())
            };
            let died = victim.join().unwrap();
            let mut told = usize::from(other.join().unwrap() == Locked::OwnerDied);
            simulated::set_tid(4);
            told += usize::from(guarded.turn() == Locked::OwnerDied);
            // A survivor learns of the first death, unless only the victim learned of it; and of the death of
            // the victim, if the victim was the owner.
            let least = usize::from(owns && died || !point.starts_with("unlock"));
            let most = 1 + usize::from(owns && died);
            assert!((least..=most).contains(&told), "{point}: {told}");
        });
    }
}

/// A thread that is between the word and the owner, in either direction, loses the lock to a thread that has
/// waited for a whole slice, and then continues.
#[test]
fn rule_k7_who_stands_still_between_two_steps_loses_its_turn() {
    model(3, || {
        let guarded = Guarded::new();
        let sleepless = {
            let guarded = Arc::clone(&guarded);
            spawn(1, move || {
                simulated::set_sleeps_end();
                guarded.turn()
            })
        };
        let other = {
            let guarded = Arc::clone(&guarded);
            spawn(2, move || guarded.turn())
        };
        assert_eq!(sleepless.join().unwrap(), Locked::Clean);
        assert_eq!(other.join().unwrap(), Locked::Clean);
        assert_eq!(guarded.count(), 2);
        simulated::set_tid(3);
        assert_eq!(guarded.turn(), Locked::Clean);
    });
}
