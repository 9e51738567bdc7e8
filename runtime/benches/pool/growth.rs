//! The cost of a task as the number of tasks or workers grows.

use runtime::Result;

use crate::measure::{Case, Plan, Table, interleave, ratio, seconds, time};
use crate::tasks::square;

const COUNTS: [u64; 5] = [1_000, 10_000, 100_000, 1_000_000, 10_000_000];

pub(crate) fn run(plan: Plan) -> Result<()> {
    let pools = [crate::pool(2)?, crate::pool(64)?];
    let counts = &COUNTS[..plan.pick(4, 5)];
    let mut cases: Vec<Case<'_>> = Vec::new();
    for count in counts {
        for pool in &pools {
            // Short ones several times, for they end within one turn of the scheduler.
            let times = (1_000_000 / count).clamp(1, 20);
            cases.push(Box::new(move || {
                let map = |_| drop(pool.map(square, 0..*count).expect("squares"));
                seconds(|| (0..times).for_each(map)) / (times * count) as f64
            }));
        }
    }
    let samples = interleave(plan.rounds, cases);
    let mut table = Table::new(&[
        "tasks",
        "2 workers",
        "of 10000",
        "64 workers",
        "of 10000",
        "64 of 2 workers",
    ]);
    for (at, count) in counts.iter().enumerate() {
        table.row([
            count.to_string(),
            time(samples.median(2 * at)),
            ratio(samples.ratio(2 * at, 2)),
            time(samples.median(2 * at + 1)),
            ratio(samples.ratio(2 * at + 1, 3)),
            ratio(samples.ratio(2 * at + 1, 2 * at)),
        ]);
    }
    table.print("growth", "map of u64 -> u64, time a task");
    Ok(())
}
