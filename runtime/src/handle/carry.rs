//! Encoding and decoding of objects inside of values.
//!
//! serde has no data type for objects. A handle therefore serializes as a newtype struct with a
//! [name](mark::NAME) that the codec recognizes. Only the codec permits objects, and only while it
//! encodes that value. With any other format a handle returns an error instead of an id that nobody
//! could resolve.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::sync::Arc;
use std::thread::LocalKey;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use serde::ser::{Error as _, Serialize, Serializer};

use super::{Object, ObjectId};
use crate::codec::mark;

const FOREIGN: &str = "shared memory and open files pass only as parameters and results of tasks and as inputs of initializers; \
                       they cannot be written anywhere else";

thread_local! {
    /// Whether the encoded value was moved into the call.
    static MOVED: Cell<bool> = const { Cell::new(false) };
    /// Whether more than one worker will decode the encoded value.
    static FOR_MANY: Cell<bool> = const { Cell::new(false) };
    /// The number of objects in [`CARRIED`].
    static COUNT: Cell<usize> = const { Cell::new(0) };
    /// The objects in the values that this thread has encoded and not sent yet.
    static CARRIED: RefCell<Vec<Arc<Object>>> = const { RefCell::new(Vec::new()) };
}

/// Returns whether the values that this thread has encoded contain no object.
#[inline]
pub(crate) fn is_empty() -> bool {
    COUNT.get() == 0
}

/// Takes the objects in the values that this thread has encoded.
#[cold]
pub(crate) fn take() -> Vec<Arc<Object>> {
    COUNT.set(0);
    CARRIED.take()
}

/// Sets a flag of this thread until it is dropped, even if encoding panics.
struct Flag(&'static LocalKey<Cell<bool>>, bool);

impl Flag {
    #[inline]
    fn set(flag: &'static LocalKey<Cell<bool>>, value: bool) -> Self {
        Flag(flag, flag.replace(value))
    }
}

impl Drop for Flag {
    #[inline]
    fn drop(&mut self) {
        self.0.set(self.1);
    }
}

/// The objects of an outer value, which are restored at the end.
struct Outer(Vec<Arc<Object>>);

impl Drop for Outer {
    fn drop(&mut self) {
        // The list is not empty if encoding panicked.
        if !is_empty() {
            drop(take());
        }
        if !self.0.is_empty() {
            COUNT.set(self.0.len());
            CARRIED.set(std::mem::take(&mut self.0));
        }
    }
}

/// Runs code that encodes values, and returns the objects in them.
#[inline]
pub(crate) fn collect<R>(encode: impl FnOnce() -> R) -> (R, Vec<Arc<Object>>) {
    // Encoding an input may make a call on another pool, which encodes its own inputs.
    let _outer = Outer(if is_empty() { Vec::new() } else { take() });
    let _moved = Flag::set(&MOVED, false);
    let outcome = encode();
    (outcome, if is_empty() { Vec::new() } else { take() })
}

/// Encodes an object as a part of a value.
///
/// # Errors
///
/// Fails if the serializer is not that of this crate.
pub(crate) fn encode<S: Serializer>(object: &Arc<Object>, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_newtype_struct(mark::NAME, &Outgoing(object))
}

/// Encodes an object that only one task may have.
///
/// # Errors
///
/// Fails if the serializer is not that of this crate, or if more than one task receives the value.
pub(crate) fn encode_exclusive<S: Serializer>(
    object: &Arc<Object>,
    to: S,
) -> Result<S::Ok, S::Error> {
    if FOR_MANY.get() {
        return Err(S::Error::custom(
            "a `SharedMut` goes to one task alone, not to every worker; split it, or freeze it",
        ));
    }
    if !MOVED.get() {
        return Err(S::Error::custom(
            "a `SharedMut` has to be moved into the call, not passed by reference: its memory is the task's from then on",
        ));
    }
    encode(object, to)
}

/// Encodes a `T` that was moved into the call: nothing borrows from it, and it is dropped
/// afterwards.
///
/// This is not recorded for a `T` smaller than a vector, so that numbers cost nothing.
#[inline(always)]
pub(crate) fn moved<T, R>(encode: impl FnOnce() -> R) -> R {
    if const { size_of::<T>() < size_of::<Vec<u8>>() } {
        return encode();
    }
    let _moved = Flag::set(&MOVED, true);
    encode()
}

/// Encodes a value that more than one worker will decode.
pub(crate) fn for_many<R>(encode: impl FnOnce() -> R) -> R {
    let _for_many = Flag::set(&FOR_MANY, true);
    encode()
}

/// Adds the objects of a part that was encoded before.
pub(crate) fn carry_again(objects: &[Arc<Object>]) {
    COUNT.set(COUNT.get() + objects.len());
    CARRIED.with_borrow_mut(|carried| carried.extend(objects.iter().cloned()));
}

/// Decodes an object.
///
/// # Errors
///
/// Fails if the deserializer is not that of this crate, or if the object does not exist any more.
pub(crate) fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Object>, D::Error> {
    from.deserialize_newtype_struct(mark::NAME, IncomingVisitor)
}

/// An object, as an element of a tuple.
pub(crate) struct EncodedObject<'a>(pub(crate) &'a Arc<Object>);

