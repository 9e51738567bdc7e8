//! cargo run --release --example crash_recovery
//!
//! Runs two hundred jobs, some of which end their worker in every possible way. Each of these loses only
//! itself.

use std::{env, fs, hint, path::Path, process, ptr, thread, time::Duration};

use runtime::{Pool, worker};
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Job {
    Compute(u64),
    Segfault,
    Abort,
    Exit,
    Panic,
    Overflow,
    Stuck,
    CrashOnce,
}

#[worker]
fn run(job: &Job, marker: &Path) -> u64 {
    match job {
        Job::Compute(n) => (1..=*n).sum(),
        Job::Segfault => buggy_native_library(),
        Job::Abort => process::abort(),
        Job::Exit => process::exit(3),
        Job::Panic => panic!("no data for this day"),
        Job::Overflow => endless_recursion(0),
        Job::Stuck => loop {
            thread::sleep(Duration::from_secs(1));
        },
        // Crashes only the first time, like a job that fails occasionally.
        Job::CrashOnce => match fs::File::create_new(marker) {
            Ok(_) => process::abort(),
            Err(_) => 1,
        },
    }
}

#[expect(unsafe_code, reason = "stands for a bug in a native library")]
fn buggy_native_library() -> u64 {
    // This is what writing to a field behind a null pointer does.
    let field = ptr::without_provenance_mut::<u64>(8);
    // SAFETY: there is none; this example shows the crash.
    unsafe { field.write_volatile(1) };
    0
}

fn endless_recursion(depth: u64) -> u64 {
    match hint::black_box(depth) {
        u64::MAX => 0,
        depth => endless_recursion(depth + 1).wrapping_add(hint::black_box(depth)),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut jobs: Vec<Job> = (0..200).map(Job::Compute).collect();
    jobs[20] = Job::Segfault;
    jobs[50] = Job::Abort;
    jobs[80] = Job::Exit;
    jobs[110] = Job::Panic;
    jobs[130] = Job::Overflow;
    jobs[150] = Job::Stuck;
    jobs[180] = Job::CrashOnce;
    let marker = env::temp_dir().join(format!("crash_recovery-{}", process::id()));

    let pool = Pool::builder().workers(2).name("risky").build()?;
    let outcomes = pool
        .task(run)
        .timeout(Duration::from_millis(500)) // kills the worker of a stuck job
        .retries(1) // runs a job once more if its worker died
        .map_all(jobs.iter().map(|job| (job, marker.as_path())));
    fs::remove_file(&marker)?;

    println!("index  job        outcome");
    for (index, (job, outcome)) in jobs.iter().zip(&outcomes).enumerate() {
        let job = format!("{job:?}");
        match outcome {
            Err(error) => println!("{index:>5}  {job:<9}  {:?}: {error}", error.kind()),
            Ok(value) if job == "CrashOnce" => println!("{index:>5}  {job:<9}  value {value}"),
            Ok(_) => {} // one of the many jobs that succeed
        }
    }
    let finished = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    println!("{finished} of {} jobs finished", jobs.len());
    let goes_on = pool.apply(run, (&Job::Compute(10), &marker))?;
    println!("the pool goes on: 1 + .. + 10 = {goes_on}");
    Ok(())
}
