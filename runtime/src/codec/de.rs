//! Decoding of values; see the [format](super).

mod access;

use bincode::Decode;
use bincode::de::read::Reader;
use bincode::de::{Decoder as _, DecoderImpl};
use bincode::error::DecodeError as BincodeDecode;
use serde::de::{Deserialize, Deserializer, Visitor};

use super::error::{DecodeError, NOT_SELF_DESCRIBING};
use super::plain;
use super::source::Source;
use super::{DEPTH, EMPTY_ELEMENTS, FORMAT, Form, Format, mark};
use access::{CountedAccess, Fields, NamedFields, Variant};

type Decoder<'a> = DecoderImpl<DecodeInput<'a>, Format, ()>;

/// Reads one value from the front of `source`.
#[inline]
pub(super) fn decode<'a, T: Deserialize<'a>>(source: &mut Source<'a>) -> Result<T, DecodeError> {
    let input = DecodeInput { source: source.again(), empty_elements: 0 };
    let mut decoder = DecoderImpl::new(input, FORMAT, ());
    let value = T::deserialize(DecodeLevel { decoder: &mut decoder, depth: 0 })?;
    *source = decoder.reader().source.again();
    Ok(value)
}

/// Reads a slice from the front of `source`, by reference if possible.
#[inline]
pub(super) fn decode_slice<'a, T: Deserialize<'a>>(
    source: &mut Source<'a>,
) -> Result<DecodedSlice<'a, T>, DecodeError> {
    match plain::borrow::<T>(source) {
        Some(slice) => Ok(DecodedSlice::Borrowed(slice)),
        None => decode(source).map(DecodedSlice::Owned),
    }
}

/// A decoded slice.
pub(crate) enum DecodedSlice<'a, T> {
    Borrowed(&'a [T]),
    Owned(Vec<T>),
}

impl<T> std::ops::Deref for DecodedSlice<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            DecodedSlice::Borrowed(slice) => slice,
            DecodedSlice::Owned(values) => values,
        }
    }
}

#[cold]
fn not_utf8(error: &std::str::Utf8Error) -> DecodeError {
    DecodeError::new(format_args!("not UTF-8: {error}"))
}

/// The state that all levels of one value share.
struct DecodeInput<'a> {
    /// A copy, so that the compiler can keep it in registers if it sees the whole decoding of a type.
    source: Source<'a>,
    empty_elements: u32,
}

impl DecodeInput<'_> {
    /// Counts an element that took no bytes of input, but `size` bytes of memory.
    fn count_empty(&mut self, size: usize) -> Result<(), DecodeError> {
        let weight = u32::try_from(size.max(1)).unwrap_or(u32::MAX);
        self.empty_elements = self.empty_elements.saturating_add(weight);
        if self.empty_elements > EMPTY_ELEMENTS {
            return Err(DecodeError::new(
                "the bytes announce too many elements that take no bytes",
            ));
        }
        Ok(())
    }
}

impl Reader for DecodeInput<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BincodeDecode> {
        self.source.read(bytes)
    }
}

/// Reads one value at a level of nesting.
struct DecodeLevel<'d, 'a> {
    decoder: &'d mut Decoder<'a>,
    depth: u32,
}

