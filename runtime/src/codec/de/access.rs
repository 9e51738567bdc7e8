//! The access types for visitors: elements, entries, fields and variants.

use bincode::de::Decoder as _;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::{DecodeError, DecodeLevel, Form};

/// The fields of a tuple or struct.
pub(super) struct Fields<'d, 'a> {
    level: DecodeLevel<'d, 'a>,
    left: usize,
}

impl<'d, 'a> Fields<'d, 'a> {
    #[inline]
    pub(super) fn new(level: DecodeLevel<'d, 'a>, len: usize) -> Self {
        Fields { level, left: len }
    }
}

impl<'de> SeqAccess<'de> for Fields<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.level.again()).map(Some)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

/// The fields of a struct or variant with at least as many names as fields, because of aliases.
pub(super) struct NamedFields<'d, 'a> {
    fields: Fields<'d, 'a>,
    has_aliases: bool,
    mismatch: bool,
}

impl<'d, 'a> NamedFields<'d, 'a> {
    #[inline]
    pub(super) fn new(level: DecodeLevel<'d, 'a>, written: usize, names: usize) -> Self {
        let fields = Fields::new(level, written);
        NamedFields { fields, has_aliases: written != names, mismatch: false }
    }

    /// Returns whether the visitor has requested more fields than were written, or has read fewer.
    #[inline]
    pub(super) fn is_mismatch(&self, is_read: bool) -> bool {
        self.mismatch || is_read && self.fields.left != 0
    }
}

impl<'de> SeqAccess<'de> for NamedFields<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        if self.has_aliases && self.fields.left == 0 {
            self.mismatch = true;
            return Err(DecodeError::new("there are no more fields"));
        }
        self.fields.next_element_seed(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.fields.size_hint()
    }
}

/// The elements of a sequence or the entries of a map, as many as were announced.
pub(super) struct CountedAccess<'d, 'a> {
    level: DecodeLevel<'d, 'a>,
    left: u64,
    /// The length of the rest of the source when the first element began.
    room: usize,
    /// The length of the rest of the source when the last element began.
    began: usize,
}

impl<'d, 'a> CountedAccess<'d, 'a> {
    #[inline]
    pub(super) fn new(mut level: DecodeLevel<'d, 'a>, count: u64) -> Self {
        CountedAccess { room: level.source().remaining(), level, left: count, began: usize::MAX }
    }

    /// Advances to the next element, if there is one. Its memory takes at least `size` bytes.
    #[inline]
    fn next(&mut self, size: usize) -> Result<Option<DecodeLevel<'_, 'a>>, DecodeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let remaining = self.level.source().remaining();
        if remaining == self.began {
            self.level.decoder.reader().count_empty(size)?;
        }
        self.began = remaining;
        Ok(Some(self.level.again()))
    }

    /// Decodes the next element, if there is one.
    #[inline]
    fn element<T: DeserializeSeed<'a>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        match self.next(size_of::<T::Value>())? {
            Some(level) => seed.deserialize(level).map(Some),
            None => Ok(None),
        }
    }

    /// Returns the number of elements for which memory is reserved: never more than there are bytes,
    /// regardless of the count.
    #[inline]
    fn hint(&self) -> usize {
        usize::try_from(self.left).map_or(self.room, |left| left.min(self.room))
    }

    /// Checks that the visitor has read everything, because the following values would be misread
    /// otherwise.
    #[inline]
    pub(super) fn end(self) -> Result<(), DecodeError> {
        match self.left {
            0 => Ok(()),
            left => Err(DecodeError::new(format_args!(
                "the bytes announce {left} elements more than the type reads"
            ))),
        }
    }
}

impl<'de> SeqAccess<'de> for CountedAccess<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, DecodeError> {
        self.element(seed)
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

impl<'de> MapAccess<'de> for CountedAccess<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, DecodeError> {
        self.element(seed)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, DecodeError> {
        seed.deserialize(self.level.again())
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        Some(self.hint())
    }
}

/// A variant of an enum: its tag, then its fields.
pub(super) struct Variant<'d, 'a> {
    level: DecodeLevel<'d, 'a>,
    name: &'static str,
    variants: &'static [&'static str],
    index: u32,
    written: Form,
}

impl<'d, 'a> Variant<'d, 'a> {
    #[inline]
    pub(super) fn new(
        level: DecodeLevel<'d, 'a>,
        name: &'static str,
        variants: &'static [&'static str],
    ) -> Self {
        Variant { level, name, variants, index: 0, written: Form::UNIT }
    }

    /// Returns the level of the fields, if they are written in the order in which they are read.
    #[inline]
    fn read(self, form: Form) -> Result<DecodeLevel<'d, 'a>, DecodeError> {
        match self.written == form {
            true => Ok(self.level),
            false => {
                let place = place(self.name, self.variants, self.index);
                Err(DecodeError::skipped(place, self.written, form.count(), &[]))
            }
        }
    }
}

/// Returns a variant of an enum, for an error.
#[cold]
fn place(name: &str, variants: &[&str], index: u32) -> String {
    let variant = variants.get(index as usize).unwrap_or(&"?");
    format!("`{name}::{variant}`")
}

impl<'de> EnumAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;
    type Variant = Self;

    #[inline]
    fn variant_seed<V: DeserializeSeed<'de>>(
        mut self,
        seed: V,
    ) -> Result<(V::Value, Self), DecodeError> {
        (self.index, self.written) = Form::of_tag(self.level.scalar()?);
        let index = IntoDeserializer::<DecodeError>::into_deserializer(self.index);
        Ok((seed.deserialize(index)?, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, 'de> {
    type Error = DecodeError;

    #[inline]
    fn unit_variant(self) -> Result<(), DecodeError> {
        self.read(Form::UNIT).map(drop)
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(
        self,
        seed: T,
    ) -> Result<T::Value, DecodeError> {
        seed.deserialize(self.read(Form::NEWTYPE)?.deeper()?)
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(
        self,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.read(Form::fields(len))?.deserialize_tuple(len, visitor)
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let Variant { level, name, variants, index, written } = self;
        level.named(written, fields, || place(name, variants, index), visitor)
    }
}
