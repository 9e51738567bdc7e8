//! Forks in initializers, preloads and destructors of states, and in conversions of inputs and outputs.

use std::path::PathBuf;

use runtime::{StartMethod, State, initializer, worker};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{EVERYTHING, Then, WRONG, beside_others, builder, built, note_code};
use crate::counts;
use crate::group::tell;
use crate::sys::{self, By};

/// A state that contains the pid of the process that has created it.
struct Made(u32);

/// Forks. The state that a copy returns contains 0.
#[initializer]
fn fork_first(by: By, then: Then, out: PathBuf) -> Made {
    match sys::fork(by) {
        None => {
            then.act();
            Made(0)
        }
        Some(pid) => {
            note_code(&out, sys::wait_for(pid));
            Made(std::process::id())
        }
    }
}

/// Checks that there were copies, and that each has ended with one of the codes.
fn codes_are(out: &PathBuf, codes: &[i32]) -> Result<(), String> {
    let text = std::fs::read_to_string(out).unwrap_or_default();
    let _ = std::fs::remove_file(out);
    match text.lines().find(|line| !codes.iter().any(|code| *line == code.to_string())) {
        Some(odd) => Err(format!("a copy ended with {odd}")),
        None if text.is_empty() => Err("nothing forked".to_owned()),
        None => Ok(()),
    }
}

#[worker]
fn made(made: State<Made>) -> (u32, u32) {
    (made.0, std::process::id())
}

pub(super) fn initializers(method: StartMethod) {
    let out = counts::scratch("codes");
    for by in [By::Library, By::Kernel] {
        for then in EVERYTHING {
            let builder = builder(method).max_tasks_per_worker(150);
            let builder = builder.initializer(fork_first, (by, then, out.clone()));
            built(&format!("{by:?} {then:?}"), builder, |pool| {
                for outcome in pool.map_all(made, (0..8).map(|_| ())) {
                    let (maker, pid) = outcome.map_err(|error| error.to_string())?;
                    if maker != pid {
                        return Err(format!("{maker} made the state of {pid}"));
                    }
                }
                Ok(())
            });
            tell("copies of initializers", codes_are(&out, &[then.code()]));
        }
    }
}

pub(super) fn preloads(method: StartMethod) {
    let out = counts::scratch("codes");
    for by in [By::Library, By::Kernel] {
        for then in EVERYTHING {
            let builder = builder(method).preload(fork_first, (by, then, out.clone()));
            built(&format!("{by:?} {then:?}"), builder, |pool| {
                for outcome in pool.broadcast(made, ()) {
                    if outcome.map_err(|error| error.to_string())?.0 == 0 {
                        return Err("a copy made the state".to_owned());
                    }
                }
                Ok(())
            });
            tell("copies of preloads", codes_are(&out, &[then.code()]));
        }
    }
}

/// A state that forks when it is dropped.
struct ForksLast(Then, PathBuf);

impl Drop for ForksLast {
    fn drop(&mut self) {
        match sys::fork(By::Library) {
            // A destructor returns no value.
            None => drop(self.0.act()),
            Some(pid) => note_code(&self.1, sys::wait_for(pid)),
        }
    }
}

#[initializer]
fn forks_last(then: Then, out: PathBuf) -> ForksLast {
    ForksLast(then, out)
}

pub(super) fn destructors(method: StartMethod) {
    let out = counts::scratch("codes");
    for then in EVERYTHING {
        let builder = builder(method).max_tasks_per_worker(40);
        let builder = builder.initializer(forks_last, (then, out.clone()));
        match builder.build() {
            Ok(pool) => {
                tell(&format!("{then:?}"), beside_others(&pool, || Ok(())));
                pool.join();
            }
            Err(error) => tell(&format!("{then:?}"), Err(error.to_string())),
        }
        // The effect of a panic in a destructor depends on its caller: the process aborts if the exit hooks of
        // the C library run it, and continues if a thread does.
        let abort = 1000 + libc::SIGABRT;
        let codes = if then == Then::Panic { &[101, abort, 0][..] } else { &[then.code()] };
        tell("copies of destructors", codes_are(&out, codes));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum When {
    Decoded,
    Encoded,
    Dropped,
}

/// A value that forks in a worker when it is decoded, encoded or dropped.
#[derive(Debug, PartialEq, Eq)]
struct Forking {
    number: u64,
    when: When,
    then: Then,
}

impl Forking {
    fn fork(&self, when: When) -> u64 {
        if when != self.when || runtime::worker_id().is_none() {
            return self.number;
        }
        match sys::fork(By::Library) {
            None => self.then.act()[0],
            Some(pid) => {
                let code = sys::wait_for(pid);
                // The memory of the pool is not mapped in the copy, which may therefore end by SIGSEGV when it
                // continues to decode.
                let fits = code == self.then.code() || code == 1000 + libc::SIGSEGV;
                if fits { self.number } else { code as u64 + 2 * WRONG }
            }
        }
    }
}

impl Serialize for Forking {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.fork(When::Encoded), self.when, self.then).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Forking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, when, then) = Deserialize::deserialize(deserializer)?;
        let mut read = Forking { number, when, then };
        read.number = read.fork(When::Decoded);
        Ok(read)
    }
}

impl Drop for Forking {
    fn drop(&mut self) {
        if self.when == When::Dropped {
            let number = self.fork(When::Dropped);
            // The copy executes this assertion as well.
            assert!(number == self.number || number == WRONG, "a copy ended wrongly: {number:x}");
        }
    }
}

#[worker]
fn pass(forking: Forking) -> Forking {
    forking
}

pub(super) fn conversions(method: StartMethod) {
    for when in [When::Decoded, When::Encoded, When::Dropped] {
        for then in EVERYTHING {
            built(&format!("{when:?} {then:?}"), builder(method), |pool| {
                let inputs = (0..6).map(|number| Forking { number, when, then });
                for (x, outcome) in (0..).zip(pool.map_all(pass, inputs)) {
                    let number = outcome.map_err(|error| error.to_string())?.number;
                    if number != x {
                        return Err(format!("{number} for {x}"));
                    }
                }
                Ok(())
            });
        }
    }
}
