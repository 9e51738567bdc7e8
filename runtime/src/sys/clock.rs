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

/// Before this time a spinner does not think of others.
const PATIENT_NS: u64 = 3_000;

/// Lets the given number of nanoseconds pass without accessing memory.
pub(crate) fn pause(length: u64) {
    let begun = now();
    while now() - begun < length {
        for _ in 0..4 {
            std::hint::spin_loop();
        }
    }
}

/// Looks at a condition again and again for at most `limit` nanoseconds; tells whether it
/// came true.
///
/// In between it lets others run, first after 3 us and then after twice as long each time:
/// who is waited for may wait for this very CPU.
pub(crate) fn spin(limit: u64, is_true: impl Fn() -> bool) -> bool {
    let begun = now();
    let mut patience = PATIENT_NS;
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
        if spent > patience {
            patience *= 2;
            std::thread::yield_now();
        }
    }
}
