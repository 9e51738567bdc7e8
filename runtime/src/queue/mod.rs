#![doc = include_str!("PROTOCOL.md")]

#[cfg(not(target_pointer_width = "64"))]
compile_error!("the queues need the address space of a 64-bit machine");

mod arena;
mod board;
mod claims;
mod desk;
#[cfg(all(test, any(loom, miri)))]
mod models;
mod payload;
mod ring;
mod small;
mod spread;
mod tasks;

pub(crate) use arena::{Arena, Block};
pub(crate) use board::{Board, Waiting, Wake};
pub(crate) use claims::{Claims, Owner};
pub(crate) use desk::{BIG_SLOTS, DeskMap, Phase, Started};
pub(crate) use payload::{Big, Encoded, Output, Payload, bytes_of};
pub(crate) use ring::{Consumer, Header, INLINE_LEN, Kind, Producer, Ring, Violation};
pub(crate) use spread::Spread;
pub(crate) use tasks::{Descriptor, Tasks};

/// A size in a model of loom, under Miri, and in a program: where every step is
/// followed, memory is to be small.
const fn sized(model: usize, miri: usize, program: usize) -> usize {
    if cfg!(loom) {
        model
    } else if cfg!(miri) {
        miri
    } else {
        program
    }
}

/// Chunks that can be published and not yet reused (rule 3).
pub(crate) const SLOTS: usize = sized(2, 16, 1024);

/// Workers a pool can have at a time: the bits of the board.
pub(crate) const MAX_WORKERS: usize = sized(64, 64, 1024);

/// Positions at or over this one are direct chunks: for one worker only.
pub(crate) const DIRECT: u64 = 1 << 46;
