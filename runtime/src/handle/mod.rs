//! Handles as values: objects of the operating system inside of encoded values.
//!
//! Memory, pipe ends and sockets are named by descriptors, and a descriptor means something in one
//! process only. A value that holds one therefore encodes the id of its [`Object`], and the descriptors
//! travel beside the bytes, over a socket pair of the worker and its caller. No object has a name in a
//! file system, and the kernel frees it with its last holder.
//!
//! # Rules
//!
//! - **H1.** The bytes of a value hold the [id](ObjectId) of each object in it: 128 random bits, drawn when the
//!   object is made. An id alone opens nothing.
//! - **H2.** A process has each object at most once. Decoding an id that is alive in the process
//!   makes another reference to the same object.
//! - **H3.** An object in transit always has a holder: the caller for as long as it keeps the encoded
//!   input ([`Exports`]), the buffer of a socket, or the process that read it from there.
//! - **H4.** A worker that decodes an id which its process does not have asks its caller over its
//!   [`ObjectLink`]. The caller sends the descriptors if the object belongs to an input that is in flight in the
//!   pool of this worker, or to the input of one of its initializers, and nothing else. The inputs of preloads are decoded in a server:
//!   a forkserver is sent their objects when it is set up, and a template has them in its memory.
//! - **H5.** A worker sends the objects of an output, then writes their number to its ring (HELD), then the output. The
//!   caller reads as many objects from the link as the number says. If the worker ends in between, the caller gets neither. A
//!   worker that cannot send all of them leaves, so that none is taken for a part of a later output.
//! - **H6.** What comes from a worker is not trusted: memory is mapped only if it is sealed against
//!   resizing, every offset and length in a value is checked against the size of the object, and at most
//!   [`MOST_HELD`] objects belong to one output.
//! - **H7.** The table of living objects is not inherited by a forked process. The descriptors are, as far as the start
//!   method passes on what the program has open. An exception are *connections*, whose last holder others wait for: the ends of
//!   channels. A process that the library forks from the caller has their numbers and not the
//!   files, and their values in its memory refuse to work. It keeps those in the inputs of its preloads, as
//!   [duplicates](Object::adopt), and passes these on to what is forked from it.

mod carry;
mod exports;
mod fetch;
mod kept;
mod link;
mod object;

pub(crate) use carry::{
    DecodedObject, EncodedObject, collect, decode, encode, encode_exclusive, for_many, is_empty,
    moved, take,
};
pub(crate) use exports::{Exports, Offer};
pub(crate) use fetch::set_source;
pub(crate) use kept::{keep, keeps_nothing, let_go};
pub(crate) use link::{MOST_HELD, ObjectLink, ObjectQueue, Received, TOO_MANY, give, read};
pub(crate) use object::{Object, ObjectId, connections, disconnect};
