//! Threads as owners of locks.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;

use crate::sys::futex::pi;
use crate::sys::generation::{self, PerProcess};
use crate::sys::threads;

/// The number of low bits of an identity that contain the thread id; ids on Linux have at most 22 bits.
const TID_BITS: u32 = 24;

/// The identity of a thread, which is never reused: its id and its start time (rule K2). Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder(u64);

impl Holder {
    pub(super) fn new(tid: u32, started: u64) -> Self {
        debug_assert!(tid != 0 && tid >> TID_BITS == 0, "{tid} is no id of a thread");
        Holder(started << TID_BITS | u64::from(tid))
    }

    /// Returns the identity of the calling thread.
    #[inline]
    pub(crate) fn current() -> Self {
        if cfg!(all(test, loom)) {
            // In a model all threads are one thread of the system.
            return Self::ask();
        }
        thread_local! {
            /// The identity, and the generation of the process that determined it: a forked child has a copy
            /// of this memory.
            static KNOWN: Cell<(u64, u64)> = const { Cell::new((0, 0)) };
        }
        let own = generation::generation();
        let (generation, holder) = KNOWN.get();
        if generation == own {
            return Holder(holder);
        }
        let holder = Self::ask();
        KNOWN.set((own, holder.0));
        holder
    }

    /// Returns the identity of the main thread of this process, which identifies the process.
    pub(crate) fn of_process() -> Self {
        static OWN: PerProcess<OnceLock<Holder>> = PerProcess::new();
        *OWN.get().get_or_init(|| {
            let tid = std::process::id();
            let started = if can_look() { threads::started(tid) } else { None };
            Holder::new(tid, started.unwrap_or(0))
        })
    }

    #[cold]
    fn ask() -> Self {
        #[cfg(any(miri, all(test, loom)))]
        return Holder::new(crate::sys::futex::simulated::tid(), 1);
        #[cfg(not(any(miri, all(test, loom))))]
        {
            let tid = threads::in_kernel();
            let started = if can_look() { threads::started(tid) } else { None };
            Holder::new(tid, started.unwrap_or(0))
        }
    }

    /// Returns an identity that belongs to no thread.
    pub(crate) fn nobody() -> Self {
        Holder(u64::MAX)
    }

    pub(crate) fn from_raw(raw: u64) -> Option<Self> {
        (raw != 0).then_some(Holder(raw))
    }

    pub(crate) fn raw(self) -> u64 {
        self.0
    }

    pub(crate) fn tid(self) -> u32 {
        (self.0 & ((1 << TID_BITS) - 1)) as u32
    }

    fn started(self) -> u64 {
        self.0 >> TID_BITS
    }

    /// Returns whether the kernel has no thread with this id any more. Costs a system call. Returns false if
    /// the id was given to another thread.
    pub(crate) fn has_ended(self) -> bool {
        self.tid() != Holder::current().tid() && !pi::is_alive(self.tid())
    }

    /// Returns whether this thread has ended. Once the result is true, it stays true.
    ///
    /// Costs a system call, and a read of `/proc` if a thread with this id exists.
    pub(crate) fn is_gone(self) -> bool {
        if self.tid() == Holder::current().tid() {
            return self != Holder::current();
        }
        if !pi::is_alive(self.tid()) {
            return true;
        }
        if self.started() == 0 || cfg!(any(miri, all(test, loom))) || !can_look() {
            return false;
        }
        // If the thread ends during this call, the next call learns it from the kernel.
        threads::started(self.tid()).is_some_and(|started| started != self.started())
    }
}

/// Returns whether `/proc` shows this process with the ids of its own PID namespace.
fn can_look() -> bool {
    static CAN: PerProcess<OnceLock<bool>> = PerProcess::new();
    *CAN.get().get_or_init(|| threads::main() == std::process::id() as i32)
}

/// Identifies where a thread id has the same meaning (rule K3): the PID namespace, and the time namespace in
/// which start times are counted.
///
/// # Errors
///
/// Fails if the kernel has no priority-inheritance futexes, or does not report the namespaces.
pub(crate) fn home() -> io::Result<u64> {
    if cfg!(any(miri, all(test, loom))) {
        return Ok(1);
    }
    static HOME: PerProcess<OnceLock<u64>> = PerProcess::new();
    if let Some(home) = HOME.get().get() {
        return Ok(*home);
    }
    pi::supported()?;
    let home = threads::namespaces()?;
    Ok(*HOME.get().get_or_init(|| home))
}
