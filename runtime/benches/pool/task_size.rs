//! The cost of tasks of different durations, by the number of workers.

use runtime::{Result, usable_cpus};

use crate::measure::{Case, Plan, Table, interleave, percent, seconds, time};
use crate::tasks::{burn, burn_on_threads, turns_per_us};

const WORKERS: [usize; 5] = [1, 2, 4, 16, 64];
const SIZES: [(&str, f64, usize); 5] = [
    ("0", 0.0, 1_000_000),
    ("1 us", 1.0, 200_000),
    ("10 us", 10.0, 20_000),
    ("100 us", 100.0, 2_000),
    ("1 ms", 1000.0, 200),
];

pub(crate) fn run(plan: Plan) -> Result<()> {
    let cpus = usable_cpus();
    let pools = WORKERS.map(crate::pool);
    let pools = pools.into_iter().collect::<Result<Vec<_>>>()?;
    let per_us = turns_per_us();
    let titles = WORKERS.map(|workers| format!("{workers} workers"));
    let mut columns = vec!["task"];
    columns.extend(titles.iter().map(String::as_str));
    let mut table = Table::new(&columns);
    for (name, us, count) in SIZES {
        let turns = (us * per_us) as u64;
        let count = plan.pick(count / 20, count);
        let mut cases: Vec<Case<'_>> = Vec::new();
        for (pool, workers) in pools.iter().zip(WORKERS) {
            let inputs = vec![turns; count];
            let threads = workers.min(cpus);
            cases.push(Box::new(move || {
                let map = || pool.map(burn, inputs.iter().copied());
                seconds(|| map().expect("burnt")) / count as f64
            }));
            let inputs = vec![turns; count];
            cases.push(Box::new(move || burn_on_threads(&inputs, threads) / count as f64));
        }
        let samples = interleave(plan.rounds, cases);
        let cell = |at: usize| {
            let cost = time(samples.median(2 * at));
            match turns {
                0 => cost,
                _ => format!("{cost}, {}", percent(samples.ratio(2 * at + 1, 2 * at))),
            }
        };
        table.row(std::iter::once(name.to_owned()).chain((0..WORKERS.len()).map(cell)));
    }
    let what = format!(
        "map, time a task, and efficiency: the same work on as many threads as there are workers, \
         at most {cpus}, over this"
    );
    table.print("task_size", &what);
    Ok(())
}
