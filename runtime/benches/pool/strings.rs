//! The cost of many short strings in one input.

use std::hint::black_box;

use runtime::{Result, worker};

use crate::inputs::words;
use crate::measure::{Case, Plan, Table, interleave, ratio, seconds, time};

const WORDS: usize = 12_000;

#[worker]
fn owned(words: Vec<String>) -> usize {
    words.len()
}

#[worker]
fn borrowed(words: Vec<&str>) -> usize {
    words.len()
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let pool = crate::pool(2)?;
    let words = words(WORDS);
    let calls = plan.pick(5, 100);
    let words = &words;
    // The same strings for all: nobody's inputs are cloned or dropped within the measured time.
    let each = |call: &dyn Fn() -> usize| {
        let all = || (0..calls).map(|_| black_box(call())).sum::<usize>();
        let took = seconds(|| assert_eq!(all(), calls * WORDS));
        took / (calls * WORDS) as f64
    };
    let cases: Vec<Case<'_>> = vec![
        Box::new(|| each(&|| black_box(words.clone()).len())),
        Box::new(|| each(&|| pool.apply(owned, words).expect("a number"))),
        Box::new(|| each(&|| pool.apply(borrowed, words).expect("a number"))),
    ];
    let samples = interleave(plan.rounds, cases);
    let mut table = Table::new(&["one way", "time a word", "of a clone"]);
    let names = [
        "cloned and dropped in one thread",
        "to a Vec<String> parameter",
        "to a Vec<&str> parameter",
    ];
    for (at, name) in names.into_iter().enumerate() {
        table.row([name.to_owned(), time(samples.median(at)), ratio(samples.ratio(at, 0))]);
    }
    table.print("strings", &format!("one call at a time, {WORDS} words of 6 bytes each"));
    Ok(())
}
