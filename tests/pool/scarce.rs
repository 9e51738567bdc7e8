//! Callers whose memory is locked, or whose address space is short.

#![allow(unsafe_code, reason = "reserves addresses")]

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::sys::mman::{
    MapFlags, MlockAllFlags, ProtFlags, mlockall, mmap_anonymous, munlockall, munmap,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use procession_tests::{EVERY, StartMethod, conformance, has_processes, processes, wait};
use runtime::{ErrorKind, Pool, Shared, worker};

conformance! {
    EVERY => [
        a_caller_that_locks_its_memory_is_not_filled,
        a_short_address_space_is_left_to_the_program,
        a_limit_of_file_sizes_ends_nobody,
        pools_leave_addresses_to_the_program,
    ];
    &[StartMethod::Thread] => [hundreds_of_pools_exist_at_the_same_time];
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

#[worker]
fn shares(len: usize) -> Result<Shared<[u64]>, runtime::Error> {
    Shared::from_slice(&vec![7_u64; len])
}

/// The kernel counts shared memory as files, and ends a process that makes one too long.
fn a_limit_of_file_sizes_ends_nobody(method: StartMethod) {
    let tells = |what: &str, error: runtime::Error| {
        let text = error.to_string();
        let is_told = text.contains("RLIMIT_FSIZE") || error.kind() == ErrorKind::Signaled;
        assert!(is_told, "{what}: {text}");
    };
    let (soft, hard) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    let pool = Pool::builder().start_method(method).workers(2).build().unwrap();
    for limit in [40 * MIB, MIB, 1 << 10, 0] {
        setrlimit(Resource::RLIMIT_FSIZE, limit, hard).unwrap();
        // What is there stays as it is.
        reverse(&pool);
        let too_much = limit as usize / 8 + 1;
        tells("an array", Shared::from_slice(&vec![7_u64; too_much]).unwrap_err());
        if let Err(error) = Pool::builder().start_method(method).workers(1).build() {
            tells("another pool", error);
        }
        if has_processes(method) {
            // A worker that is being started has none yet.
            let started = pool.workers().iter().map(|worker| worker.pid()).find(|pid| *pid != 0);
            let pid = started.expect("one of them has just answered");
            processes::signal(pid, Signal::SIGKILL);
            wait::for_it("it is gone", || !processes::is_alive(pid));
        }
        for outcome in pool.map_all(shares, [1, too_much, 1, too_much]) {
            match outcome {
                Ok(shared) => assert_eq!(shared[0], 7),
                Err(error) => tells("a task", error),
            }
        }
        setrlimit(Resource::RLIMIT_FSIZE, soft, hard).unwrap();
        // A call after a failure has workers started again.
        wait::for_it("it works again", || pool.map_all(shares, [1, 2]).iter().all(Result::is_ok));
        reverse(&pool);
    }
}

/// Reserves addresses, without any memory.
fn reserve(bytes: u64) -> Option<(NonNull<c_void>, usize)> {
    let size = NonZeroUsize::new(bytes as usize)?;
    let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
    // SAFETY: new addresses, which nothing refers to.
    let at = unsafe { mmap_anonymous(None, size, ProtFlags::PROT_NONE, flags) };
    at.ok().map(|at| (at, size.get()))
}

fn hundreds_of_pools_exist_at_the_same_time(method: StartMethod) {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(1 << 16), hard).unwrap();
    let pools: Vec<Pool> = (0..300)
        .map(|_| Pool::builder().start_method(method).workers(1).build().unwrap())
        .collect();
    pools.iter().for_each(reverse);
}

/// A pool reserves many more addresses than it uses, of which a process has 128 TiB.
fn pools_leave_addresses_to_the_program(method: StartMethod) {
    let reserved: Vec<_> = (0..122).map_while(|_| reserve(1 << 40)).collect();
    let pools: Vec<Pool> =
        (0..8).map(|_| Pool::builder().start_method(method).workers(1).build().unwrap()).collect();
    let rest = reserve(1 << 38);
    assert!(rest.is_some(), "a quarter of a TiB is left");
    pools.iter().for_each(reverse);
    drop(pools);
    for (at, size) in reserved.into_iter().chain(rest) {
        // SAFETY: made above, and used by nothing.
        unsafe { munmap(at, size) }.unwrap();
    }
}
