//! The configuration that a worker receives when it starts.
//!
//! The caller writes it to the worker page before the worker exists, in the place of the first big
//! slot. The inputs of the initializers are in a separate file.

use std::io;

use serde::{Deserialize, Serialize};

use crate::codec::Source;
use crate::failure::encoded;
use crate::queue::WorkerPageMap;

/// The configuration of a worker, without its file descriptors.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WorkerConfig {
    /// The worker slot, which is also the number of its bit on the pool page.
    pub(crate) slot: usize,
    /// The id, which is never reused in the pool.
    pub(crate) id: usize,
    /// The nesting depth.
    pub(crate) depth: usize,
    /// The number of lanes of its host; 0 for a worker that has its process for itself.
    pub(crate) lanes: usize,
    /// The number of tasks after which the worker leaves.
    pub(crate) max_tasks: Option<u64>,
    /// The number of bytes of resident private memory above which the worker leaves.
    pub(crate) restart_above: Option<u64>,
    /// The increment of its nice value.
    pub(crate) nice: i32,
    /// The CPU to which the worker is pinned.
    pub(crate) cpu: Option<usize>,
    /// The maximum number of bytes of private memory.
    pub(crate) memory_limit: Option<u64>,
    /// Whether its standard output and standard error are pipes of the caller.
    pub(crate) captures_output: bool,
}

/// The minimum number of bytes below the memory limit that a worker needs after its start.
const LEAST_LEFT: u64 = 256 << 10;

impl WorkerConfig {
    /// Writes the configuration to a worker page whose worker does not exist yet.
    pub(crate) fn write(&self, page: &WorkerPageMap) -> io::Result<()> {
        page.write_first(&encoded(self))
    }

    /// Reads the configuration from the worker page of this worker.
    pub(super) fn read(page: &WorkerPageMap) -> Result<Self, crate::codec::DecodeError> {
        crate::codec::decode(&mut Source::new(&page.read_first()))
    }

    /// Applies the settings to this process.
    pub(super) fn apply(&self) -> io::Result<()> {
        if self.nice != 0 {
            crate::sys::limits::nice(self.nice)?;
        }
        if let Some(cpu) = self.cpu {
            crate::sys::limits::pin(cpu)?;
        }
        if let Some(bytes) = self.memory_limit {
            if let Some(present) =
                crate::sys::limits::data().filter(|data| data + LEAST_LEFT > bytes)
            {
                return Err(io::Error::other(format!(
                    "memory_limit({bytes}) is not enough for a worker, which has {present} bytes \
                     at its start and needs {LEAST_LEFT} more"
                )));
            }
            crate::sys::limits::limit_data(bytes)?;
        }
        Ok(())
    }
}
