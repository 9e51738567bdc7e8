//! Encoding and decoding of values. Only this module knows the wire format.
//!
//! # Format
//!
//! The format is that of bincode 2.0.1 with fixed-width little-endian integers, except for the counts of
//! [fields](form). It is not self-describing, because both ends are the same build and know the types.
//!
//! | value | bytes |
//! |---|---|
//! | `bool`, integers, floats | their width, little endian; `usize` and `isize` as 8 bytes |
//! | `char` | its UTF-8 bytes, 1 to 4 |
//! | `str`, bytes | count of bytes as `u64`, the bytes |
//! | sequence | count of elements as `u64`, whose upper byte is the length of a padding that follows, then each |
//! | map | count of entries as `u64`, then each |
//! | tuple, array | each element in order |
//! | newtype struct | its value |
//! | struct, tuple struct | count of fields as `u8`, then each in order |
//! | `Option` | `0u8`, or `1u8` and the value |
//! | enum | a `u32`, index of the variant and count of its fields, then each in order |
//! | `()`, unit struct | nothing |
//!
//! Padding precedes only slices of numbers in the inputs of tasks. It aligns them, so that a parameter can
//! refer to them.
//!
//! bincode reads the scalars, and writes `char` and 128-bit integers. The wrappers around it ([`ser`],
//! [`de`]) traverse the value themselves, for three reasons:
//!
//! 1. **Speed of plain data.** serde passes the elements of a `Vec<f64>` one by one. Slices and vectors of
//!    numbers ([`plain`]) are copied as a whole instead, at any depth of a value. The bytes are the same;
//!    the tests compare them with those of bincode.
//! 2. **Trust.** Every count is compared with the remaining bytes before memory is allocated for it. The
//!    numbers of elements without bytes ([`EMPTY_ELEMENTS`]) and of nested levels ([`DEPTH`]) are
//!    limited. Another process may be writing to the encoded bytes, so everything is copied first and
//!    validated afterwards ([`source`]).
//! 3. **Unsupported types.** Values that this format cannot carry, such as those with
//!    `#[serde(flatten)]` or with a field left out by `skip_serializing`, are refused with a reason
//!    instead of being misread later.

mod de;
mod error;
mod form;
pub(crate) mod mark;
mod plain;
mod ser;
mod sink;
mod source;
#[cfg(test)]
mod tests;

pub(crate) use de::DecodedSlice;
pub(crate) use error::{DecodeError, EncodeError};
pub(crate) use sink::Backing;
pub(crate) use sink::Sink;
pub(crate) use source::Source;

use form::Form;

use bincode::config::{Configuration, Fixint, LittleEndian, legacy};
use serde::Deserialize;
use serde::Serialize;

/// The configuration of bincode for reading and writing scalars.
///
/// There is no limit in bincode, because the rest of the [`Source`] limits a value, and counting the
/// bytes would cost every scalar an addition and a check.
type Format = Configuration<LittleEndian, Fixint>;

const FORMAT: Format = legacy();

/// The maximum number of nested levels in a value: each struct, tuple, sequence, map, variant with
/// fields, newtype and `Some` is one level. It limits the stack, which corrupt bytes of a recursive type
/// could exhaust otherwise.
const DEPTH: u32 = 512;

/// The maximum number of elements of sequences and maps in one value that take no bytes, such as those
/// of a `Vec<()>`. Only their count exists in the encoding.
const EMPTY_ELEMENTS: u32 = 1 << 24;

/// Appends `value` to `sink`.
///
/// # Errors
/// Returns an error if the `Serialize` implementation of the value fails, if the format cannot express
/// the value, or if the sink cannot grow. The sink then has its previous length, even if `Serialize`
/// panics.
#[inline]
pub(crate) fn encode<T: Serialize + ?Sized>(
    value: &T,
    sink: &mut Sink<'_>,
) -> Result<(), EncodeError> {
    ser::encode(value, sink)
}

/// Reads one value from the front of `source`. [`Source::finish`] checks that nothing follows.
///
/// # Errors
/// Returns an error if the bytes end early, if they are not those of a `T`, or if the `Deserialize`
/// implementation of the type refuses them. The number of bytes that were read is then unspecified.
#[inline]
pub(crate) fn decode<'a, T: Deserialize<'a>>(source: &mut Source<'a>) -> Result<T, DecodeError> {
    de::decode(source)
}

/// Reads one slice from the front of `source`. Numbers are not copied if the source is stable and they
/// are aligned in it.
///
/// # Errors
/// Returns the errors of [`decode`].
#[inline]
pub(crate) fn decode_slice<'a, T: Deserialize<'a>>(
    source: &mut Source<'a>,
) -> Result<DecodedSlice<'a, T>, DecodeError> {
    de::decode_slice(source)
}
