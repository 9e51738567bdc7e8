//! Random signals to random processes under load: every task has exactly one outcome.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::{Error, Pool, Result, StartMethod};

use crate::random::Random;
use crate::tasks::{bytes, checksum, crunch, double, pattern};
use crate::usage::{self, Usage};
use crate::{Options, sys};

/// The outcomes of the tasks.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) submitted: AtomicU64,
    outcomes: Mutex<BTreeMap<String, u64>>,
    wrong: Mutex<Vec<String>>,
}

impl Tally {
    fn count<T>(&self, outcome: &Result<T>) {
        let name = match outcome {
            Ok(_) => "value".to_owned(),
            Err(error) => match error.signal() {
                Some(signal) => format!("{:?} {signal}", error.kind()),
                None => format!("{:?}", error.kind()),
            },
        };
        *self.outcomes.lock().expect("nobody panics").entry(name).or_default() += 1;
    }

    fn wrong(&self, what: String) {
        self.wrong.lock().expect("nobody panics").push(what);
    }

    pub(crate) fn outcomes(&self) -> BTreeMap<String, u64> {
        self.outcomes.lock().expect("nobody panics").clone()
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.wrong.lock().expect("nobody panics").clone()
    }

    /// Makes one call of a random kind; counts every outcome and checks every value.
    pub(crate) fn call(&self, pool: &Pool, random: &mut Random) {
        let seed = random.next() >> 8;
        let count = 1 + random.below(200);
        self.submitted.fetch_add(count as u64, Ordering::Relaxed);
        match random.below(5) {
            0 => {
                let inputs: Vec<u64> = (seed..seed + count as u64).collect();
                self.all(&inputs, pool.map_all(double, inputs.iter().copied()), |x, y| y == x * 2);
            }
            1 => {
                let inputs: Vec<(u64, Vec<u8>)> =
                    (0..count as u64).map(|x| (x % 300, pattern(seed + x, 64))).collect();
                let outcomes =
                    pool.map_all(crunch, inputs.iter().map(|(us, data)| (*us, &data[..])));
                self.all(&inputs, outcomes, |(_, data), sum| sum == checksum(&data));
            }
            2 => {
                // If a `map` failed, only the failure is returned; the other inputs have no
                // outcome.
                let inputs: Vec<u64> = (seed..seed + count as u64).collect();
                match pool.map(double, inputs.iter().copied()) {
                    Ok(outputs) => {
                        self.all(&inputs, outputs.into_iter().map(Ok).collect(), |x, y| y == x * 2)
                    }
                    Err(error) => {
                        if error.index().is_some_and(|index| index >= count) {
                            self.wrong(format!("index {:?} of {count}", error.index()));
                        }
                        let failed: Result<()> = Err(error);
                        self.count(&failed);
                        let mut outcomes = self.outcomes.lock().expect("nobody panics");
                        *outcomes.entry("dropped with its map".to_owned()).or_default() +=
                            count as u64 - 1;
                    }
                }
            }
            3 => {
                let inputs: Vec<u64> = (seed..seed + count as u64).collect();
                let handles: Vec<_> = inputs.iter().map(|x| pool.submit(double, *x)).collect();
                let outcomes = handles.into_iter().map(runtime::Handle::wait).collect();
                self.all(&inputs, outcomes, |x, y| y == x * 2);
            }
            _ => {
                // Some results go through the ring, some through a long slot.
                let lens = [10, 3000, 40_000, 300_000];
                let inputs: Vec<(u64, usize)> =
                    (0..count as u64).map(|x| (seed + x, lens[(seed + x) as usize % 4])).collect();
                let outcomes = pool.map_all(bytes, inputs.iter().copied());
                self.all(&inputs, outcomes, |(seed, len), data| data == pattern(seed, len));
            }
        }
    }

    fn all<I: Clone, R>(
        &self,
        inputs: &[I],
        outcomes: Vec<Result<R>>,
        fits: impl Fn(I, R) -> bool,
    ) {
        if outcomes.len() != inputs.len() {
            self.wrong(format!("{} outcomes of {} inputs", outcomes.len(), inputs.len()));
        }
        for (input, outcome) in inputs.iter().zip(outcomes) {
            self.count(&outcome);
            if outcome.is_ok_and(|output| !fits(input.clone(), output)) {
                self.wrong("a task has the value of another".to_owned());
            }
        }
    }
}

