//! Many simultaneous calls: each has its outcome, and afterwards the pool uses as little memory and is as fast
//! as a new one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use runtime::{ErrorKind, Handle, Pool, StartMethod};

use crate::common::{Gate, build, join_all, text, until_exists};
use crate::grid::Grid;
use crate::group::tell;
use crate::tasks::{bytes, double, pattern};
use crate::{Options, sys, usage};

const CASES: [(&str, &str); 8] = [
    ("consumed", "all handles are waited for, a half of them in reverse order"),
    ("cancelled", "all are cancelled while the workers are busy"),
    ("dropped", "all are dropped while the workers are busy"),
    ("detached", "each is dropped immediately, by four threads"),
    ("polled", "each is polled; a half is dropped, the others are awaited"),
    ("maps", "a hundredth of the number of calls, with a hundred inputs each"),
    ("long", "a tenth of the number of calls, with values of two KiB"),
    ("pending", "the pool is dropped while all are pending"),
];

pub(crate) fn run(options: &Options<'_>) -> bool {
    // The pool keeps the memory of fewer than 32,768 calls, and some cases halve this.
    let handles = options.number("handles", 100_000).max(100_000).to_string();
    let limit = Duration::from_secs(180);
    let applies = |_: &str, _| true;
    Grid { command: "peaks", cases: &CASES, applies, word: &handles, limit }.run(options)
}

pub(crate) fn case(words: &[&str]) -> bool {
    let [name, case, count] = *words else { return false };
    let (Some(method), Ok(count)) = (crate::table::method(name), count.parse()) else {
        return false;
    };
    sys::adopt_orphans();
    let before = usage::here();
    let outcome = match case {
        "consumed" => peak(method, count, consumed),
        "cancelled" => peak(method, count, cancelled),
        "dropped" => peak(method, count, dropped),
        "detached" => peak(method, count, detached),
        "polled" => peak(method, count, polled),
        "maps" => peak(method, count, maps),
        "long" => peak(method, count, long),
        "pending" => pending(method, count),
        _ => return false,
    };
    tell(case, outcome);
    tell("nothing is left", usage::back_to(before));
    true
}

/// Calls that keep both workers busy until they are released.
struct Busy([Handle<u64>; 2], Gate);

fn busy(pool: &Pool) -> Busy {
    let gate = Gate::new("gate");
    let handles = [(); 2].map(|()| pool.submit(until_exists, gate.0.clone()));
    while pool.workers().iter().filter(|worker| worker.task().is_some()).count() < 2 {
        std::thread::sleep(Duration::from_millis(1));
    }
    Busy(handles, gate)
}

impl Busy {
    fn release(self) -> Result<(), String> {
        self.1.open();
        self.0.into_iter().try_for_each(|handle| handle.wait().map(drop).map_err(text))
    }
}

/// Makes many calls, and measures memory and rate before and after them.
fn peak(
    method: StartMethod,
    count: u64,
    act: fn(&Pool, u64) -> Result<(), String>,
) -> Result<(), String> {
    let pool = build(method)?;
    // Every pool allocates this memory at its first calls.
    rate(&pool)?;
    let before = usage::used_kib();
    let (begun, worked) = (Instant::now(), sys::cpu_time());
    act(&pool, count)?;
    // The pool runs these inputs after all calls whose handles were dropped.
    let last = pool.map(double, 0..1000).map_err(text)?;
    if last[999] != 1998 {
        return Err("a wrong value after the peak".to_owned());
    }
    let (took, worked) = (begun.elapsed(), sys::cpu_time() - worked);
    // This is a tenth of the memory that each call takes.
    let most = count / 10 + 4096;
    let end = Instant::now() + Duration::from_secs(5);
    let mut left = usage::used_kib().saturating_sub(before);
    while left > most && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(10));
        left = usage::used_kib().saturating_sub(before);
    }
    let (after, new) = rates(&pool, &build(method)?)?;
    println!(
        "note {count} in {:.2} s, {} ns of processor time each; {left} KiB left; apply {after}/s, on a new pool {new}/s",
        took.as_secs_f64(),
        worked / count.max(1)
    );
    if left > most {
        return Err(format!("{left} KiB are left; of them {}", usage::largest()));
    }
    if after < new / 2 {
        return Err(format!("{after} calls a second after the peak, {new} on a new pool"));
    }
    Ok(())
}

/// Measures the number of calls per second of eight threads.
fn rate(pool: &Pool) -> Result<u64, String> {
    let begun = Instant::now();
    let end = begun + Duration::from_millis(40);
    let calls = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|x| {
                let calls = &calls;
                scope.spawn(move || {
                    while Instant::now() < end {
                        let value = pool.apply(double, x).map_err(text)?;
                        if value != 2 * x {
                            return Err(format!("{value} for {x}"));
                        }
                        calls.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(())
                })
            })
            .collect();
        join_all(threads)
    })?;
    Ok((calls.into_inner() as f64 / begun.elapsed().as_secs_f64()) as u64)
}

/// Returns the maximum rates of two pools, which are measured alternately. They are measured for up to a minute
/// as long as they differ, because other programs disturb most measurements on a busy machine.
fn rates(pool: &Pool, other: &Pool) -> Result<(u64, u64), String> {
    let (mut one, mut two) = (0, 0);
    let end = Instant::now() + Duration::from_secs(60);
    for turn in 0.. {
        one = one.max(rate(pool)?);
        two = two.max(rate(other)?);
        if Instant::now() > end || (turn >= 2 && one >= two / 4 * 3) {
            break;
        }
    }
    Ok((one, two))
}

