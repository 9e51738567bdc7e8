//! The parts of a worker process that are switched to the lane whose task is polled (rule N7).

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::async_wakeup::AsyncWakeup;
use super::panic;
use crate::cancellation::LaneInput;
use crate::handle::{self, ObjectLink};
use crate::queue::WorkerPageMap;
use crate::sys::crash::{self, FaultRecord};
use crate::sys::original::{Original, PANICKED};
use crate::{identity, present};

/// What the library has once per process or thread, and the lane for itself.
pub(super) struct CurrentLane {
    id: usize,
    pub(super) page: Arc<WorkerPageMap>,
    pub(super) input: LaneInput,
    link: Arc<ObjectLink>,
    /// The record of crashes, if the host is a process. Its page is never unmapped.
    record: Option<&'static FaultRecord>,
    /// The task of its chunk, the index of the first input, and the span of the caller.
    pub(super) chunk: Cell<(u32, u64, u64)>,
    original: Original,
}

/// The reason why a future has no output.
pub(super) enum Unfinished {
    /// It panicked with this payload.
    Panicked(Box<dyn std::any::Any + Send>),
    /// The lane was abandoned, and the future was dropped.
    Abandoned,
}

impl CurrentLane {
    pub(super) fn new(
        id: usize,
        page: Arc<WorkerPageMap>,
        link: Arc<ObjectLink>,
        record: Option<&'static FaultRecord>,
    ) -> Self {
        let (input, chunk, original) = (LaneInput::new(&page), Cell::default(), Original::here());
        CurrentLane { id, page, input, link, record, chunk, original }
    }

    /// Returns whether the host is a process.
    pub(super) fn is_in_process(&self) -> bool {
        self.record.is_some()
    }

    /// Switches to this lane until the result is dropped.
    fn enter(&self) -> Entered<'_> {
        self.page.view().set_polled(true);
        identity::switch(self.id);
        self.input.enter();
        panic::switch(Some(&self.page));
        if let Some(record) = self.record {
            present::enter(&self.page, self.chunk.get());
            crash::switch_record(record);
            handle::set_source(Arc::clone(&self.link));
        }
        Entered(self)
    }

    /// Polls a future to its end, each time as the current lane.
    ///
    /// A lane of a thread is abandoned instead of being killed. Its wake-up eventfd then has the future dropped.
    pub(super) async fn run<F: Future>(
        &self,
        lane_wakeup: &AsyncWakeup,
        future: F,
    ) -> Result<F::Output, Unfinished> {
        let mut future = Some(Box::pin(future));
        poll_fn(|context| {
            if !self.is_in_process() {
                while lane_wakeup.poll_woken(context).is_ready() {}
            }
            let _entered = self.enter();
            let polled = catch_unwind(AssertUnwindSafe(|| self.poll(&mut future, context)));
            // The task may have forked.
            self.original.or_end(if polled.is_ok() { 0 } else { PANICKED });
            match polled {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(output)) => Poll::Ready(output.ok_or(Unfinished::Abandoned)),
                Err(payload) => Poll::Ready(Err(Unfinished::Panicked(payload))),
            }
        })
        .await
    }

    fn poll<F: Future>(
        &self,
        future: &mut Option<Pin<Box<F>>>,
        context: &mut Context<'_>,
    ) -> Poll<Option<F::Output>> {
        if self.page.view().is_abandoned() {
            *future = None;
        }
        match future {
            Some(running) => running.as_mut().poll(context).map(Some),
            None => Poll::Ready(None),
        }
    }
}

/// The time for which a lane is the current one.
struct Entered<'a>(&'a CurrentLane);

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let CurrentLane { page, record, .. } = self.0;
        panic::switch(None);
        LaneInput::leave();
        if record.is_some() {
            present::leave();
        }
        page.view().set_polled(false);
    }
}
