//! Encoding of values; see the [format](super).

mod counted;
mod fields;

use std::fmt::{self, Write as _};

use bincode::Encode;
use bincode::enc::write::Writer;
use bincode::enc::{Encoder as _, EncoderImpl};
use bincode::error::EncodeError as BincodeEncode;
use serde::ser::{Serialize, Serializer};

use super::error::EncodeError;
use super::plain;
use super::sink::{Draft, Sink};
use super::{DEPTH, FORMAT, Form, Format, mark};
use counted::Counted;

type Encoder<'s, 'a> = EncoderImpl<EncodeOutput<'s, 'a>, Format>;
type EncodeResult = Result<(), EncodeError>;

/// Appends `value`, or appends nothing and returns an error.
#[inline]
pub(super) fn encode<T: Serialize + ?Sized>(value: &T, sink: &mut Sink<'_>) -> EncodeResult {
    let output = EncodeOutput { draft: sink.draft(), empty_elements: 0 };
    let mut encoder = EncoderImpl::new(output, FORMAT);
    let result = value.serialize(EncodeLevel { encoder: &mut encoder, place: EncodePlace::TOP });
    let draft = encoder.into_writer().draft;
    match result {
        Ok(()) => draft.commit(),
        Err(error) => return Err(error.explained(draft.abandon())),
    }
    Ok(())
}

/// The state that all levels of one value share.
struct EncodeOutput<'s, 'a> {
    draft: Draft<'s, 'a>,
    empty_elements: u32,
}

impl Writer for EncodeOutput<'_, '_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), BincodeEncode> {
        Writer::write(&mut self.draft, bytes)
    }
}

/// Writes the values at one level of nesting: a single value as a serializer, or the fields of a struct
/// or tuple.
struct EncodeLevel<'e, 's, 'a> {
    encoder: &'e mut Encoder<'s, 'a>,
    place: EncodePlace,
}

/// The depth of a level, and the number of values of [`FIELD`] bytes for which it is known that there is
/// room: the remaining fields of a struct.
///
/// The latter is only a hint. Both are one number, because an [`EncodeLevel`] of two words is passed in
/// registers.
#[derive(Clone, Copy)]
struct EncodePlace(u32);

impl EncodePlace {
    const TOP: EncodePlace = EncodePlace(0);

    #[inline]
    fn deeper(self) -> Option<Self> {
        let depth = self.0 >> 8;
        (depth < DEPTH).then_some(EncodePlace((depth + 1) << 8))
    }

    #[inline]
    fn roomy_fields(self) -> u32 {
        self.0 & 0xff
    }

    #[inline]
    fn roomy(self, fields: u32) -> Self {
        EncodePlace(self.0 & !0xff | fields)
    }
}

/// The number of bytes for which a struct reserves room at once for each of its fields.
///
/// A struct of numbers then consists of one check and some stores, which is short enough to be inlined
/// wherever it is encoded. A region may grow by a few bytes that are not needed.
const FIELD: usize = 8;

/// The maximum number of fields for which a struct reserves room; at most 255.
const ROOMY_FIELDS: usize = 16;

impl<'e, 's, 'a> EncodeLevel<'e, 's, 'a> {
    #[inline]
    fn scalar(self, value: impl Encode) -> EncodeResult {
        Ok(value.encode(self.encoder)?)
    }

    #[inline]
    fn deeper(self) -> Result<Self, EncodeError> {
        match self.place.deeper() {
            Some(place) => Ok(EncodeLevel { encoder: self.encoder, place }),
            None => Err(EncodeError::too_deep()),
        }
    }

    /// Writes an element, key or value at this level, for which no room was reserved.
    #[inline]
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> EncodeResult {
        value.serialize(EncodeLevel { encoder: &mut *self.encoder, place: self.place })
    }

    /// Writes a field of a struct or variant.
    #[inline]
    fn field<T: Serialize + ?Sized>(&mut self, value: &T) -> EncodeResult {
        let room = self.encoder.writer().draft.room();
        let place = self.place;
        self.place = place.roomy(0);
        value.serialize(EncodeLevel { encoder: &mut *self.encoder, place })?;
        let left = self.encoder.writer().draft.room();
        // If the region has grown in the meantime, it may have less room for the other fields than
        // before.
        if room.wrapping_sub(left) <= FIELD {
            self.place = place.roomy(place.roomy_fields().saturating_sub(1));
        }
        Ok(())
    }

