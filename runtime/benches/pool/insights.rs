//! The cost of insights, by the duration of tasks.

use runtime::{Pool, Result};

use crate::cpu;
use crate::measure::{Case, Plan, Table, interleave, percent, seconds, time};
use crate::tasks::{burn, turns_per_us};

const SIZES: [(&str, f64, usize); 5] = [
    ("0", 0.0, 1_000_000),
    ("1 us", 1.0, 100_000),
    ("3 us", 3.0, 50_000),
    ("10 us", 10.0, 20_000),
    ("100 us", 100.0, 2_000),
];

/// Returns the seconds of CPU time of a pool and its caller.
fn cpu(pool: &Pool) -> f64 {
    cpu::of_workers(pool) + cpu::of_caller()
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let build = |on| crate::warm(Pool::builder().workers(2).insights(on).build()?);
    let (off, on) = (build(false)?, build(true)?);
    let per_us = turns_per_us();
    let mut table = Table::new(&["task", "off", "on", "on / off", "CPU off", "CPU on", "on / off"]);
    for (name, us, count) in SIZES {
        let count = plan.pick(count / 20, count);
        let inputs = &vec![(us * per_us) as u64; count];
        let case = |pool, measure: fn(&Pool, &mut dyn FnMut()) -> f64| -> Case<'_> {
            let map = move || drop(Pool::map(pool, burn, inputs.iter().copied()).expect("burnt"));
            Box::new(move || measure(pool, &mut map.clone()) / count as f64)
        };
        let wall = |_: &Pool, map: &mut dyn FnMut()| seconds(map);
        let busy = |pool: &Pool, map: &mut dyn FnMut()| {
            let before = cpu(pool);
            map();
            cpu(pool) - before
        };
        let cases = vec![case(&off, wall), case(&on, wall), case(&off, busy), case(&on, busy)];
        let samples = interleave(4 * plan.rounds, cases);
        let cell = |at| time(samples.median(at));
        let ratio = |on, off| percent(samples.ratio(on, off));
        table.row([name.to_owned(), cell(0), cell(1), ratio(1, 0), cell(2), cell(3), ratio(3, 2)]);
    }
    let what = "map with 2 workers, time a task, without and with insights: elapsed, and CPU time of all processes";
    table.print("insights", what);
    Ok(())
}