fn is_double(outcome: runtime::Result<u64>, x: u64) -> Result<(), String> {
    let value = outcome.map_err(text)?;
    if value == 2 * x { Ok(()) } else { Err(format!("{value} for {x}")) }
}

fn consumed(pool: &Pool, count: u64) -> Result<(), String> {
    for reversed in [false, true] {
        let mut handles: Vec<_> = (0..count / 2).map(|x| (x, pool.submit(double, x))).collect();
        if reversed {
            handles.reverse();
        }
        handles.into_iter().try_for_each(|(x, handle)| is_double(handle.wait(), x))?;
    }
    Ok(())
}

fn cancelled(pool: &Pool, count: u64) -> Result<(), String> {
    let busy = busy(pool);
    let mut handles: Vec<_> = (0..count).map(|x| pool.submit(double, x)).collect();
    let ended =
        handles.iter_mut().filter_map(|handle| handle.cancel().then_some(())).count() as u64;
    busy.release()?;
    let mut told = 0;
    for (x, handle) in (0..).zip(handles) {
        match handle.wait() {
            Err(error) if error.kind() == ErrorKind::Cancelled => told += 1,
            outcome => is_double(outcome, x)?,
        }
    }
    // The inputs that a worker had claimed before may have run.
    if told != ended || ended < count / 2 {
        return Err(format!("{ended} of {count} were cancelled, {told} reported it"));
    }
    Ok(())
}

fn dropped(pool: &Pool, count: u64) -> Result<(), String> {
    let busy = busy(pool);
    let handles: Vec<_> = (0..count).map(|x| pool.submit(double, x)).collect();
    drop(handles);
    busy.release()
}

fn detached(pool: &Pool, count: u64) -> Result<(), String> {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..count / 4).for_each(|x| drop(pool.submit(double, x))));
        }
    });
    Ok(())
}

/// A waker that counts how often any of them is woken, and how many exist.
struct Counting(Arc<[AtomicU64; 2]>);

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.0[0].fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.0[1].fetch_sub(1, Ordering::SeqCst);
    }
}

fn polled(pool: &Pool, count: u64) -> Result<(), String> {
    let busy = busy(pool);
    let told = Arc::new([const { AtomicU64::new(0) }; 2]);
    let mut handles = Vec::new();
    for x in 0..count {
        let mut handle = pool.submit(double, x);
        told[1].fetch_add(1, Ordering::SeqCst);
        let waker = Waker::from(Arc::new(Counting(Arc::clone(&told))));
        match Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => handles.push((x, handle)),
            Poll::Ready(_) => return Err("done while the workers are busy".to_owned()),
        }
    }
    let mut odd = false;
    handles.retain(|_| {
        odd = !odd;
        odd
    });
    let kept = handles.len() as u64;
    busy.release()?;
    let end = Instant::now() + Duration::from_secs(60);
    while told[0].load(Ordering::SeqCst) < kept {
        if Instant::now() > end {
            return Err(format!("{} of {kept} were woken", told[0].load(Ordering::SeqCst)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    for (x, mut handle) in handles {
        match Pin::new(&mut handle).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => is_double(outcome, x)?,
            Poll::Pending => return Err(format!("{x} was woken and is not done")),
        }
    }
    pool.apply(double, 1).map_err(text)?;
    while told[1].load(Ordering::SeqCst) > 0 {
        if Instant::now() > end {
            return Err(format!("{} wakers are kept", told[1].load(Ordering::SeqCst)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn maps(pool: &Pool, count: u64) -> Result<(), String> {
    let handles: Vec<_> = (0..count / 100).map(|x| pool.map_async(double, x..x + 100)).collect();
    for (x, handle) in (0..).zip(handles) {
        let values = handle.wait().map_err(text)?;
        if !values.into_iter().eq((x..x + 100).map(|x| 2 * x)) {
            return Err(format!("wrong values of {x}"));
        }
    }
    Ok(())
}

fn long(pool: &Pool, count: u64) -> Result<(), String> {
    let handles: Vec<_> = (0..count / 10).map(|x| pool.submit(bytes, (x, 2048))).collect();
    for (x, handle) in (0..).zip(handles) {
        if handle.wait().map_err(text)? != pattern(x, 2048) {
            return Err(format!("wrong bytes of {x}"));
        }
    }
    Ok(())
}

/// Drops a pool with many pending calls. Each of them may take four microseconds of CPU time.
fn pending(method: StartMethod, count: u64) -> Result<(), String> {
    let pool = build(method)?;
    let busy = busy(&pool);
    let handles: Vec<_> = (0..count).map(|x| pool.submit(double, x)).collect();
    // Threads cannot be killed, so their tasks have to end.
    if method == StartMethod::Thread {
        busy.1.open();
    }
    let (begun, worked) = (Instant::now(), sys::cpu_time());
    drop(pool);
    let (took, worked) = (begun.elapsed(), sys::cpu_time() - worked);
    println!(
        "note dropped in {:.2} s, {} ns of processor time each",
        took.as_secs_f64(),
        worked / count.max(1)
    );
    let mut cancelled = 0;
    for (x, handle) in (0..).zip(handles) {
        if !handle.is_done() {
            return Err(format!("{x} has no outcome"));
        }
        match handle.wait() {
            Err(error) if error.kind() == ErrorKind::Cancelled => cancelled += 1,
            outcome => is_double(outcome, x)?,
        }
    }
    if method != StartMethod::Thread && cancelled < count / 2 {
        return Err(format!("{cancelled} of {count} were cancelled"));
    }
    if worked > 4000 * count + 1_000_000_000 {
        return Err(format!("the drop took {} ms of processor time", worked / 1_000_000));
    }
    if took > Duration::from_secs(8) {
        return Err(format!("the drop took {took:?}"));
    }
    Ok(())
}