    /// Writes a number of at most [`FIELD`] bytes.
    #[inline]
    fn number<const N: usize>(self, bytes: [u8; N]) -> EncodeResult {
        const { assert!(N <= FIELD) };
        let draft = &mut self.encoder.writer().draft;
        match self.place.roomy_fields() {
            0 => draft.write(&bytes)?,
            _ => draft.write_reserved(&bytes)?,
        }
        Ok(())
    }

    /// Writes `count` items whose encoded form is `bytes`.
    #[inline]
    fn counted_bytes(self, count: u64, bytes: &[u8]) -> EncodeResult {
        let draft = &mut self.encoder.writer().draft;
        draft.write_before(&count.to_le_bytes(), bytes.len())?;
        Ok(draft.write_reserved(bytes)?)
    }

    /// Writes `count` numbers whose encoded form is `bytes`, aligned if parameters may refer to them.
    #[inline]
    fn numbers(self, count: u64, bytes: &[u8], align: usize) -> EncodeResult {
        let draft = &mut self.encoder.writer().draft;
        let padding = match draft.is_aligned() {
            true => (draft.len() + 8).wrapping_neg() & (align - 1),
            false => 0,
        };
        if padding == 0 {
            return self.counted_bytes(count, bytes);
        }
        draft.write_before(&plain::padded(count, padding).to_le_bytes(), 16 + bytes.len())?;
        draft.write_reserved(&[0; 16][..padding])?;
        Ok(draft.write_reserved(bytes)?)
    }

    /// Starts a struct or tuple struct with the given number of fields.
    #[inline]
    fn record(self, fields: usize) -> Result<Self, EncodeError> {
        self.deeper()?.fields_after(&[Form::record(fields)], fields)
    }

    /// Starts a variant of an enum.
    #[inline]
    fn variant(self, index: u32, form: Form) -> Result<Self, EncodeError> {
        let tag = form.tag(index).ok_or_else(|| {
            EncodeError::new("an enum with more than 16 million variants cannot be encoded")
        })?;
        self.fields_after(&tag.to_le_bytes(), form.count())
    }

    /// Writes the number of fields that follow, and reserves room for them.
    #[inline]
    fn fields_after(self, bytes: &[u8], fields: usize) -> Result<Self, EncodeError> {
        let roomy = if fields <= ROOMY_FIELDS { fields } else { 0 };
        self.encoder.writer().draft.write_before(bytes, FIELD * roomy)?;
        Ok(EncodeLevel { place: self.place.roomy(roomy as u32), ..self })
    }

    /// Starts a sequence or map. If the length is unknown or wrong, it is filled in at the end.
    #[inline]
    fn counted(self, len: Option<usize>) -> Result<Counted<'e, 's, 'a>, EncodeError> {
        let at = self.encoder.writer().draft.len();
        let announced = len.map_or(u64::MAX, |len| len as u64);
        self.encoder.writer().draft.write(&announced.to_le_bytes())?;
        Ok(Counted::new(self.deeper()?, at, announced))
    }
}

macro_rules! scalars {
    ($($method:ident: $scalar:ty,)*) => {$(
        #[inline]
        fn $method(self, value: $scalar) -> EncodeResult {
            self.scalar(value)
        }
    )*};
}

macro_rules! numbers {
    ($($method:ident: $number:ty,)*) => {$(
        #[inline]
        fn $method(self, value: $number) -> EncodeResult {
            self.number(value.to_le_bytes())
        }
    )*};
}

