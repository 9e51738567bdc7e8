#![doc = include_str!("PROTOCOL.md")]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the queues need the address space of a 64-bit machine");

mod arena;
mod bar_slots;
mod claims;
mod header;
#[cfg(all(test, any(loom, miri)))]
mod models;
mod output_marks;
mod payload;
mod pool_page;
mod ring;
mod small;
mod sources;
mod spread;
mod tasks;
mod timing;
mod worker_page;

pub(crate) use arena::{Arena, Block};
#[cfg(feature = "progress")]
pub(crate) use bar_slots::{BARS, BarReport, BarState};
pub(crate) use claims::{ClaimOwner, Claims};
pub(crate) use header::{Header, INLINE_LEN, Kind, words_in_run};
pub(crate) use output_marks::{MarkedInput, OutputMark, OutputMarks};
pub(crate) use payload::{Big, Encoded, OutputBuffer, PayloadBuffer, bytes_of};
pub(crate) use pool_page::{PoolPage, Waiting, Wake};
pub(crate) use ring::{Consumer, Malformed, Producer, Ring};
pub(crate) use spread::Spread;
pub(crate) use tasks::{Descriptor, LENGTHS, Tasks};
pub(crate) use timing::{Timing, Usage};
pub(crate) use worker_page::{BIG_SLOTS, Phase, Started, WorkerPage, WorkerPageMap};

/// Returns a size for a model of loom, for Miri, or for a program. Models and Miri need small memory, because they
/// follow every step.
const fn sized(model: usize, miri: usize, program: usize) -> usize {
    if cfg!(all(test, loom)) {
        model
    } else if cfg!(miri) {
        miri
    } else {
        program
    }
}

/// Chunks that can be published and not yet reused (rule Q3).
pub(crate) const SLOTS: usize = sized(2, 16, 1024);

/// Workers a pool can have at a time: the bits of the pool page.
pub(crate) const MAX_WORKERS: usize = sized(64, 64, 1024);

/// Positions at or over this one are direct chunks: for one worker only.
pub(crate) const DIRECT: u64 = 1 << 46;
