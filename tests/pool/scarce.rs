//! Callers whose memory is locked, or whose address space is short.

use nix::sys::mman::{MlockAllFlags, mlockall, munlockall};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procession_tests::{EVERY, StartMethod, conformance};
use runtime::{ErrorKind, Pool, worker};

conformance! {
    EVERY => [
        a_caller_that_locks_its_memory_is_not_filled,
        a_short_address_space_is_left_to_the_program,
    ];
}

#[worker]
fn reversed(mut text: Vec<u8>) -> Vec<u8> {
    text.reverse();
    text
}

const MIB: u64 = 1 << 20;

/// A value of this process in bytes, as the kernel says it.
fn own(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// Lets this process map so much more than it has, until the function returns.
fn with_space<R>(left: u64, run: impl FnOnce() -> R) -> R {
    let (soft, hard) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, own("VmSize:") + left, hard).unwrap();
    let outcome = run();
    setrlimit(Resource::RLIMIT_AS, soft, hard).unwrap();
    outcome
}

fn reverse(pool: &Pool) {
    let text: Vec<u8> = (0..200_000).map(|x| x as u8).collect();
    let expected: Vec<u8> = text.iter().rev().copied().collect();
    assert!(pool.apply(reversed, text).unwrap() == expected);
}

fn a_caller_that_locks_its_memory_is_not_filled(method: StartMethod) {
    // So that nothing else is filled either, should it be.
    with_space(1024 * MIB, || {
        if mlockall(MlockAllFlags::MCL_CURRENT | MlockAllFlags::MCL_FUTURE).is_err() {
            println!("skipped: this user may not lock memory");
            return;
        }
        let before = own("VmRSS:");
        let pool = Pool::builder().start_method(method).workers(2).build().unwrap();
        reverse(&pool);
        let grown = own("VmRSS:").saturating_sub(before);
        munlockall().unwrap();
        // The stacks of threads are locked as a whole.
        assert!(grown < 100 * MIB, "{} MiB became resident", grown / MIB);
    });
}

fn a_short_address_space_is_left_to_the_program(method: StartMethod) {
    for left in [24, 48, 100, 300, 1100, 5000] {
        with_space(left * MIB, || {
            let pool = match Pool::builder().start_method(method).workers(1).build() {
                Ok(pool) => pool,
                Err(error) => {
                    assert!(left < 100, "{left} MiB: {error}");
                    let kinds = [ErrorKind::OutOfMemory, ErrorKind::Start];
                    return assert!(kinds.contains(&error.kind()), "{left} MiB: {error}");
                }
            };
            let mut room: Vec<u8> = Vec::new();
            // Of less the stacks of threads, and what the allocator sets aside for them, take most.
            let wanted = if left < 300 { MIB } else { left * MIB / 8 } as usize;
            let is_left = room.try_reserve_exact(wanted).is_ok();
            assert!(is_left, "of {left} MiB not even {} are left", wanted as u64 / MIB);
            drop(room);
            reverse(&pool);
        });
    }
}
