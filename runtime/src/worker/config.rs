//! The configuration that a worker receives when it starts.
//!
//! The caller writes it to the worker page before the worker exists, in the place of the first big
//! slot. The inputs of the initializers are in a separate file.

use std::io;

use serde::{Deserialize, Serialize};

use crate::codec::Source;
use crate::failure::encoded;
use crate::queue::WorkerPageMap;

/// Everything a worker needs to know that is no file descriptor.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct WorkerConfig {
    /// Its slot in the pool: its bit on the pool page.
    pub(crate) slot: usize,
    /// The id, which no other worker of the pool ever has.
    pub(crate) id: usize,
    /// The nesting depth.
    pub(crate) depth: usize,
    /// Leaves after this many tasks.
    pub(crate) max_tasks: Option<u64>,
    /// Leaves when it has more bytes of private memory in RAM than this.
    pub(crate) restart_above: Option<u64>,
    /// Added to its nice value.
    pub(crate) nice: i32,
    /// The only CPU it shall run on.
    pub(crate) cpu: Option<usize>,
    /// Bytes of private memory it may have.
    pub(crate) memory_limit: Option<u64>,
    /// Its standard output and standard error are pipes of the caller.
    pub(crate) captures_output: bool,
}

/// What a worker needs for itself after its start, of the memory that it may have.
const LEAST_LEFT: u64 = 256 << 10;

impl WorkerConfig {
    /// Writes it to a worker page that no worker has yet.
    pub(crate) fn write(&self, page: &WorkerPageMap) -> io::Result<()> {
        page.write_first(&encoded(self))
    }

    /// Reads it from the worker's own worker page.
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