/// The pools of a storm, which can be built again while threads use them.
pub(crate) struct Pools {
    pools: Vec<std::sync::RwLock<(StartMethod, Pool)>>,
    pub(crate) rebuilt: AtomicU64,
}

pub(crate) const METHODS: [StartMethod; 4] =
    [StartMethod::Fork, StartMethod::ForkServer, StartMethod::Spawn, StartMethod::ForkServer];

impl Pools {
    /// `Fork` comes first, while no other thread runs.
    pub(crate) fn build(methods: &[StartMethod]) -> Result<Self> {
        let build = |(at, method): (usize, &StartMethod)| {
            let pool = build(*method, 2 + at % 3)?;
            Ok(std::sync::RwLock::new((*method, pool)))
        };
        let pools = methods.iter().enumerate().map(build).collect::<Result<_>>()?;
        Ok(Pools { pools, rebuilt: AtomicU64::new(0) })
    }

    pub(crate) fn len(&self) -> usize {
        self.pools.len()
    }

    pub(crate) fn with<T>(&self, at: usize, act: impl FnOnce(&Pool) -> T) -> T {
        act(&self.pools[at].read().expect("nobody panics").1)
    }

    /// Returns the processes of the workers, as the pools know them.
    pub(crate) fn workers(&self) -> Vec<u32> {
        let pools = self.pools.iter().map(|pool| pool.read().expect("nobody panics"));
        pools
            .flat_map(|pool| pool.1.workers())
            .map(|info| info.pid())
            .filter(|pid| *pid != 0 && *pid != std::process::id())
            .collect()
    }

