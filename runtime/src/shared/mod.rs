//! Arrays in memory that processes share, which are read and written in place.
//!
//! # Rules
//!
//! - **M1.** All pages of an object are allocated when it is created, and its size is sealed. Access to
//!   a mapping therefore cannot fail.
//! - **M2.** Nobody writes to the memory of a [`Shared`]. Freezing consumes the [`SharedMut`] of that
//!   memory and unmaps it. If it was the whole object, the kernel is asked to refuse all further
//!   writes; if another process still has to unmap its part, the kernel is asked to refuse new writable
//!   mappings instead. A string must be sealed against writes when it is decoded, because bytes that
//!   change might not be UTF-8 any more.
//! - **M3.** The memory of a [`SharedMut`] belongs to one value in one process. A value must be moved
//!   into the call that encodes it. After that it is unusable, and the decoded value replaces it. The
//!   inputs of initializers, preloads and broadcasts cannot contain a `SharedMut`, because more than
//!   one worker decodes them.
//! - **M4.** Ranges that are writable in this process are [claimed](claims), and a range that overlaps
//!   a claimed one is not decoded. A worker thread that was abandoned after a timeout therefore does not
//!   share its part with a retry.
//! - **M5.** A `T: Pod` has neither invalid values nor padding, so that any bytes that another process
//!   has written are a value.
//! - **M6.** Decoded lengths and offsets are checked against the size of the object and the alignment of
//!   `T`.
//!
//! By M2 and M3, memory behind a reference does not change as long as all processes run safe code of
//! this build. Two gaps are known:
//!
//! - A hand-written `Serialize` implementation can reach a `SharedMut` through an `Arc` while a slice of
//!   it is borrowed.
//! - A process that has received a `SharedMut`, or has created the memory of a `Shared<[T]>`, can keep a
//!   mapping and write to it by native code. By M5 and M6 other processes then read other values, but
//!   only in the memory that this process has received or created.

mod claims;
mod exclusive;
mod frozen;
mod pod;
mod region;

pub use exclusive::SharedMut;
pub use frozen::Shared;
pub use pod::Shareable;
