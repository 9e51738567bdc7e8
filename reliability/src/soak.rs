//! A mixed load with faults for any time, and the resources of the processes during that time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::{ErrorKind, Pool, StartMethod};

use crate::random::Random;
use crate::storm::{Kills, Pools, Tally};
use crate::tasks::{Fault, Moment, Order, obey};
use crate::{Options, sys, usage};

const METHODS: [StartMethod; 4] =
    [StartMethod::Fork, StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Thread];

pub(crate) fn run(options: &Options<'_>) -> bool {
    let (seed, time) = (options.seed(), options.seconds(60));
    println!("seed {seed}, {} s", time.as_secs());
    // Without this, the standby of a killed template would have no parent in this program.
    sys::adopt_orphans();
    let pools = match Pools::build(&METHODS) {
        Ok(pools) => pools,
        Err(error) => {
            println!("WRONG: {error}");
            return false;
        }
    };
    pools.answer(false).expect("new pools answer");
    let (tally, kills, over) = (Tally::default(), Kills::default(), AtomicBool::new(false));
    let (faults, missed) = (AtomicU64::new(0), AtomicU64::new(0));
    let begun = Instant::now();
    let line = |what: &str| {
        let workers: u64 = pools.workers().into_iter().map(usage::anonymous_kib).sum();
        println!(
            "{what:6} {:5} s  {} tasks, {} faults, {} signals; caller: {}; workers: {workers} KiB",
            begun.elapsed().as_secs(),
            tally.submitted.load(Ordering::Relaxed),
            faults.load(Ordering::Relaxed),
            kills.total(),
            usage::here_alive(),
        );
    };
    line("start");
    let early = std::thread::scope(|scope| {
        for thread in 0..2 * pools.len() {
            let (pools, tally, over, faults, missed) = (&pools, &tally, &over, &faults, &missed);
            scope.spawn(move || {
                let mut random = Random(seed ^ (thread as u64) << 32);
                while !over.load(Ordering::Relaxed) {
                    let at = thread % pools.len();
                    pools.with(at, |pool| tally.call(pool, &mut random));
                    if random.below(20) == 0 {
                        let thread = METHODS[at] == StartMethod::Thread;
                        let failed = pools.with(at, |pool| fault(pool, thread, &mut random));
                        faults.fetch_add(1, Ordering::Relaxed);
                        missed.fetch_add(u64::from(!failed), Ordering::Relaxed);
                    }
                }
            });
        }
        let mut random = Random(seed);
        let (end, mut said, mut early) = (Instant::now() + time, Instant::now(), None);
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(random.next() % 400));
            kills.strike(&pools, &mut random);
            if said.elapsed() > Duration::from_secs(10) {
                said = Instant::now();
                line("");
                // The warm-up is over.
                early.get_or_insert_with(usage::here_alive);
            }
        }
        over.store(true, Ordering::Relaxed);
        early
    });
    let answered = pools.answer(true);
    std::thread::sleep(Duration::from_secs(3));
    line("end");
    tally.outcomes().iter().for_each(|(name, count)| println!("  {name:24} {count}"));
    let end = usage::here_alive();
    let mut wrong = tally.complaints();
    wrong.extend(answered.err());
    let sum: u64 = tally.outcomes().values().sum();
    if sum != tally.submitted.load(Ordering::Relaxed) {
        wrong.push(format!("{sum} outcomes"));
    }
    if missed.load(Ordering::Relaxed) > 0 {
        wrong
            .push(format!("{} faults did not fail as they should", missed.load(Ordering::Relaxed)));
    }
    if let Some(early) = early
        && (end.fds > early.fds + 8
            || end.shared > early.shared + 4
            || end.kib > early.kib + (64 << 10))
    {
        wrong.push(format!("it grew from {early}"));
    }
    wrong.iter().for_each(|what| println!("WRONG: {what}"));
    wrong.is_empty()
}

/// Runs one task that fails in a random way. Returns whether it failed as expected or was hit by a
/// signal.
fn fault(pool: &Pool, thread: bool, random: &mut Random) -> bool {
    let all = [
        (Fault::Panic, ErrorKind::Panicked),
        (Fault::Sleep(400), ErrorKind::TimedOut),
        (Fault::Kill, ErrorKind::Signaled),
        (Fault::Exit(3), ErrorKind::Exited),
        (Fault::Abort, ErrorKind::Signaled),
        (Fault::Segfault, ErrorKind::Signaled),
        (Fault::Overflow, ErrorKind::Signaled),
    ];
    let survivable = if thread { 2 } else { all.len() };
    let (fault, kind) = all[random.below(survivable)];
    let order = Order { index: 0, fault, moment: Moment::Running };
    let mut task = pool.task(obey);
    if matches!(fault, Fault::Sleep(_)) {
        task = task.timeout(Duration::from_millis(100));
    }
    let outcome = task.apply(order);
    outcome.is_err_and(|error| error.kind() == kind || error.kind() == ErrorKind::Signaled)
}
