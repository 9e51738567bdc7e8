//! The eventfds that wake the idle lanes of a host (rule N4 in `start/lanes.rs`).

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

/// The eventfd that wakes an idle lane (rule N4).
pub(super) struct Bell(AsyncFd<BellFd>);

struct BellFd(Wakeup);

impl AsRawFd for BellFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Bell {
    /// Creates the bell of a lane of this thread, which has a runtime.
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        let fd = BellFd(Wakeup::open(fd)?);
        Ok(Bell(readable(fd)?))
    }

    /// Waits until the bell was rung.
    pub(super) async fn rings(&self) {
        poll_fn(|context| self.poll_ring(context)).await;
    }

    /// Returns whether the bell was rung, and forgets it.
    pub(super) fn poll_ring(&self, context: &mut Context<'_>) -> Poll<()> {
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

    pub(super) fn ring(&self) {
        self.0.get_ref().0.wake();
    }
}
