//! Numbers whose memory representation is their encoding, and the recognition of slices and vectors of
//! them inside serde.
//!
//! serde has no data type for a slice of `f64`, only sequences. However, the types of its generic
//! parameters identify slices:
//!
//! - Slices, vectors, boxes and `Cow`s of slices, and `Arc`s with serde's feature `rc`, all serialize by
//!   `collect_seq(&[S])` or `collect_seq(&Vec<S>)`. The type of the iterable therefore identifies them.
//! - They all deserialize by `deserialize_seq(visitor)` with the same visitor, which is private to
//!   `Vec<S>`. Deserializing a `Vec<S>` from a [`Probe`] reveals the type of this visitor. Visitors of
//!   other code that build a `Vec<S>` have another type and are not affected.
//!
//! All this is known at compile time, so that an optimized build contains only the copy.
#![allow(
    unsafe_code,
    reason = "reinterprets values between types that were found to be the same type"
)]

use std::any::TypeId;
use std::fmt;
use std::mem::{ManuallyDrop, transmute_copy};
use std::ptr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::error::DecodeError;
use super::source::{PlainNumber, Source};
use bincode::de::read::Reader as _;

macro_rules! plain {
    ($($number:ty)*) => {$(
        // SAFETY: a primitive number has neither padding nor invalid values, and the format is
        // fixed-width little endian.
        unsafe impl PlainNumber for $number {
            const UNIT: &'static str = concat!("elements of type ", stringify!($number));
        }
    )*};
}

/// Calls the macro `$each` with all plain types. `usize` is one of them only if it has the same width as
/// in the format.
macro_rules! with_plain {
    ($each:ident) => {
        $each! { u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 f32 f64 }
        #[cfg(target_pointer_width = "64")]
        $each! { usize isize }
    };
}

with_plain!(plain);

/// The bits of a count that contain the length of the padding after it.
const PADDING_SHIFT: u32 = 56;

/// Splits the header of a sequence into the number of its elements and the length of the padding.
#[inline]
pub(super) fn unpadded(word: u64) -> (u64, usize) {
    (word & ((1 << PADDING_SHIFT) - 1), (word >> PADDING_SHIFT) as usize)
}

/// Returns the header of a sequence with a padding of at most 15 bytes.
#[inline]
pub(super) fn padded(count: u64, padding: usize) -> u64 {
    count | (padding as u64) << PADDING_SHIFT
}

/// Returns a reference to a sequence of plain numbers and skips it, if `T` is one of them and the source
/// permits references.
#[inline]
pub(super) fn borrow<'a, T>(source: &mut Source<'a>) -> Option<&'a [T]> {
    macro_rules! attempt {
        ($($number:ty)*) => {$(
            if same::<T, $number>() {
                let slice = borrow_plain::<$number>(source)?;
                // SAFETY: `T` is `$number`, a type without lifetimes.
                return Some(unsafe { std::slice::from_raw_parts(slice.as_ptr().cast(), slice.len()) });
            }
        )*};
    }
    if cfg!(target_endian = "little") {
        with_plain!(attempt);
    }
    None
}

#[inline]
fn borrow_plain<'a, S: PlainNumber>(source: &mut Source<'a>) -> Option<&'a [S]> {
    let mut behind = source.again();
    let mut word = [0; 8];
    behind.read(&mut word).ok()?;
    let (count, padding) = unpadded(u64::from_le_bytes(word));
    behind.skip(padding)?;
    let slice = behind.borrow(count)?;
    *source = behind;
    Some(slice)
}

/// Returns the count, the encoded elements and the alignment of `iterable`, if it is a slice or vector
/// of plain numbers.
#[inline]
pub(super) fn bytes_of<I>(iterable: &I) -> Option<(u64, &[u8], usize)> {
    macro_rules! attempt {
        ($($number:ty)*) => {$(
            if let Some(items) = slice_of::<I, $number>(iterable) {
                // SAFETY: the elements are `PlainNumber`, so all their bytes are initialized.
                let bytes = unsafe {
                    std::slice::from_raw_parts(items.as_ptr().cast(), size_of_val(items))
                };
                return Some((items.len() as u64, bytes, align_of::<$number>()));
            }
        )*};
    }
    if cfg!(target_endian = "little") {
        with_plain!(attempt);
    }
    None
}

#[inline]
fn slice_of<'i, I, S: PlainNumber>(iterable: &'i I) -> Option<&'i [S]> {
    if same::<I, &[S]>() {
        // SAFETY: `I` is `&[S]` with a lifetime of at least `'i`.
        Some(unsafe { *ptr::from_ref(iterable).cast::<&'i [S]>() })
    } else if same::<I, &Vec<S>>() {
        // SAFETY: `I` is `&Vec<S>` with a lifetime of at least `'i`.
        Some(unsafe { *ptr::from_ref(iterable).cast::<&'i Vec<S>>() })
    } else {
        None
    }
}

/// Reads `count` elements in one copy, if `V` is the visitor of a `Vec` of plain numbers.
#[inline]
pub(super) fn read<'de, V: Visitor<'de>>(
    source: &mut Source<'_>,
    count: u64,
) -> Option<Result<V::Value, DecodeError>> {
    macro_rules! attempt {
        ($($number:ty)*) => {$(
            if same::<V::Value, Vec<$number>>() && Probe::visitor::<Vec<$number>>() == Some(typeid::of::<V>()) {
                return Some(match source.read_vec::<$number>(count) {
                    Ok(values) => {
                        let values = ManuallyDrop::new(values);
                        // SAFETY: `V::Value` is `Vec<$number>`, a type without lifetimes, and the
                        // original is not dropped.
                        Ok(unsafe { transmute_copy::<Vec<$number>, V::Value>(&values) })
                    }
                    Err(error) => Err(error),
                });
            }
        )*};
    }
    if cfg!(target_endian = "little") {
        with_plain!(attempt);
    }
    None
}

/// Returns whether `A` and `B` are the same type, ignoring lifetimes.
#[inline(always)]
fn same<A, B>() -> bool {
    size_of::<A>() == size_of::<B>() && typeid::of::<A>() == typeid::of::<B>()
}

/// A deserializer that only finds out the type of the visitor with which it is called.
struct Probe;

/// The "error" of a [`Probe`], which contains that type.
#[derive(Debug)]
struct Learned(Option<TypeId>);

impl Probe {
    /// Returns the type of the visitor with which `T` deserializes a sequence.
    #[inline]
    fn visitor<T: for<'de> Deserialize<'de>>() -> Option<TypeId> {
        T::deserialize(Probe).err().and_then(|learned| learned.0)
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Learned;

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Learned> {
        Err(Learned(Some(typeid::of::<V>())))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Learned> {
        Err(Learned(None))
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl de::Error for Learned {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Learned(None)
    }
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a value")
    }
}

impl std::error::Error for Learned {}