    /// Builds a pool again that cannot start workers any more, because its template and its standby
    /// were killed at the same time.
    fn mend(&self, at: usize, error: &Error) {
        let mut pool = self.pools[at].write().expect("nobody panics");
        eprintln!("{:?} is built again: {error}", pool.0);
        if let Ok(new) = build(pool.0, 3) {
            pool.1 = new;
            self.rebuilt.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Checks that every pool answers within a bounded time.
    pub(crate) fn answer(&self, mend: bool) -> std::result::Result<(), String> {
        for at in 0..self.len() {
            let end = Instant::now() + Duration::from_secs(20);
            let mut mended = !mend;
            while let Err(error) = self.with(at, |pool| pool.map(double, 0..100)) {
                if Instant::now() > end {
                    if mended {
                        return Err(format!("pool {at} does not answer: {error}"));
                    }
                    self.mend(at, &error);
                    mended = true;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

fn build(method: StartMethod, workers: usize) -> Result<Pool> {
    let builder = Pool::builder().workers(workers).start_method(method).name("storm");
    #[allow(unsafe_code, reason = "allow_fork_with_threads")]
    // SAFETY: the tasks use nothing that other threads of this program may have locked, except for
    // the allocator, which the C library keeps usable in a forked process.
    let builder = unsafe { builder.allow_fork_with_threads() };
    builder.build()
}

/// The number of signals that were sent, by name.
#[derive(Default)]
pub(crate) struct Kills(pub(crate) Mutex<BTreeMap<&'static str, u64>>);

impl Kills {
    pub(crate) fn total(&self) -> u64 {
        self.0.lock().expect("nobody panics").values().sum()
    }

    /// Sends a signal to one process.
    pub(crate) fn strike(&self, pools: &Pools, random: &mut Random) {
        let own = std::process::id();
        let workers = pools.workers();
        let mut servers = usage::children(own);
        servers.retain(|pid| usage::is_alive(*pid) && !workers.contains(pid));
        let of_server = random.below(12) == 0;
        let Some(pid) = random.pick(if of_server { &servers } else { &workers }).copied() else {
            return;
        };
        // The pid may already belong to another process.
        let ours =
            std::fs::read_link(format!("/proc/{pid}/exe")).ok() == std::env::current_exe().ok();
        if !ours || pid == own || !usage::descendants(own).contains(&pid) {
            return;
        }
        let name = match (random.below(6), workers.contains(&pid)) {
            (0, _) => {
                sys::kill(pid, libc::SIGSTOP);
                std::thread::sleep(Duration::from_millis(random.next() % 40));
                sys::kill(pid, libc::SIGCONT);
                "stop and continue"
            }
            (1, worker) => {
                sys::kill(pid, libc::SIGSEGV);
                if worker { "SIGSEGV to a worker" } else { "SIGSEGV to a server" }
            }
            (_, worker) => {
                sys::kill(pid, libc::SIGKILL);
                if worker { "SIGKILL to a worker" } else { "SIGKILL to a server" }
            }
        };
        *self.0.lock().expect("nobody panics").entry(name).or_default() += 1;
    }
}

pub(crate) fn run(options: &Options<'_>) -> bool {
    let (seed, time) = (options.seed(), options.seconds(60));
    println!("seed {seed}, {} s", time.as_secs());
    // Without this, the standby of a killed template would have no parent in this program.
    sys::adopt_orphans();
    let start = usage::here_alive();
    let pools = match Pools::build(&METHODS) {
        Ok(pools) => pools,
        Err(error) => {
            println!("WRONG: {error}");
            return false;
        }
    };
    pools.answer(false).expect("new pools answer");
    let before = usage::here_alive();
    let (tally, kills, over) = (Tally::default(), Kills::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for thread in 0..2 * pools.len() {
            let (pools, tally, over) = (&pools, &tally, &over);
            scope.spawn(move || {
                let mut random = Random(seed ^ (thread as u64) << 32);
                while !over.load(Ordering::Relaxed) {
                    pools.with(thread % pools.len(), |pool| tally.call(pool, &mut random));
                }
            });
        }
        let mut random = Random(seed);
        let end = Instant::now() + time;
        let mut said = Instant::now();
        while Instant::now() < end {
            std::thread::sleep(Duration::from_micros(random.next() % 60_000));
            kills.strike(&pools, &mut random);
            if said.elapsed() > Duration::from_secs(10) {
                said = Instant::now();
                println!(
                    "{} tasks, {} signals",
                    tally.submitted.load(Ordering::Relaxed),
                    kills.total()
                );
            }
        }
        watchdog(&over);
    });
    let answered = pools.answer(true);
    std::thread::sleep(Duration::from_secs(2));
    let after = usage::here_alive();
    let rebuilt = pools.rebuilt.load(Ordering::Relaxed);
    drop(pools);
    std::thread::sleep(Duration::from_millis(300));
    report(&tally, &kills, rebuilt, [start, before, after, usage::here_alive()], answered)
}

/// Ends the threads. A call that never returns ends the program.
fn watchdog(over: &AtomicBool) {
    over.store(true, Ordering::Relaxed);
    FINISHED.store(false, Ordering::Relaxed);
    std::thread::spawn(|| {
        std::thread::sleep(Duration::from_secs(120));
        if !FINISHED.load(Ordering::Relaxed) {
            println!("WRONG: a call hangs");
            std::process::abort();
        }
    });
}

static FINISHED: AtomicBool = AtomicBool::new(false);

fn report(
    tally: &Tally,
    kills: &Kills,
    rebuilt: u64,
    usage: [Usage; 4],
    answered: std::result::Result<(), String>,
) -> bool {
    FINISHED.store(true, Ordering::Relaxed);
    let submitted = tally.submitted.load(Ordering::Relaxed);
    let outcomes = tally.outcomes();
    println!("submitted            {submitted}");
    println!("outcomes             {}", outcomes.values().sum::<u64>());
    outcomes.iter().for_each(|(name, count)| println!("  {name:24} {count}"));
    println!("signals              {}", kills.total());
    kills
        .0
        .lock()
        .expect("nobody panics")
        .iter()
        .for_each(|(name, count)| println!("  {name:24} {count}"));
    println!("pools built again    {rebuilt}");
    for (when, usage) in
        ["without pools", "before", "after", "pools dropped"].into_iter().zip(usage)
    {
        println!("{when:20} {usage}");
    }
    let mut wrong = tally.complaints();
    wrong.extend(answered.err());
    if outcomes.values().sum::<u64>() != submitted {
        wrong.push("outcomes and submissions differ".to_owned());
    }
    let [start, before, after, end] = usage;
    if after.fds > before.fds + 8
        || after.shared > before.shared + 4
        || after.children > before.children + 2
    {
        wrong.push("the pools hold more than before".to_owned());
    }
    // The watchdog is a thread of this program.
    if end.fds > start.fds
        || end.threads > start.threads + 1
        || end.children > 0
        || end.shared > start.shared
    {
        wrong.push("something is left behind".to_owned());
    }
    wrong.iter().for_each(|what| println!("WRONG: {what}"));
    wrong.is_empty()
}
