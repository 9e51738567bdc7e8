//! Memory that processes share: arrays that are read or written where they lie.
//!
//! # Rules
//!
//! - **M1.** The memory of an object exists when it is made, and its size is fixed: no access can fail.
//! - **M2.** Nobody writes to the memory behind a [`Shared`]. It is made from a [`SharedMut`] that covers the whole object,
//!   or from nothing, and then the kernel is asked to refuse all further writes and writable mappings of it.
//! - **M3.** Behind a [`SharedMut`] the memory from its first to its last byte belongs to one value in one process. A
//!   value that is encoded is dead where it was; the one that is decoded takes its place. What more than one worker
//!   decodes, an input of an initializer or a broadcast, cannot hold a `SharedMut`.
//! - **M4.** Ranges that are writable in this process are [claimed](claims); a range that overlaps a claimed one is not decoded. So
//!   not even a worker thread that was left behind by a timeout shares its part with a retry.
//! - **M5.** `T: Pod` has no invalid values and no padding: what another process left there is a value.
//! - **M6.** Lengths and offsets that were decoded are held against the size of the object and the alignment of `T`.
//!
//! By M2 and M3 a reference into the memory is never invalidated by a process that runs safe code of this build. A process that
//! was handed a `SharedMut` and then breaks the rules by other means (a worker whose native code overwrites memory) can change what it
//! was handed, and nothing else.

mod claims;
mod exclusive;
mod frozen;
mod pod;
mod region;

pub use exclusive::SharedMut;
pub use frozen::Shared;
pub use pod::Shareable;
