//! The span in which a call is made, which stays open for its tasks.

use crate::engine::{Options, SharedPool};

/// The span of a call, with the feature `tracing`.
#[derive(Clone)]
pub(super) struct SpanOfCall {
    #[cfg(feature = "tracing")]
    span: Option<std::sync::Arc<crate::logs::ParentSpan>>,
    /// The options of the call, if its tasks run on other hosts, whose spans are not known here.
    #[cfg(feature = "cluster")]
    options: crate::remote::RemoteOptions,
}

impl SpanOfCall {
    /// Keeps the current span of this thread open, if the pool forwards spans.
    pub(super) fn current(shared: &SharedPool, options: &Options) -> Self {
        #[cfg(feature = "tracing")]
        let spans = shared.settings.call_spans.as_ref();
        let _ = (shared, options);
        SpanOfCall {
            #[cfg(feature = "tracing")]
            span: spans.and_then(crate::logs::CallSpans::current).map(std::sync::Arc::new),
            #[cfg(feature = "cluster")]
            options: match shared.settings.uses_hosts() {
                true => {
                    let scheduling = &options.scheduling;
                    crate::remote::RemoteOptions::new(scheduling.timeout, scheduling.retries)
                }
                false => crate::remote::RemoteOptions::default(),
            },
        }
    }

    /// Returns the number by which workers name the span; 0 if there is none. In a pool that uses other hosts, it is the
    /// word that contains the options of the call.
    pub(super) fn number(&self) -> u64 {
        #[cfg(feature = "cluster")]
        if self.options.0 != 0 {
            return self.options.0;
        }
        #[cfg(feature = "tracing")]
        let number = self.span.as_ref().map_or(0, |span| span.number());
        #[cfg(not(feature = "tracing"))]
        let number = 0;
        number
    }
}
