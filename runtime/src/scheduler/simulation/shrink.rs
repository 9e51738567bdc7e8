//! Shrinking a schedule that fails a check.

use super::{Broken, Choices, run};

/// The maximum number of shorter schedules that are tried.
const TRIES: usize = 3_000;

/// Removes decisions, and makes them smaller, as long as a check still fails.
pub(crate) fn shrink(mut list: Vec<u32>, mut broken: Broken) -> Broken {
    let mut tries = 0;
    let mut attempt = |candidate: Vec<u32>, list: &mut Vec<u32>, broken: &mut Broken| {
        tries += 1;
        match run(&mut Choices::replayed(candidate.clone())) {
            Err(again) if tries < TRIES => {
                *list = candidate;
                *broken = again;
                true
            }
            _ => false,
        }
    };
    let mut width = list.len().next_power_of_two() / 2;
    while width > 0 {
        let mut at = 0;
        while at < list.len() {
            let end = (at + width).min(list.len());
            let mut without = list.clone();
            without.drain(at..end);
            let mut zeroed = list.clone();
            zeroed[at..end].fill(0);
            let changes = list[at..end].iter().any(|choice| *choice != 0);
            let shorter = attempt(without, &mut list, &mut broken)
                || (changes && attempt(zeroed, &mut list, &mut broken));
            if !shorter {
                at = end;
            } else if width > list.len() {
                break;
            }
        }
        width /= 2;
    }
    broken.what = format!("{} (choices: {list:?})", broken.what);
    broken
}
