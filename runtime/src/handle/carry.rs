//! How an object gets into the bytes of a value and out of them again.
//!
//! serde has no place for objects. A handle therefore serializes as a newtype struct of a
//! [name](mark::NAME) that the codec knows. Only the codec says, for the time of this one value, that objects can
//! be carried; any other format gets an error instead of an id that nobody could resolve.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Object, ObjectId};
use crate::codec::mark;

const FOREIGN: &str = "a handle (shared memory, a channel, a lock, a file) passes only as a parameter or result of a task, \
                       through a channel, or to an actor; it cannot be written anywhere else";

thread_local! {
    /// What is encoded is nobody else's.
    static OWNED: Cell<bool> = const { Cell::new(false) };
    /// More than one worker will decode what is encoded.
    static FOR_MANY: Cell<bool> = const { Cell::new(false) };
    /// How many objects are in [`CARRIED`].
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// The objects in what was encoded on this thread and not sent yet.
    static CARRIED: RefCell<Vec<Arc<Object>>> = const { RefCell::new(Vec::new()) };
}

/// Whether nothing that was encoded on this thread holds an object.
#[inline]
pub(crate) fn is_empty() -> bool {
    COUNT.get() == 0
}

/// Takes the objects in what was encoded on this thread.
#[cold]
pub(crate) fn take() -> Vec<Arc<Object>> {
    COUNT.set(0);
    CARRIED.take()
}

/// Runs code that encodes, and returns the objects in what it encoded.
#[inline]
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Vec<Arc<Object>>) {
    // An input may encode others, for a pool of its own.
    let outer = if is_empty() { Vec::new() } else { take() };
    let (owned, for_many) = (OWNED.take(), FOR_MANY.get());
    let outcome = encode();
    OWNED.set(owned);
    FOR_MANY.set(for_many);
    let carried = if is_empty() { Vec::new() } else { take() };
    if !outer.is_empty() {
        COUNT.set(outer.len());
        CARRIED.set(outer);
    }
    (outcome, carried)
}

/// Encodes an object as a part of a value.
///
/// # Errors
///
/// If the serializer is not that of this crate.
pub(crate) fn encode<S: Serializer>(object: &Arc<Object>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_newtype_struct(mark::NAME, &Outgoing(object))
}

/// Encodes an object that one task alone may have.
///
/// # Errors
///
/// If the serializer is not that of this crate, or the value is for more than one task.
pub(crate) fn encode_exclusive<S: Serializer>(
    object: &Arc<Object>,
    to: S,
) -> Result<S::Ok, S::Error> {
    if !OWNED.get() {
        return Err(S::Error::custom(
            "a `SharedMut` has to be moved into the call, not passed by reference: its memory is the task's from then on",
        ));
    }
    if FOR_MANY.get() {
        return Err(S::Error::custom(
            "a `SharedMut` goes to one task alone, not to every worker; split it, or share it frozen",
        ));
    }
    encode(object, to)
}

/// Values of fewer bytes are not looked into for what is [owned]: numbers should not pay for it, and
/// a vector is no smaller.
pub(crate) const OWNER: usize = size_of::<Vec<u8>>();

/// Encodes a value that nobody can borrow from, and that is dropped afterwards.
#[inline]
pub(crate) fn owned<R>(encode: impl FnOnce() -> R) -> R {
    OWNED.set(true);
    let outcome = encode();
    OWNED.set(false);
    outcome
}

/// Encodes a value that more than one worker will decode.
pub(crate) fn for_many<R>(encode: impl FnOnce() -> R) -> R {
    let outer = FOR_MANY.replace(true);
    let outcome = encode();
    FOR_MANY.set(outer);
    outcome
}

/// Decodes an object.
///
/// # Errors
///
/// If the deserializer is not that of this crate, or the object cannot be had any more.
pub(crate) fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Object>, D::Error> {
    from.deserialize_newtype_struct(mark::NAME, IncomingVisitor)
}

/// An object as an element of a tuple.
pub(crate) struct Outward<'a>(pub(crate) &'a Arc<Object>);

impl Serialize for Outward<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        encode(self.0, to)
    }
}

/// The same, decoded.
pub(crate) struct Inward(pub(crate) Arc<Object>);

impl<'de> Deserialize<'de> for Inward {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        decode(from).map(Inward)
    }
}

struct Outgoing<'a>(&'a Arc<Object>);

impl Serialize for Outgoing<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !mark::take() {
            return Err(S::Error::custom(FOREIGN));
        }
        CARRIED.with_borrow_mut(|carried| carried.push(Arc::clone(self.0)));
        COUNT.set(COUNT.get() + 1);
        to.serialize_bytes(self.0.id().as_bytes())
    }
}

struct IncomingVisitor;

impl<'de> Visitor<'de> for IncomingVisitor {
    type Value = Arc<Object>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a handle")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, from: D) -> Result<Arc<Object>, D::Error> {
        if !mark::take() {
            return Err(D::Error::custom(FOREIGN));
        }
        let id = Id::deserialize(from)?.0;
        super::fetch::find(id).map_err(D::Error::custom)
    }
}

struct Id(ObjectId);

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Id;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of an object")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Id, E> {
                let id = ObjectId::from_bytes(bytes);
                id.map(Id).ok_or_else(|| E::custom("the id of an object has 16 bytes"))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Id, E> {
                self.visit_bytes(&bytes)
            }
        }
        from.deserialize_bytes(Bytes)
    }
}
