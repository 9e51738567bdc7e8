//! The span in which a call is made, which stays open for its tasks.

use crate::engine::SharedPool;

/// The span of a call, with the feature `tracing`.
#[derive(Clone)]
pub(super) struct SpanOfCall {
    #[cfg(feature = "tracing")]
    span: Option<std::sync::Arc<crate::logs::ParentSpan>>,
}

impl SpanOfCall {
    /// Keeps the current span of this thread open, if the pool forwards spans.
    pub(super) fn current(shared: &SharedPool) -> Self {
        #[cfg(feature = "tracing")]
        let spans = shared.settings.call_spans.as_ref();
        #[cfg(not(feature = "tracing"))]
        let _ = shared;
        SpanOfCall {
            #[cfg(feature = "tracing")]
            span: spans.and_then(crate::logs::CallSpans::current).map(std::sync::Arc::new),
        }
    }

    /// Returns the number by which workers name the span; 0 if there is none.
    pub(super) fn number(&self) -> u64 {
        #[cfg(feature = "tracing")]
        let number = self.span.as_ref().map_or(0, |span| span.number());
        #[cfg(not(feature = "tracing"))]
        let number = 0;
        number
    }
}
