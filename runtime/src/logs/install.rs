//! In the worker: the initializer that installs the logger and the subscriber.

use serde::{Deserialize, Serialize};

use super::link::LogSenders;
#[cfg(feature = "tracing")]
use super::subscriber::{DisabledCallsites, TraceForwarder};
use crate::call::{Call, Outcome, Param};
use crate::identity;
use crate::registry::{Place, Registration};

/// The input of the initializer.
#[derive(Serialize, Deserialize)]
pub(super) struct LogSetup {
    pub(super) senders: LogSenders,
    /// The number of the [`log::LevelFilter`] of the caller; 0 if it has no logger.
    pub(super) filter: u8,
    /// The number of the level of the subscriber of the caller, and the callsites that it does not want.
    #[cfg(feature = "tracing")]
    pub(super) traces: Option<(u8, DisabledCallsites)>,
}

/// The type that identifies the initializer in the registry.
pub(super) struct Install;

inventory::submit! {
    Registration::internal::<Install>(
        || "runtime::logs",
        install,
        Place { file: file!(), line: line!(), column: column!(), test: false },
    )
}

/// Installs the logger and the subscriber, unless the process has its own already.
fn install(call: &mut Call<'_>) -> Outcome {
    let setup: LogSetup = Param::take(call, "setup")?;
    call.begin()?;
    let sender = setup.senders.of_worker(identity::worker_id().unwrap_or(0));
    #[cfg(feature = "log")]
    super::forward::install(sender.clone(), setup.filter);
    #[cfg(feature = "tracing")]
    if let Some((level, disabled)) = setup.traces {
        TraceForwarder::install(sender, level, disabled);
    }
    Ok(())
}
