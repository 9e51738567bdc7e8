//! An uncontended lock and unlock, compared with the standard library, and a call with a large shared array.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use runtime::sync::{Atomics, Mutex, RwLock, Semaphore};
use runtime::{Result, Shared, worker};

use crate::measure::{Case, Plan, Table, interleave, ratio, seconds, time};

#[worker]
fn first(values: Shared<[u8]>) -> u8 {
    values[0]
}

#[worker]
fn same(value: u8) -> u8 {
    value
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let count = plan.pick(10_000, 10_000_000);
    let standard = std::sync::Mutex::new(0_u64);
    let standard_rw = std::sync::RwLock::new(0_u64);
    let (own, own_rw) = (Mutex::new(0_u64)?, RwLock::new(0_u64)?);
    let (semaphore, atomics) = (Semaphore::new(2)?, Atomics::<AtomicU64>::zeroed(1)?);
    let each = |turn: &dyn Fn(u64)| seconds(|| (0..count).for_each(turn)) / count as f64;
    let names = [
        "std::sync::Mutex",
        "sync::Mutex",
        "std::sync::RwLock, read",
        "sync::RwLock, read",
        "std::sync::RwLock, write",
        "sync::RwLock, write",
        "sync::Semaphore, acquire and release",
        "sync::Atomics, fetch_add",
    ];
    let cases: Vec<Case<'_>> = vec![
        Box::new(|| each(&|n| *standard.lock().expect("nobody panics") += n)),
        Box::new(|| each(&|n| *own.lock().expect("nobody dies") += n)),
        Box::new(|| each(&|_| _ = black_box(*standard_rw.read().expect("nobody panics")))),
        Box::new(|| each(&|_| _ = black_box(*own_rw.read().expect("nobody dies")))),
        Box::new(|| each(&|n| *standard_rw.write().expect("nobody panics") += n)),
        Box::new(|| each(&|n| *own_rw.write().expect("nobody dies") += n)),
        Box::new(|| each(&|_| drop(semaphore.acquire().expect("it is free")))),
        Box::new(|| each(&|n| _ = atomics[0].fetch_add(n, Ordering::Relaxed))),
    ];
    let samples = interleave(plan.rounds, cases);
    let mut table = Table::new(&["uncontended", "time", "of std::sync"]);
    for (at, name) in names.into_iter().enumerate() {
        let base = [0, 0, 2, 2, 4, 4, 0, 0][at];
        table.row([name.to_owned(), time(samples.median(at)), ratio(samples.ratio(at, base))]);
    }
    table.print("locks", &format!("{count} turns of one thread"));
    shared_argument(plan)
}

fn shared_argument(plan: Plan) -> Result<()> {
    let (calls, bytes) = (plan.pick(100, 2000), plan.pick(1 << 20, 1_usize << 30));
    let pool = crate::pool(1)?;
    let values = Shared::<[u8]>::zeroed(bytes)?;
    let mean = |call: &dyn Fn()| seconds(|| (0..calls).for_each(|_| call())) / calls as f64;
    let cases: Vec<Case<'_>> = vec![
        Box::new(|| mean(&|| _ = pool.apply(same, 7).expect("a value"))),
        Box::new(|| mean(&|| _ = pool.apply(first, &values).expect("a value"))),
    ];
    let samples = interleave(plan.rounds, cases);
    let mut table = Table::new(&["argument of a call", "time"]);
    for (at, name) in ["one byte", "Shared<[u8]>"].into_iter().enumerate() {
        table.row([name.to_owned(), time(samples.median(at))]);
    }
    table.print(
        "shared",
        &format!("calls with {bytes} bytes of shared memory, one after the other"),
    );
    Ok(())
}
