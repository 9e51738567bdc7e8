//! Cases under each start method, each in a separate process, for some rounds.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runtime::StartMethod;

use crate::Options;
use crate::group::{self, Verdicts};
use crate::table::METHODS;

/// The cases of a command.
pub(crate) struct Grid<'a> {
    pub(crate) command: &'a str,
    /// The name and the subject of each case.
    pub(crate) cases: &'a [(&'a str, &'a str)],
    /// Returns whether a case applies to a start method.
    pub(crate) applies: fn(&str, StartMethod) -> bool,
    /// A word that is passed to each case.
    pub(crate) word: &'a str,
    /// The time after which a case counts as hanging.
    pub(crate) limit: Duration,
}

impl Grid<'_> {
    /// Runs the cases as often as the options request, while the requested number of threads keeps
    /// the processors busy. Returns whether nothing was wrong.
    pub(crate) fn run(&self, options: &Options<'_>) -> bool {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..options.number("busy", 0) {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            let rounds = options.number("repeat", 1);
            let (mut checks, mut wrong) = (0, 0);
            for round in 1..=rounds {
                let begun = Instant::now();
                let all = self.once(options);
                checks += all.good + all.wrong.len();
                wrong += all.wrong.len();
                let took = begun.elapsed().as_secs_f64();
                println!(
                    "round {round}: {} checks, {} wrong, {took:.0} s\n",
                    all.good + all.wrong.len(),
                    all.wrong.len()
                );
            }
            over.store(true, Ordering::Relaxed);
            println!("{}: {rounds} rounds, {checks} checks, {wrong} wrong", self.command);
            wrong == 0
        })
    }

    fn once(&self, options: &Options<'_>) -> Verdicts {
        let (only, method) = (options.text("case"), options.text("method"));
        let mut all = Verdicts::default();
        print!("{:12}", "");
        METHODS.iter().for_each(|(name, _)| print!("{name:>14}"));
        println!();
        for (case, about) in self.cases {
            if only.is_some_and(|only| only != *case) {
                continue;
            }
            print!("{case:12}");
            let mut said = Vec::new();
            for (name, start) in METHODS {
                if method.is_some_and(|method| method != name) || !(self.applies)(case, start) {
                    print!("{:>14}", "-");
                    continue;
                }
                let mut verdicts = group::watch(&[self.command, name, case, self.word], self.limit);
                if verdicts.good == 0 && verdicts.wrong.is_empty() {
                    verdicts.wrong.push(format!("{name} {case}: nothing was checked"));
                }
                let word = if verdicts.wrong.is_empty() { "ok" } else { "WRONG" };
                print!("{:>14}", format!("{word} {}", verdicts.good + verdicts.wrong.len()));
                said.extend(verdicts.wrong.iter().cloned());
                said.extend(verdicts.notes.iter().map(|note| format!("{name}: {note}")));
                all.add(verdicts);
            }
            println!("  {about}");
            said.iter().for_each(|line| println!("    {line}"));
        }
        all
    }
}
