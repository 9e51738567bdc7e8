//! Eventfds for which asynchronous code waits: they wake the idle lanes of a host (rule N4 in `start/lanes.rs`), and
//! announce new lanes to a host that is a thread.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::wakeup::Wakeup;

/// Registers a descriptor with the runtime of this thread.
pub(super) fn readable<T: AsRawFd>(inner: T) -> io::Result<AsyncFd<T>> {
    #[allow(
        deprecated,
        reason = "later versions have an unsafe constructor for descriptors that are not owned"
    )]
    AsyncFd::with_interest(inner, Interest::READABLE)
}

/// An eventfd for which asynchronous code waits.
pub(super) struct AsyncWakeup(AsyncFd<WakeupFd>);

struct WakeupFd(Wakeup);

impl AsRawFd for WakeupFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl AsyncWakeup {
    /// Registers an eventfd with the runtime of this thread.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let fd = WakeupFd(Wakeup::open(fd)?);
        Ok(AsyncWakeup(readable(fd)?))
    }

    /// Waits until the eventfd was written.
    pub(super) async fn woken(&self) {
        poll_fn(|context| self.poll_woken(context)).await;
    }

    /// Returns whether the eventfd was written, and resets it.
    pub(super) fn poll_woken(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.0.poll_read_ready(context) {
            Poll::Ready(Ok(mut ready)) => {
                self.0.get_ref().0.clear();
                ready.clear_ready();
                Poll::Ready(())
            }
            // The runtime ends, and this task with it.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    pub(super) fn wake(&self) {
        self.0.get_ref().0.wake();
    }
}