impl<'a> DecodeLevel<'_, 'a> {
    #[inline]
    fn scalar<T: Decode<()>>(&mut self) -> Result<T, DecodeError> {
        Ok(T::decode(self.decoder)?)
    }

    #[inline]
    fn source(&mut self) -> &mut Source<'a> {
        &mut self.decoder.reader().source
    }

    #[inline]
    fn bytes(&mut self) -> Result<Vec<u8>, DecodeError> {
        let count = self.scalar()?;
        self.source().read_vec::<u8>(count)
    }

    #[inline]
    fn text(&mut self) -> Result<String, DecodeError> {
        String::from_utf8(self.bytes()?).map_err(|error| not_utf8(&error.utf8_error()))
    }

    /// Bytes to which the value may refer.
    #[inline]
    fn borrowed(&mut self) -> Result<&'a [u8], DecodeError> {
        let count = self.scalar()?;
        let source = self.source();
        match source.borrow::<u8>(count) {
            Some(bytes) => Ok(bytes),
            None => Err(DecodeError::short(count, "bytes", source.remaining())),
        }
    }

    /// Reads the number of elements of a sequence and skips the padding.
    #[inline]
    fn count(&mut self) -> Result<u64, DecodeError> {
        let (count, padding) = plain::unpadded(self.scalar()?);
        match padding == 0 || self.source().skip(padding).is_some() {
            true => Ok(count),
            false => Err(DecodeError::new("the bytes end within the padding of a sequence")),
        }
    }

    /// Reads the fields of a struct or variant, given the number of fields that were written.
    #[inline]
    fn named<V: Visitor<'a>>(
        self,
        written: Form,
        names: &'static [&'static str],
        place: impl Fn() -> String,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let mismatch = || DecodeError::skipped(place(), written, names.len(), names);
        let count = match written == Form::fields(names.len()) {
            true => names.len(),
            false => written.count_among(names.len()).ok_or_else(mismatch)?,
        };
        let mut fields = NamedFields::new(self.deeper()?, count, names.len());
        let value = visitor.visit_seq(&mut fields);
        match fields.is_mismatch(value.is_ok()) {
            true => Err(mismatch()),
            false => value,
        }
    }

    /// Returns a decoder for another value at the same level.
    #[inline]
    fn again(&mut self) -> DecodeLevel<'_, 'a> {
        DecodeLevel { decoder: &mut *self.decoder, depth: self.depth }
    }

    #[inline]
    fn deeper(self) -> Result<Self, DecodeError> {
        if self.depth == DEPTH {
            return Err(DecodeError::too_deep());
        }
        Ok(DecodeLevel { decoder: self.decoder, depth: self.depth + 1 })
    }
}

macro_rules! scalars {
    ($($method:ident: $visit:ident,)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
            visitor.$visit(self.scalar()?)
        }
    )*};
}

impl<'de> Deserializer<'de> for DecodeLevel<'_, 'de> {
    type Error = DecodeError;

    scalars! {
        deserialize_bool: visit_bool, deserialize_char: visit_char,
        deserialize_i8: visit_i8, deserialize_i16: visit_i16, deserialize_i32: visit_i32,
        deserialize_i64: visit_i64, deserialize_i128: visit_i128,
        deserialize_u8: visit_u8, deserialize_u16: visit_u16, deserialize_u32: visit_u32,
        deserialize_u64: visit_u64, deserialize_u128: visit_u128,
        deserialize_f32: visit_f32, deserialize_f64: visit_f64,
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        if !self.source().is_stable() {
            return self.deserialize_string(visitor);
        }
        let bytes = self.borrowed()?;
        match std::str::from_utf8(bytes) {
            Ok(text) => visitor.visit_borrowed_str(text),
            Err(error) => Err(not_utf8(&error)),
        }
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_string(self.text()?)
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.source().is_stable() {
            true => visitor.visit_borrowed_bytes(self.borrowed()?),
            false => self.deserialize_byte_buf(visitor),
        }
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(
        mut self,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_byte_buf(self.bytes()?)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.scalar::<u8>()? {
            0 => visitor.visit_none(),
            1 => visitor.visit_some(self.deeper()?),
            found => {
                Err(DecodeError::new(format_args!("an option starts with 0 or 1, not {found}")))
            }
        }
    }

    #[inline]
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_unit()
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let inner = self.deeper()?;
        match mark::is_handle(name) {
            true => mark::at_handle(|| visitor.visit_newtype_struct(inner)),
            false => visitor.visit_newtype_struct(inner),
        }
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let count = self.count()?;
        if let Some(values) = plain::read::<V>(self.source(), count) {
            return values;
        }
        let mut elements = CountedAccess::new(self.deeper()?, count);
        let value = visitor.visit_seq(&mut elements)?;
        elements.end()?;
        Ok(value)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(mut self, visitor: V) -> Result<V::Value, DecodeError> {
        let count = self.scalar::<u64>()?;
        let mut entries = CountedAccess::new(self.deeper()?, count);
        let value = visitor.visit_map(&mut entries)?;
        entries.end()?;
        Ok(value)
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_seq(Fields::new(self.deeper()?, len))
    }

    #[inline]
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let written = Form::of_record(self.scalar()?);
        match written == Form::fields(len) {
            true => self.deserialize_tuple(len, visitor),
            false => Err(DecodeError::skipped(format_args!("`{name}`"), written, len, &[])),
        }
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let written = Form::of_record(self.scalar()?);
        self.named(written, fields, || format!("`{name}`"), visitor)
    }

    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        visitor.visit_enum(Variant::new(self, name, variants))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::new(NOT_SELF_DESCRIBING))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::new(NOT_SELF_DESCRIBING))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::new(NOT_SELF_DESCRIBING))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        false
    }
}
