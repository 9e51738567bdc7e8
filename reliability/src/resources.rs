//! Requests that the system refuses: each case ends with a clear error or with a pool that works,
//! within a bounded time.
//!
//! There is no case for a full `/dev/shm`, because the library does not use it.

use std::time::{Duration, Instant};

use runtime::{Error, ErrorKind, Pool, StartMethod, worker};

use crate::group::{self, tell};
use crate::table::METHODS;
use crate::tasks::{bytes, double, nap, pattern};
use crate::{Options, sys, usage};

/// Each case runs in a separate process.
const CASES: [(&str, &str); 13] = [
    ("fds-few", "RLIMIT_NOFILE far too small"),
    ("fds-just", "RLIMIT_NOFILE at each value about what is needed"),
    ("fds-later", "fds run out while workers are replaced"),
    ("space", "RLIMIT_AS of 1 GiB"),
    ("space-tight", "RLIMIT_AS of 40 MiB more than in use"),
    ("file-size", "RLIMIT_FSIZE of 64 MiB"),
    ("file-tiny", "RLIMIT_FSIZE of 64 KiB"),
    ("processes", "RLIMIT_NPROC, as another user"),
    ("no-memfd", "memfd_create refused (ENOSYS)"),
    ("no-pidfd", "pidfd_open refused (ENOSYS)"),
    ("pidfd-denied", "pidfd_open refused (EPERM)"),
    ("no-proc", "no /proc"),
    ("memory-limit", "memory_limit and a runaway task"),
];

pub(crate) fn run(_: &Options<'_>) -> bool {
    let mut good = true;
    for (case, about) in CASES {
        println!("{case:14} {about}");
        for (name, _) in METHODS {
            let begun = Instant::now();
            let verdicts = group::watch(&["resources", name, case], Duration::from_secs(60));
            let took = begun.elapsed().as_secs_f64();
            let bad = !verdicts.wrong.is_empty() || verdicts.good == 0;
            good &= !bad;
            let mut notes = verdicts.notes;
            notes.dedup();
            let word = if bad { "WRONG" } else { "ok" };
            println!("    {name:12} {word:6} {took:4.1} s  {}", notes.join(" | "));
            verdicts.wrong.iter().for_each(|line| println!("        {line}"));
        }
    }
    good
}

fn build(method: StartMethod) -> Result<Pool, Error> {
    Pool::builder().workers(2).start_method(method).start_timeout(Duration::from_secs(5)).build()
}

/// Builds and uses a pool, which must work, or return an error that names the cause.
fn works_or_says(method: StartMethod) -> Result<(), String> {
    let begun = Instant::now();
    let outcome = build(method).and_then(|pool| {
        let values = pool.map(double, 0..1000)?;
        assert!(values.iter().zip(0..).all(|(value, x)| *value == 2 * x), "wrong values");
        let data = pool.apply(bytes, (1, 1 << 20))?;
        assert!(data == pattern(1, 1 << 20), "wrong bytes");
        Ok(())
    });
    if begun.elapsed() > Duration::from_secs(20) {
        return Err(format!("it took {:?}", begun.elapsed()));
    }
    match outcome {
        Ok(()) => println!("note works"),
        Err(error) => println!("note {:?}: {error}", error.kind()),
    }
    Ok(())
}

