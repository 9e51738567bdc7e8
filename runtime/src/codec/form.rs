//! The number of fields of an encoded struct or variant.
//!
//! The encoding is not self-describing. If the writer leaves out a field that the reader expects, as
//! `#[serde(skip_serializing)]` does, the reader would take the next field for it and read a wrong
//! value without noticing. A struct therefore starts with the number of its fields, which costs one
//! byte. A variant has this number in the upper bits of its tag, which costs nothing.

/// The contents of a value: nothing, one value, or a number of fields.
///
/// Counts are stored modulo 254, which is sufficient to notice the few fields that an attribute leaves
/// out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form(u8);

/// The bits of a tag that contain the index of the variant.
const INDEX_BITS: u32 = 24;

impl Form {
    pub(super) const UNIT: Form = Form(0);
    pub(super) const NEWTYPE: Form = Form(1);

    #[inline]
    pub(super) const fn fields(count: usize) -> Form {
        Form(2 + (count % 254) as u8)
    }

    /// Returns the number of fields that were written of a struct or variant that is read with `names`;
    /// `None` if the number does not fit.
    ///
    /// The names include aliases of fields, for which nothing is written.
    #[inline]
    pub(super) const fn count_among(self, names: usize) -> Option<usize> {
        match self.0 {
            0 | 1 => None,
            fields => names.checked_sub((names + 254 - (fields as usize - 2)) % 254),
        }
    }

    /// Returns the first byte of a struct.
    #[inline]
    pub(super) const fn record(count: usize) -> u8 {
        Form::fields(count).0
    }

    #[inline]
    pub(super) const fn of_record(byte: u8) -> Form {
        Form(byte)
    }

    /// Returns the tag of a variant; `None` if its index is too large.
    #[inline]
    pub(super) const fn tag(self, index: u32) -> Option<u32> {
        match index >> INDEX_BITS {
            0 => Some((self.0 as u32) << INDEX_BITS | index),
            _ => None,
        }
    }

    /// Returns the index and the form of a variant.
    #[inline]
    pub(super) const fn of_tag(tag: u32) -> (u32, Form) {
        (tag & ((1 << INDEX_BITS) - 1), Form((tag >> INDEX_BITS) as u8))
    }

    /// Returns the number of values that follow.
    pub(super) const fn count(self) -> usize {
        match self.0 {
            0 | 1 => self.0 as usize,
            fields => fields as usize - 2,
        }
    }
}
