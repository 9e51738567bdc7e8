//! Memory that processes share: arrays that are read or written where they lie.
//!
//! # Rules
//!
//! - **M1.** All pages of an object exist when it is made, and its size is sealed: no access to a mapping can fail.
//! - **M2.** Nobody writes to the memory behind a [`Shared`]. Freezing consumes the [`SharedMut`] of that memory and unmaps it. If
//!   it was the whole object, the kernel is asked to refuse all further writes or, where another process is still
//!   about to unmap its part, all further mappings for writing. A text must be sealed against writes when it is decoded, because bytes that
//!   change might be no text any more.
//! - **M3.** The memory behind a [`SharedMut`] belongs to one value in one process. A value must be moved into the call that
//!   encodes it, and is dead from then on; the decoded value takes its place. What more than one worker
//!   decodes, an input of an initializer, a preload or a broadcast, cannot hold a `SharedMut`.
//! - **M4.** Ranges that are writable in this process are [claimed](claims), and a range that overlaps a claimed one is not decoded. So
//!   not even a worker thread that was left behind by a timeout shares its part with a retry.
//! - **M5.** A `T: Pod` has no invalid values and no padding: whatever bytes another process left are a value.
//! - **M6.** Lengths and offsets that were decoded are checked against the size of the object and the alignment of `T`.
//!
//! By M2 and M3, memory under a reference does not change as long as all processes run safe code of this build. Two gaps are known. A
//! `Serialize` implementation written by hand can reach a `SharedMut` through an `Arc` while a slice of it is borrowed. And a process that
//! was handed a `SharedMut`, or made the memory of a `Shared<[T]>`, can keep a mapping and write to it by native code; by M5 and M6 the others then see
//! other values, in the memory that this process was handed or made and nowhere else.

mod claims;
mod exclusive;
mod frozen;
mod pod;
mod region;

pub use exclusive::SharedMut;
pub use frozen::Shared;
pub use pod::Shareable;
