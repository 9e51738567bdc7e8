//! The throughput of long slices that a worker only reads, compared with shared memory without a pool.

use std::hint::black_box;

use runtime::{Pool, Result, SharedMut, worker};

use crate::inputs::total;
use crate::measure::{Case, Plan, Table, interleave, rate, ratio, seconds};

const MIB: usize = 1 << 20;
const SIZES: [usize; 4] = [8, 64, 256, 1024];

#[worker]
fn sum(numbers: &[f64]) -> f64 {
    total(numbers)
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let mut table = Table::new(&[
        "one way, &[f64]",
        "GiB/s",
        "of warm shared memory",
        "GiB/s, first time",
        "of fresh shared memory",
    ]);
    for mib in SIZES.into_iter().filter(|mib| *mib <= plan.pick(8, 1024)) {
        let numbers = vec![0.5; mib * MIB / 8];
        let (numbers, wanted) = (&numbers, total(&numbers));
        // The first call after a pause of a second touches new pages.
        let calls = (64 / mib).max(4);
        let pool = crate::pool(2)?;
        let apply = move |pool: &Pool| {
            assert_eq!(pool.apply(sum, numbers).expect("the sum"), wanted);
        };
        let write_and_read = move |memory: &mut SharedMut<[f64]>| {
            memory.copy_from_slice(black_box(numbers));
            assert_eq!(total(black_box(memory)), wanted);
        };
        let mut warm = SharedMut::zeroed(numbers.len())?;
        let pool = &pool;
        let cases: Vec<Case<'_>> = vec![
            Box::new(|| {
                seconds(|| (0..calls).for_each(|_| write_and_read(&mut warm))) / calls as f64
            }),
            Box::new(|| seconds(|| (0..calls).for_each(|_| apply(pool))) / calls as f64),
            Box::new(|| {
                let fresh = || SharedMut::zeroed(numbers.len()).expect("shared memory");
                seconds(|| write_and_read(&mut fresh()))
            }),
            Box::new(|| {
                let pool = crate::pool(2).expect("a pool");
                seconds(|| apply(&pool))
            }),
        ];
        let samples = interleave(plan.rounds, cases);
        let speed = |at| rate((mib * MIB) as f64, samples.median(at));
        table.row([
            format!("{mib} MiB"),
            speed(1),
            ratio(samples.ratio(0, 1)),
            speed(3),
            ratio(samples.ratio(2, 3)),
        ]);
    }
    let what = "calls of one long input, whose worker adds its numbers; the comparison writes the \
                numbers into shared memory and adds them in the same thread, without a pool";
    table.print("one_way", what);
    Ok(())
}
