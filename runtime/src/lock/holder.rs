//! Threads as owners of locks.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;

use crate::sys::futex::pi;
use crate::sys::generation::{self, PerProcess};
use crate::sys::threads;

/// The low bits of an identity are the id of the thread; no Linux has greater ones than 22 bits.
const TID_BITS: u32 = 24;

/// A thread that never was before and never will be again: its id, and when it started (rule K2). Never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder(u64);

impl Holder {
    pub(super) fn new(tid: u32, started: u64) -> Self {
        debug_assert!(tid != 0 && tid >> TID_BITS == 0, "{tid} is no id of a thread");
        Holder(started << TID_BITS | u64::from(tid))
    }

    /// The calling thread.
    #[inline]
    pub(crate) fn current() -> Self {
        if cfg!(all(test, loom)) {
            // All threads of a model are one thread of the system.
            return Self::ask();
        }
        thread_local! {
            /// The generation of the process that it was asked in, since a forked child has the memory of its parent.
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

    /// The main thread of this process, by which the process is known.
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

    /// Nobody, who owns nothing.
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

    /// Whether the kernel has no thread of this id any more. Costs a system call, and is not true of a thread whose id was given to
    /// another one.
    pub(crate) fn has_ended(self) -> bool {
        self.tid() != Holder::current().tid() && !pi::is_alive(self.tid())
    }

    /// Whether this thread has ended. Once true it stays true.
    ///
    /// Costs a system call, and a look at `/proc` if there is a thread of its id.
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
        // It may end just now; who looks again is told by the kernel.
        threads::started(self.tid()).is_some_and(|started| started != self.started())
    }
}

/// Whether `/proc` shows this process by the ids that it has for itself.
fn can_look() -> bool {
    static CAN: PerProcess<OnceLock<bool>> = PerProcess::new();
    *CAN.get().get_or_init(|| threads::main() == std::process::id() as i32)
}

/// Where ids of threads mean the same (rule K3): a PID namespace, and the time namespace by which starts are counted.
///
/// # Errors
///
/// If the kernel has no futexes that know their owner, or does not tell the namespaces.
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
