//! Receiving in async code.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::end::ChannelEnd;
use super::error::{ChannelError, RecvError};
use super::receive::TakeCounts;
use super::value;
use super::watcher::{self, AsyncWatch};

/// The future of [`Receiver::recv_async`](crate::Receiver::recv_async).
#[must_use = "futures do nothing unless they are awaited"]
pub struct RecvFuture<'a, T> {
    end: &'a ChannelEnd,
    watch: Option<AsyncWatch>,
    of: PhantomData<fn() -> T>,
}

impl<'a, T> RecvFuture<'a, T> {
    pub(super) fn new(end: &'a ChannelEnd) -> Self {
        RecvFuture { end, watch: None, of: PhantomData }
    }
}

impl<T: Serialize + DeserializeOwned> Future for RecvFuture<'_, T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The previous one has woken its task, or belongs to another task.
        self.watch = None;
        match value::receive(self.end, 0, TakeCounts::No) {
            Err(ChannelError::TimedOut) => {}
            received => return Poll::Ready(received.map_err(RecvError::from)),
        }
        match watcher::watch(self.end, context.waker().clone()) {
            Ok(watch) => {
                self.watch = Some(watch);
                Poll::Pending
            }
            Err(error) => Poll::Ready(Err(RecvError::Failed(error))),
        }
    }
}

impl<T> fmt::Debug for RecvFuture<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecvFuture").finish_non_exhaustive()
    }
}
