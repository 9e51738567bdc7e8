//! Workers that overwrite the memory that they share with the caller.
//!
//! Each round runs in a separate process. A task of one worker, the vandal, writes random words to
//! random places of the pool page and of its worker page, while other workers run tasks. The
//! vandal's own tasks may fail, and so may a task whose claim it has overwritten. The caller must
//! neither crash nor hang, and every input must have an outcome and no wrong value.

use std::time::{Duration, Instant};

use runtime::{ErrorKind, Pool, worker};

use crate::group::{self, Verdicts, tell};
use crate::random::Random;
use crate::tasks::{double, pattern, value_of};
use crate::{Options, counts, sys};

pub(crate) fn run(options: &Options<'_>) -> bool {
    let (seed, rounds) = (options.seed(), options.number("rounds", 40));
    println!("seed {seed}, {rounds} rounds for each method");
    let mut good = true;
    for (name, _) in &crate::table::METHODS[..3] {
        let mut verdicts = Verdicts::default();
        let begun = Instant::now();
        for round in 0..rounds {
            let seed = (seed + round).to_string();
            verdicts.add(group::watch(&["hostile", name, &seed], Duration::from_secs(60)));
        }
        good &= verdicts.wrong.is_empty() && verdicts.good > 0;
        let took = begun.elapsed().as_secs_f64();
        println!(
            "{name:12} {} calls good, {} WRONG, {took:.0} s",
            verdicts.good,
            verdicts.wrong.len()
        );
        verdicts.wrong.iter().for_each(|line| println!("    {line}"));
        let mut kinds = std::collections::BTreeMap::<String, usize>::new();
        verdicts.notes.into_iter().for_each(|note| *kinds.entry(note).or_default() += 1);
        kinds.iter().for_each(|(note, count)| println!("    {count:6} {note}"));
    }
    good
}

/// A range to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Target {
    PoolPage,
    /// The head of the worker page: state, ring words, panic record.
    WorkerPage,
    /// Words that look like those of the protocol, in the ring.
    Ring,
    Both,
}

/// Returns the writable mappings of the library in this process: name, start and length.
fn mappings() -> Vec<(bool, usize, usize)> {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let parse = |line: &str| {
        let pool_page = line.contains("procession-pool-page");
        if !line.contains("rw-s") || !(pool_page || line.contains("procession-worker-page")) {
            return None;
        }
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        let (start, end) =
            (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
        Some((pool_page, start, end - start))
    };
    text.lines().filter_map(parse).collect()
}

fn likely(random: &mut Random) -> u64 {
    match random.below(8) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => random.next(),
        4 => random.next() >> random.below(64),
        // A claim word: a small position, and any owner.
        5 => {
            (random.next() % 3000) << 16
                | [0, 1, 2, 3, 0xffff, random.next() % 1100][random.below(6)]
        }
        // A header: kind, index, length.
        6 => (random.next() % 8) << 56 | (random.next() % 4) << 32 | (random.next() % 64),
        _ => random.next() % 5000,
    }
}

/// Overwrites the memory that the worker shares, and returns its input if it survives.
#[worker]
fn vandalize(seed: u64, target: Target, count: usize, x: u64) -> u64 {
    counts::vandal();
    let mut random = Random(seed);
    let all = mappings();
    for n in 0..count {
        let pool_page = match target {
            Target::PoolPage => true,
            Target::WorkerPage | Target::Ring => false,
            Target::Both => n % 2 == 0,
        };
        let Some((_, start, len)) = all.iter().find(|(own, ..)| *own == pool_page) else {
            continue;
        };
        let words = match (pool_page, target) {
            (true, _) => len / 8,
            // The head, the panic record, the ring, the first big slots.
            (false, Target::Ring) => [128, 90_000][random.below(2)],
            (false, _) => [16, 64, 3000, 70_000, 100_000][random.below(5)].min(len / 8),
        };
        let at = start + 8 * random.below(words);
        sys::scribble(at, likely(&mut random));
    }
    x ^ 0xff
}

