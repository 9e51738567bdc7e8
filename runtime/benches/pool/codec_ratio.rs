//! A map of many tiny tasks, compared with only encoding and decoding them.

use std::hint::black_box;

use bincode::config::legacy;
use bincode::serde::{decode_from_slice, encode_into_std_write};
use runtime::Result;

use crate::measure::{Case, Plan, Table, interleave, ratio, seconds, time};
use crate::tasks::square;

/// One value encoded into a kept buffer, and decoded; not inlined, so that it takes the same
/// whatever is around it.
#[inline(never)]
fn carry(value: u64, kept: &mut Vec<u8>) -> u64 {
    kept.clear();
    encode_into_std_write(black_box(value), kept, legacy()).expect("encoded");
    decode_from_slice(black_box(kept), legacy()).expect("decoded").0
}

fn both_ways(count: u64) -> Vec<u64> {
    let mut kept = Vec::new();
    let one = |i| {
        let output = square(carry(i, &mut kept));
        carry(output, &mut kept)
    };
    (0..count).map(one).collect()
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let count = plan.pick(100_000, 1_000_000);
    let pools = [crate::pool(1)?, crate::pool(2)?];
    let mut names = vec![
        "encode + decode both ways, one process",
        "plain loop, one process",
        "pool of 1",
        "pool of 2",
        "pool of 2, imap",
    ];
    let per_task = |work: &dyn Fn() -> Vec<u64>| seconds(work) / count as f64;
    let cases: Vec<Case<'_>> = vec![
        Box::new(|| per_task(&|| both_ways(count))),
        Box::new(|| per_task(&|| (0..count).map(|i| black_box(square(black_box(i)))).collect())),
        Box::new(|| per_task(&|| pools[0].map(square, 0..count).expect("squares"))),
        Box::new(|| per_task(&|| pools[1].map(square, 0..count).expect("squares"))),
        Box::new(|| {
            per_task(&|| pools[1].imap(square, 0..count).map(|r| r.expect("a square")).collect())
        }),
    ];
    let samples = interleave(plan.pick(plan.rounds, 11), cases);
    let mut table = Table::new(&["u64 -> u64", "time a task", "of encode + decode"]);
    for (at, name) in names.drain(..).enumerate() {
        table.row([name.to_owned(), time(samples.median(at)), ratio(samples.ratio(at, 0))]);
    }
    table.print("codec_ratio", &format!("{count} tasks with the default settings"));
    Ok(())
}
