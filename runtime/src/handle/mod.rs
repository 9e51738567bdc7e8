//! Objects of the operating system inside of encoded values.
//!
//! Memory, pipes and sockets are identified by descriptors, which are valid only in one process. A
//! value that contains one therefore encodes the id of its [`Object`], and the descriptors are sent
//! separately, through a socket pair between the worker and its caller. No object has a name in a file
//! system, and the kernel frees it when its last holder closes it.
//!
//! # Rules
//!
//! - **H1.** The bytes of a value contain the [id](ObjectId) of each object in it, which consists of 128
//!   random bits that are drawn when the object is created. An id alone gives no access.
//! - **H2.** A process has each object at most once. Decoding the id of an object that exists in the
//!   process creates another reference to the same object.
//! - **H3.** An object in transit always has a holder: the caller for as long as it keeps the encoded
//!   input ([`Exports`]), the buffer of a socket, or the process that read it from there.
//! - **H4.** A worker that decodes an unknown id requests the object from its caller through its
//!   [`ObjectLink`]. The caller sends the descriptors only if the object belongs to an input that is in
//!   flight in the pool of this worker, or to the input of one of its initializers. The inputs of
//!   preloads are decoded in a server: a forkserver receives their objects when it is set up, and a
//!   template has them in its memory. A template that is made by a refork receives the objects of the
//!   initializers with the request.
//! - **H5.** A worker sends the objects of an output, then writes their number to its ring (HELD), and
//!   then writes the output. The caller reads that number of objects from the link. If the worker ends
//!   in between, the caller receives neither the objects nor the output. A worker that cannot send all
//!   objects leaves, so that no object is mistaken for a part of a later output.
//! - **H6.** Data from a worker is not trusted. Memory is mapped only if it is sealed against resizing,
//!   every offset and length in a value is checked against the size of the object, and an output has at
//!   most [`MOST_HELD`] objects.
//! - **H7.** A forked process does not inherit the table of objects. It does inherit descriptors, to the
//!   extent that the start method passes on open files. *Connections* are an exception: other processes
//!   wait for the end of their last holder, as with the ends of channels. In a process that the library
//!   forks from the caller, their numbers refer to nothing, and their values refuse to work. The inputs
//!   of its preloads are the exception to that: the process keeps their connections as
//!   [duplicates](Object::adopt), and passes these on to the processes that are forked from it.

/// What a value with an object contains, and why it does not reach another host.
#[cfg(feature = "cluster")]
pub(crate) const ON_ONE_HOST: &str = "a handle (`Fd`, `Shared`, `SharedMut`, a lock, an end of a channel or a proxy), \
                                      which cannot leave its host; pass the value itself";

mod carry;
mod exports;
mod fetch;
mod kept;
mod link;
mod object;

pub(crate) use carry::{
    DecodedObject, EncodedObject, carry_again, collect, decode, encode, encode_exclusive, for_many,
    is_empty, moved, take,
};
pub(crate) use exports::{Exports, Offer};
pub(crate) use fetch::set_source;
pub(crate) use kept::{keep, keeps_nothing, let_go};
pub(crate) use link::{MOST_HELD, ObjectLink, ObjectQueue, Received, TOO_MANY, give, read};
pub(crate) use object::{Object, ObjectId, connections, disconnect};
