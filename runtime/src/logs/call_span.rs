//! The span in which a call was made, which is the parent of the spans and events of its tasks.

use std::fmt;

use tracing_core::dispatcher::{Dispatch, get_default};
use tracing_core::span::Id;

use super::LogMessage;
use super::link::LogSender;
use crate::sys::generation::Original;

/// Keeps the spans open in which calls of a pool were made.
#[derive(Clone)]
pub(crate) struct CallSpans {
    pub(super) sender: LogSender,
}

impl fmt::Debug for CallSpans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallSpans").finish_non_exhaustive()
    }
}

/// A span that is kept open until all messages of the tasks of a call have reached the subscriber.
pub(crate) struct ParentSpan {
    id: Id,
    dispatch: Dispatch,
    sender: LogSender,
    original: Original,
}

impl CallSpans {
    /// Keeps the current span of this thread open, if it is in one.
    pub(crate) fn current(&self) -> Option<ParentSpan> {
        get_default(|dispatch| {
            let id = dispatch.current_span().id().map(|id| dispatch.clone_span(id))?;
            let (dispatch, sender) = (dispatch.clone(), self.sender.clone());
            Some(ParentSpan { id, dispatch, sender, original: Original::here() })
        })
    }
}

impl ParentSpan {
    /// Returns the number by which workers name the span.
    pub(crate) fn number(&self) -> u64 {
        self.id.into_u64()
    }
}

impl Drop for ParentSpan {
    fn drop(&mut self) {
        if !self.original.is_here() {
            return;
        }
        // This message follows those of the tasks that have ended.
        if !self.sender.send(&LogMessage::CallEnded(self.number())) {
            self.dispatch.try_close(self.id.clone());
        }
    }
}
