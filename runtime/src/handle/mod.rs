//! Handles as values: objects of the operating system inside of encoded values.
//!
//! Memory, pipe ends and sockets are named by descriptors, and a descriptor means something in one
//! process only. A [`Handle`] therefore encodes as the id of its [`Object`], and the descriptors
//! travel beside the bytes, over sockets that connect exactly two sides. No object has a name in a
//! file system, and the kernel frees it with its last holder.
//!
//! # Rules
//!
//! - **H1.** The bytes of a value hold the [id](ObjectId) of each object in it: 128 random bits, given when the
//!   object is made. An id alone opens nothing.
//! - **H2.** A process has each object at most once; decoding an id that is alive in the process
//!   makes another handle to the same object.
//! - **H3.** An object that is on its way is held by someone who lives: by the caller as long as it holds the encoded
//!   input ([`Exports`]), by the kernel in the buffer of a socket, or by whoever read it there.
//! - **H4.** A worker that decodes an id which its process does not have asks its caller, over its
//!   control socket. The caller gives it the descriptors if the object is part of
//!   an input that is in flight in the pool of this worker, or of an initializer. It gives nothing else: a worker gets to
//!   what the pool was handed, and to nothing that it could guess.
//! - **H5.** A worker sends the descriptors of an output before it writes the output to its ring. The
//!   caller reads as many messages from the control socket as the output says, so that
//!   both arrive together or, if the worker ends in between, not at all.
//! - **H6.** What comes from a worker is not trusted: memory is mapped only if it is sealed against
//!   resizing, and every offset and length in a value is held against the size of the object.
//! - **H7.** A forked copy of a process has none of its objects. A template closes their descriptors
//!   like all others of this library (rule L7), so that it cannot keep a channel connected.

mod carry;
mod exports;
mod fetch;
mod kept;
mod link;
mod object;

pub(crate) use carry::{
    Inward, OWNER, Outward, collect, decode, encode, encode_exclusive, for_many, is_empty, owned,
    take,
};
pub(crate) use exports::{Exports, Offer};
pub(crate) use fetch::set_source;
pub(crate) use kept::{keep, keeps_nothing, let_go};
pub(crate) use link::{Link, MOST_HELD, Received, Shelf, TOO_MANY, give, read};
pub(crate) use object::{Kind, Object, ObjectId};
