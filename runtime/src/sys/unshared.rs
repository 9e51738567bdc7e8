//! Descriptors that forked copies of this process close when they begin.
//!
//! A copy has all descriptors of its parent. A listening socket would keep its port as long as the copy lives,
//! and a connection would not end when the parent closes it.

#![allow(unsafe_code, reason = "a handler of the C library, which closes by number")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Once;
use std::sync::atomic::{AtomicI32, Ordering};

/// The number of descriptors; those beyond are shared with copies.
const MOST: usize = 128;

const NONE: i32 = -1;

/// The descriptors of this process.
static OPEN: [AtomicI32; MOST] = [const { AtomicI32::new(NONE) }; MOST];

/// Has copies close a descriptor, until this is dropped, which must be before the descriptor is closed.
pub(crate) struct Unshared(Option<usize>);

impl Unshared {
    pub(crate) fn new(fd: BorrowedFd<'_>) -> Self {
        static ONCE: Once = Once::new();
        // SAFETY: the handler calls nothing but what a signal handler may call.
        ONCE.call_once(|| unsafe { super::exiting::register(in_copy) });
        let free = |slot: &AtomicI32| {
            let (order, otherwise) = (Ordering::AcqRel, Ordering::Relaxed);
            slot.compare_exchange(NONE, fd.as_raw_fd(), order, otherwise).is_ok()
        };
        Unshared(OPEN.iter().position(free))
    }
}

impl Drop for Unshared {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            OPEN[slot].store(NONE, Ordering::Release);
        }
    }
}

extern "C" fn in_copy() {
    for slot in &OPEN {
        let fd = slot.swap(NONE, Ordering::Relaxed);
        if fd != NONE {
            // SAFETY: the copy has no thread that uses it; the values that own it are never dropped there.
            unsafe { libc::close(fd) };
        }
    }
}
