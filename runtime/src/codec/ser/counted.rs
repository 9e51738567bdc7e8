//! Encoding of sequences and maps: a count, then the elements or entries.

use bincode::enc::Encoder as _;
use serde::ser::{Serialize, SerializeMap, SerializeSeq};

use super::super::EMPTY_ELEMENTS;
use super::{EncodeError, EncodeLevel, EncodeResult};

/// Writes the elements of a sequence or the entries of a map.
pub(in crate::codec) struct Counted<'e, 's, 'a> {
    level: EncodeLevel<'e, 's, 'a>,
    at: usize,
    announced: u64,
    written: u64,
    /// The length of the sink when the current element began.
    began: usize,
}

impl<'e, 's, 'a> Counted<'e, 's, 'a> {
    /// `announced` is the count that was written at the position `at` of the sink.
    #[inline]
    pub(super) fn new(level: EncodeLevel<'e, 's, 'a>, at: usize, announced: u64) -> Self {
        Counted { level, at, announced, written: 0, began: 0 }
    }

    #[inline]
    pub(super) fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> EncodeResult {
        self.key(value)?;
        self.end_element()
    }

    #[inline]
    pub(super) fn key<T: Serialize + ?Sized>(&mut self, key: &T) -> EncodeResult {
        self.began = self.level.encoder.writer().draft.len();
        self.level.element(key)
    }

    #[inline]
    pub(super) fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> EncodeResult {
        self.level.element(value)?;
        self.end_element()
    }

    #[inline]
    pub(super) fn close(self) -> EncodeResult {
        if self.written != self.announced {
            let count = self.written.to_le_bytes();
            self.level.encoder.writer().draft.patch(self.at, &count);
        }
        Ok(())
    }

    #[inline]
    fn end_element(&mut self) -> EncodeResult {
        self.written += 1;
        let output = self.level.encoder.writer();
        if output.draft.len() == self.began {
            output.empty_elements += 1;
            if output.empty_elements > EMPTY_ELEMENTS {
                return Err(EncodeError::new(format_args!(
                    "the value has more than {EMPTY_ELEMENTS} elements that take no bytes"
                )));
            }
        }
        Ok(())
    }
}

impl SerializeSeq for Counted<'_, '_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> EncodeResult {
        self.element(value)
    }

    #[inline]
    fn end(self) -> EncodeResult {
        self.close()
    }
}

impl SerializeMap for Counted<'_, '_, '_> {
    type Ok = ();
    type Error = EncodeError;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> EncodeResult {
        self.key(key)
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> EncodeResult {
        self.value(value)
    }

    #[inline]
    fn end(self) -> EncodeResult {
        self.close()
    }
}