impl Serialize for EncodedObject<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        encode(self.0, to)
    }
}

/// A decoded object.
pub(crate) struct DecodedObject(pub(crate) Arc<Object>);

impl<'de> Deserialize<'de> for DecodedObject {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        decode(from).map(DecodedObject)
    }
}

struct Outgoing<'a>(&'a Arc<Object>);

impl Serialize for Outgoing<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if !mark::take() {
            return Err(S::Error::custom(FOREIGN));
        }
        CARRIED.with_borrow_mut(|carried| {
            // Several locks share one object.
            if carried.last().is_none_or(|last| !Arc::ptr_eq(last, self.0)) {
                carried.push(Arc::clone(self.0));
                COUNT.set(COUNT.get() + 1);
            }
        });
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::codec;

    struct Exclusive(Arc<Object>);

    impl Serialize for Exclusive {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            encode_exclusive(&self.0, to)
        }
    }

    /// Encodes an object, and returns whether it was refused.
    fn refused(object: &Arc<Object>) -> bool {
        let mut bytes = Vec::new();
        let mut sink = codec::Sink::over(&mut bytes);
        collect(|| codec::encode(&Exclusive(Arc::clone(object)), &mut sink)).0.is_err()
    }

    fn encoded(object: &Arc<Object>) {
        let mut bytes = Vec::new();
        let mut sink = codec::Sink::over(&mut bytes);
        assert!(codec::encode(&EncodedObject(object), &mut sink).is_ok());
    }

    #[test]
    fn a_panic_leaves_no_trace() {
        let object = Object::new(Vec::new()).unwrap();
        let fail = || {
            for_many(|| {
                collect(|| {
                    moved::<[u64; 8], _>(|| {
                        encoded(&object);
                        panic!("while it is encoded")
                    })
                })
            })
        };
        let _: Result<((), _), _> = catch_unwind(AssertUnwindSafe(fail));
        assert!(is_empty());
        assert!(refused(&object), "it was not moved");
        assert!(!FOR_MANY.get() && !MOVED.get());
        assert_eq!(Arc::strong_count(&object), 1);
    }

    #[test]
    fn what_an_input_encodes_for_itself_is_not_its_own() {
        let (outer, inner) = (Object::new(Vec::new()).unwrap(), Object::new(Vec::new()).unwrap());
        let ((), carried) = collect(|| {
            encoded(&outer);
            let ((), nested) = moved::<[u64; 8], _>(|| {
                collect(|| {
                    assert!(refused(&inner), "only the outer value was moved");
                    encoded(&inner);
                })
            });
            assert!(nested.iter().all(|object| Arc::ptr_eq(object, &inner)) && nested.len() == 1);
            encoded(&outer);
        });
        assert!(carried.iter().all(|object| Arc::ptr_eq(object, &outer)) && carried.len() == 1);
    }
}
