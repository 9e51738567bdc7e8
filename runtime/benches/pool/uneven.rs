//! One task in a hundred takes a hundred times as long.

use runtime::{Result, usable_cpus};

use crate::measure::{Case, Plan, Table, interleave, ratio, seconds, time};
use crate::tasks::{burn, burn_on_threads, turns_per_us};

const LONGER: u64 = 100;

/// Where the long tasks stand.
#[derive(Clone, Copy)]
enum Order {
    Scattered,
    First,
    Last,
}

fn lengths(count: usize, turns: u64, order: Order) -> Vec<u64> {
    let long = count / 100;
    let mut state = 1_u64;
    let mut lengths = vec![turns; count];
    for i in 0..long {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = match order {
            Order::Scattered => i * 100 + (state >> 33) as usize % 100,
            Order::First => i,
            Order::Last => count - 1 - i,
        };
        lengths[at] = turns * LONGER;
    }
    lengths
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let cpus = usable_cpus();
    let workers = [2, 4, 16];
    let pools = workers.map(crate::pool);
    let pools = pools.into_iter().collect::<Result<Vec<_>>>()?;
    let per_us = turns_per_us();
    let mut table = Table::new(&[
        "tasks, long ones",
        "ideal",
        "2 workers",
        "of ideal",
        "4 workers",
        "of ideal",
        "16 workers",
        "of ideal",
    ]);
    let sets = [("1 us", 1.0, 200_000), ("10 us", 10.0, 20_000), ("100 us", 100.0, 2_000)];
    let orders = [("scattered", Order::Scattered), ("first", Order::First), ("last", Order::Last)];
    for (size, us, count) in sets {
        for (place, order) in orders {
            let count = plan.pick(count / 10, count);
            let turns = lengths(count, (us * per_us) as u64, order);
            let turns = &turns;
            let mut cases: Vec<Case<'_>> = vec![Box::new(move || burn_on_threads(turns, cpus))];
            for pool in &pools {
                let map = move || pool.map(burn, turns.iter().copied()).expect("burnt");
                cases.push(Box::new(move || seconds(map)));
            }
            let samples = interleave(plan.rounds, cases);
            let mut row = vec![format!("{count} of {size}, {place}"), time(samples.median(0))];
            for case in 1..=pools.len() {
                row.extend([time(samples.median(case)), ratio(samples.ratio(case, 0))]);
            }
            table.row(row);
        }
    }
    let what = format!(
        "1 in 100 takes 100 times as long; ideal: all work split over {cpus} threads, and no less than the longest task"
    );
    table.print("uneven", &what);
    Ok(())
}