pub(crate) fn case(words: &[&str]) -> bool {
    let [name, case] = words else { return false };
    let Some(method) = crate::table::method(name) else {
        return false;
    };
    let limit = |resource, value| {
        sys::set_limit(resource, value);
        tell(case, works_or_says(method));
    };
    match *case {
        "fds-few" => limit(libc::RLIMIT_NOFILE, 8),
        "fds-just" => {
            // The soft limit is moved; what fits at one value fits at the next.
            for most in (8..64).rev() {
                sys::set_soft_limit(libc::RLIMIT_NOFILE, most);
                let before = usage::here();
                let outcome = works_or_says(method);
                std::thread::sleep(Duration::from_millis(10));
                let after = usage::here();
                let left = after.fds > before.fds || after.children > before.children;
                tell(
                    &format!("{most}"),
                    outcome.and(if left { Err(format!("left: {after}")) } else { Ok(()) }),
                );
            }
        }
        "fds-later" => tell(case, fds_later(method)),
        "space" => limit(libc::RLIMIT_AS, 1 << 30),
        "space-tight" => limit(libc::RLIMIT_AS, sys::address_space() + (40 << 20)),
        "file-size" => limit(libc::RLIMIT_FSIZE, 64 << 20),
        "file-tiny" => limit(libc::RLIMIT_FSIZE, 64 << 10),
        "processes" => {
            if !sys::become_nobody() {
                println!("note not tried: this user cannot become another");
            }
            for most in [1, 2, 3] {
                limit(libc::RLIMIT_NPROC, most);
            }
        }
        "no-memfd" => refuse(case, method, libc::SYS_memfd_create, libc::ENOSYS),
        "no-pidfd" => refuse(case, method, libc::SYS_pidfd_open, libc::ENOSYS),
        "pidfd-denied" => refuse(case, method, libc::SYS_pidfd_open, libc::EPERM),
        "no-proc" => match sys::hide_proc() {
            true => tell(case, works_or_says(method)),
            false => {
                println!("note not tried: /proc cannot be hidden by this user");
                tell(case, Ok(()));
            }
        },
        "memory-limit" => memory_limit(method),
        _ => return false,
    }
    true
}

fn refuse(case: &str, method: StartMethod, syscall: i64, errno: i32) {
    match sys::refuse(syscall, errno) {
        true => tell(case, works_or_says(method)),
        false => tell(case, Err("the filter was not taken".to_owned())),
    }
}

/// Workers die while no descriptor is available for their replacements; later there are descriptors
/// again.
fn fds_later(method: StartMethod) -> Result<(), String> {
    let pool = build(method).map_err(|error| error.to_string())?;
    sys::set_soft_limit(libc::RLIMIT_NOFILE, usage::here().fds as u64);
    if method != StartMethod::Thread {
        pool.workers().iter().for_each(|worker| sys::kill(worker.pid(), libc::SIGKILL));
    }
    std::thread::sleep(Duration::from_millis(100));
    match pool.apply(double, 4) {
        Ok(8) => println!("note works"),
        Ok(_) => return Err("a wrong value".to_owned()),
        Err(error) => println!("note {:?}: {error}", error.kind()),
    }
    sys::set_soft_limit(libc::RLIMIT_NOFILE, 1024);
    let end = Instant::now() + Duration::from_secs(5);
    while let Err(error) = pool.apply(double, 4) {
        if Instant::now() > end {
            return Err(format!("with fds again: {error}"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Allocates memory until the allocation fails.
#[worker]
fn run_away(most: usize) -> usize {
    let mut held: Vec<Vec<u8>> = Vec::new();
    while held.len() < most {
        held.push(vec![held.len() as u8 | 1; 1 << 20]);
    }
    held.iter().map(Vec::len).sum()
}

fn memory_limit(method: StartMethod) {
    let pool = Pool::builder().workers(2).start_method(method).memory_limit(256 << 20).build();
    if method == StartMethod::Thread {
        let refused = pool.is_err_and(|error| error.kind() == ErrorKind::Configuration);
        return tell("refused", if refused { Ok(()) } else { Err("it was taken".to_owned()) });
    }
    let pool = match pool {
        Ok(pool) => pool,
        Err(error) => return tell("build", Err(error.to_string())),
    };
    let others: Vec<_> = (0..20).map(|x| pool.submit(nap, (5, x))).collect();
    let outcome = match pool.apply(run_away, 4096) {
        Err(error)
            if error.kind() == ErrorKind::Signaled && error.to_string().contains("memory") =>
        {
            println!("note {error}");
            Ok(())
        }
        other => Err(format!("{other:?}")),
    };
    tell("the runaway", outcome);
    let lost = others.into_iter().filter_map(|handle| handle.wait().err()).count();
    tell("the others", if lost == 0 { Ok(()) } else { Err(format!("{lost} failed")) });
    let small = pool.apply(run_away, 20).map_err(|error| error.to_string());
    tell("a modest one", small.map(|_| ()));
}