pub(crate) fn case(words: &[&str]) -> bool {
    let [name, seed] = words else { return false };
    let (Some(method), Ok(seed)) = (crate::table::method(name), seed.parse()) else {
        return false;
    };
    counts::create();
    let mut random = Random(seed);
    let workers = 2 + random.below(3);
    let pool = match Pool::builder().workers(workers).start_method(method).build() {
        Ok(pool) => pool,
        Err(error) => {
            tell("build", Err(error.to_string()));
            return true;
        }
    };
    std::thread::scope(|scope| {
        let vandal = scope.spawn(|| vandals(&pool, Random(seed ^ 1)));
        for round in 0..6 {
            honest(&pool, round);
        }
        vandal.join().expect("it does not panic");
    });
    let mut answers = Err(String::new());
    for _ in 0..20 {
        answers = pool.map(double, 0..100).map(|_| ()).map_err(|error| error.to_string());
        if answers.is_ok() {
            break;
        }
    }
    tell("the pool answers", answers);
    let begun = Instant::now();
    drop(pool);
    let took = begun.elapsed();
    tell(
        "it ends",
        if took < Duration::from_secs(5) { Ok(()) } else { Err(format!("in {took:?}")) },
    );
    true
}

fn vandals(pool: &Pool, mut random: Random) {
    for _ in 0..12 {
        let target =
            [Target::PoolPage, Target::WorkerPage, Target::Ring, Target::Both][random.below(4)];
        let most = 1 << random.below(10);
        let count = 1 + random.below(most);
        let inputs: Vec<_> = (0..8).map(|x| (random.next(), target, count, x)).collect();
        let outcomes = pool.map_all(vandalize, inputs.iter().copied());
        if outcomes.len() != inputs.len() {
            tell("vandals", Err(format!("{} outcomes", outcomes.len())));
        }
        for outcome in outcomes {
            note("vandal", &outcome.map(|_| ()));
        }
    }
}

#[worker]
fn short(index: usize) -> u64 {
    counts::seen(index);
    value_of(index)
}

#[worker]
fn long(index: usize) -> Vec<u8> {
    counts::seen(index);
    pattern(index as u64, LENS[index % 2])
}

const LENS: [usize; 2] = [100, 30_000];

/// Tasks of other workers: each value is right, or there is none. The vandal may give any answer to
/// its own inputs, even later.
fn honest(pool: &Pool, round: usize) {
    let inputs = 2000 * round..2000 * round + 1980;
    let outcomes = pool.map_all(short, inputs.clone());
    judge("short", &outcomes, inputs, |index, value| *value == value_of(index));
    let inputs = 2000 * round + 1980..2000 * (round + 1);
    let outcomes = pool.map_all(long, inputs.clone());
    judge("long", &outcomes, inputs, |index, data| *data == pattern(index as u64, LENS[index % 2]));
}

fn judge<T>(
    name: &str,
    outcomes: &[runtime::Result<T>],
    inputs: std::ops::Range<usize>,
    fits: impl Fn(usize, &T) -> bool,
) {
    if outcomes.len() != inputs.len() {
        tell(name, Err(format!("{} outcomes of {}", outcomes.len(), inputs.len())));
    }
    let mut wrong = 0;
    for (index, outcome) in inputs.zip(outcomes) {
        match outcome {
            Ok(value) if fits(index, value) => {}
            Ok(_) if counts::was_with_vandal(index) => println!("note vandal: nonsense as a value"),
            Ok(_) => wrong += 1,
            Err(_) => note("other", &outcome.as_ref().map(|_| ())),
        }
    }
    tell(name, if wrong == 0 { Ok(()) } else { Err(format!("{wrong} wrong values")) });
}

fn note<E: std::borrow::Borrow<runtime::Error>>(whose: &str, outcome: &Result<(), E>) {
    match outcome {
        Ok(()) => println!("note {whose}: value"),
        Err(error) => {
            let error = error.borrow();
            match error.kind() {
                ErrorKind::Start => println!("note {whose}: {}", reason(&error.to_string())),
                kind => println!("note {whose}: {kind:?} {:?}", error.signal()),
            }
        }
    }
}

fn reason(text: &str) -> &str {
    text.rsplit(": ").next().unwrap_or(text)
}
