//! The clock that all processes of a machine share.

/// Nanoseconds of the monotonic clock, equal in all processes.
#[inline]
pub(crate) fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC);
    let time = time.expect("the monotonic clock is always there");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

/// Nanoseconds of CPU time of this process, or of this thread.
pub(crate) fn cpu(of_thread: bool) -> u64 {
    #[cfg(miri)]
    return u64::from(of_thread);
    #[cfg(not(miri))]
    {
        use nix::time::ClockId;
        let clock = match of_thread {
            true => ClockId::CLOCK_THREAD_CPUTIME_ID,
            false => ClockId::CLOCK_PROCESS_CPUTIME_ID,
        };
        let time = nix::time::clock_gettime(clock).unwrap_or(nix::sys::time::TimeSpec::new(0, 0));
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    }
}

/// Returns the time at which a wait that begins now ends. It is never 0, which stands for no wait.
pub(crate) fn after(timeout: std::time::Duration) -> u64 {
    let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    now().saturating_add(nanos).max(1)
}

/// Returns the time of the same clock at the last tick of the kernel. It is faster to read, and some milliseconds
/// late.
#[inline]
pub(crate) fn coarse() -> u64 {
    #[cfg(miri)]
    return now();
    #[cfg(not(miri))]
    {
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
        let time = time.expect("the monotonic clock is always there");
        time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
    }
}

/// The time after which a spinning thread yields for the first time, in nanoseconds.
const FIRST_YIELD_NS: u64 = 3_000;

/// Lets the given number of nanoseconds pass without accessing memory.
pub(crate) fn pause(length: u64) {
    let begun = now();
    while now() - begun < length {
        for _ in 0..4 {
            std::hint::spin_loop();
        }
    }
}

/// Checks a condition repeatedly for at most `limit` nanoseconds. Returns whether it became true.
///
/// The thread yields its CPU after 3 us, and then after intervals that double, because the thread that makes the
/// condition true may wait for this CPU.
pub(crate) fn spin(limit: u64, is_true: impl Fn() -> bool) -> bool {
    let begun = now();
    let mut next_yield = FIRST_YIELD_NS;
    loop {
        for _ in 0..16 {
            if is_true() {
                return true;
            }
            std::hint::spin_loop();
        }
        let spent = now() - begun;
        if spent > limit {
            return false;
        }
        if spent > next_yield {
            next_yield *= 2;
            std::thread::yield_now();
        }
    }
}