impl<'e, 's, 'a> Serializer for EncodeLevel<'e, 's, 'a> {
    type Ok = ();
    type Error = EncodeError;
    type SerializeSeq = Counted<'e, 's, 'a>;
    type SerializeMap = Counted<'e, 's, 'a>;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    scalars! {
        serialize_char: char, serialize_i128: i128, serialize_u128: u128,
    }

    #[inline]
    fn serialize_str(self, text: &str) -> EncodeResult {
        self.counted_bytes(text.len() as u64, text.as_bytes())
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> EncodeResult {
        self.counted_bytes(bytes.len() as u64, bytes)
    }

    numbers! {
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_f32: f32, serialize_f64: f64,
    }

    #[inline]
    fn serialize_bool(self, value: bool) -> EncodeResult {
        self.number([u8::from(value)])
    }

    #[inline]
    fn serialize_none(self) -> EncodeResult {
        self.number([0])
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> EncodeResult {
        self.encoder.writer().draft.write(&[1])?;
        value.serialize(self.deeper()?)
    }

    #[inline]
    fn serialize_unit(self) -> EncodeResult {
        Ok(())
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> EncodeResult {
        Ok(())
    }

    #[inline]
    fn serialize_unit_variant(self, _: &'static str, index: u32, _: &'static str) -> EncodeResult {
        self.variant(index, Form::UNIT).map(drop)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> EncodeResult {
        let inner = self.deeper()?;
        match mark::is_handle(name) {
            true => mark::at_handle(|| value.serialize(inner)),
            false => value.serialize(inner),
        }
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        value: &T,
    ) -> EncodeResult {
        value.serialize(self.deeper()?.variant(index, Form::NEWTYPE)?)
    }

    #[inline]
    fn serialize_seq(self, len: Option<usize>) -> Result<Counted<'e, 's, 'a>, EncodeError> {
        self.counted(len)
    }

    #[inline]
    fn serialize_map(self, len: Option<usize>) -> Result<Counted<'e, 's, 'a>, EncodeError> {
        match len {
            Some(_) => self.counted(len),
            None => Err(EncodeError::new(
                "a map without a length, as `#[serde(flatten)]` makes of a struct, could not be read back; \
                 make it a field of its own",
            )),
        }
    }

    #[inline]
    fn serialize_tuple(self, _: usize) -> Result<Self, EncodeError> {
        self.deeper()
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Self, EncodeError> {
        self.record(len)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Self, EncodeError> {
        self.deeper()?.variant(index, Form::fields(len))
    }

    #[inline]
    fn serialize_struct(self, _: &'static str, len: usize) -> Result<Self, EncodeError> {
        self.record(len)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        index: u32,
        _: &'static str,
        len: usize,
    ) -> Result<Self, EncodeError> {
        self.deeper()?.variant(index, Form::fields(len))
    }

    #[inline]
    fn collect_seq<I>(self, items: I) -> EncodeResult
    where
        I: IntoIterator<Item: Serialize>,
    {
        if let Some((count, bytes, align)) = plain::bytes_of(&items) {
            return self.numbers(count, bytes, align);
        }
        let items = items.into_iter();
        let mut seq = self.counted(exact(&items))?;
        for item in items {
            seq.element(&item)?;
        }
        seq.close()
    }

    fn collect_map<K, V, I>(self, entries: I) -> EncodeResult
    where
        K: Serialize,
        V: Serialize,
        I: IntoIterator<Item = (K, V)>,
    {
        let entries = entries.into_iter();
        let mut map = self.counted(exact(&entries))?;
        for (key, value) in entries {
            map.key(&key)?;
            map.value(&value)?;
        }
        map.close()
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> EncodeResult {
        let output = self.encoder.writer();
        let at = output.draft.len();
        output.write(&[0; 8])?;
        let mut text = Text { output, result: Ok(()) };
        let shown = write!(text, "{value}");
        text.result?;
        shown.map_err(|_| EncodeError::new("a `Display` implementation returned an error"))?;
        let len = output.draft.len() - at - 8;
        output.draft.patch(at, &(len as u64).to_le_bytes());
        Ok(())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

#[inline]
fn exact(items: &impl Iterator) -> Option<usize> {
    let (least, most) = items.size_hint();
    (most == Some(least)).then_some(least)
}

/// Writes text as it is formatted. It keeps the error, which `fmt` cannot pass on.
struct Text<'t, 's, 'a> {
    output: &'t mut EncodeOutput<'s, 'a>,
    result: Result<(), BincodeEncode>,
}

impl fmt::Write for Text<'_, '_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.result.is_ok() {
            self.result = self.output.write(text.as_bytes());
        }
        self.result.as_ref().map_err(|_| fmt::Error).copied()
    }
}
