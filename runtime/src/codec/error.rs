//! The errors of encoding and decoding.

use std::fmt;

use bincode::error::{DecodeError as BincodeDecode, EncodeError as BincodeEncode};

use super::DEPTH;
use super::form::Form;
use super::sink::{Full, Sink};

/// The text of an [`EncodeError`] for a sink that is full.
const FULL: &str = "there is no room for the value";

/// The error of a type that requires a self-describing format.
pub(super) const NOT_SELF_DESCRIBING: &str = "this type asks the bytes what they hold, and they do not say: \
     `#[serde(untagged)]`, `#[serde(tag = \"..\")]`, `#[serde(flatten)]` and types like `serde_json::Value` need a \
     self-describing format; send them as a string, or as an enum with serde's default tagging";

/// The reason why a value could not be encoded. An empty text means that the sink is full; the sink has
/// the reason.
#[derive(Debug)]
pub(crate) struct EncodeError(Box<str>);

/// The reason why bytes could not be decoded.
#[derive(Debug)]
pub(crate) struct DecodeError(Box<str>);

impl EncodeError {
    #[cold]
    pub(super) fn new(reason: impl fmt::Display) -> Self {
        EncodeError(reason.to_string().into())
    }

    /// Returns the error of a full sink. It neither allocates nor formats, because it occurs beside every write.
    #[inline]
    fn full() -> Self {
        EncodeError(Box::default())
    }

    /// Returns the same error with the reason that `sink` has.
    #[cold]
    pub(super) fn explained(self, sink: &mut Sink<'_>) -> Self {
        match self.0.is_empty() {
            true => EncodeError::new(format_args!("{FULL}: {}", sink.failure())),
            false => self,
        }
    }

    #[cold]
    pub(super) fn too_deep() -> Self {
        EncodeError::new(format_args!("the value nests deeper than {DEPTH} levels"))
    }
}

impl DecodeError {
    #[cold]
    pub(super) fn new(reason: impl fmt::Display) -> Self {
        DecodeError(reason.to_string().into())
    }

    #[cold]
    pub(super) fn too_deep() -> Self {
        DecodeError::new(format_args!("the bytes nest deeper than {DEPTH} levels"))
    }

    #[cold]
    fn end(additional: usize) -> Self {
        DecodeError::new(format_args!("the bytes end early, at least {additional} are missing"))
    }

    /// Returns the error of a struct or variant that is read with a different number of fields than it was
    /// written with.
    #[cold]
    pub(super) fn skipped(
        what: impl fmt::Display,
        written: Form,
        expected: usize,
        fields: &[&str],
    ) -> Self {
        let names = match fields {
            [] => String::new(),
            fields => format!(" (`{}`)", fields.join("`, `")),
        };
        DecodeError::new(format_args!(
            "{what} was written with {} fields and is read with {expected}{names}: an attribute such as \
             `#[serde(skip_serializing)]` leaves a field out on one side only, and this format has no names to tell which; \
             use `#[serde(skip)]`, which leaves it out on both",
            written.count(),
        ))
    }

    #[cold]
    pub(super) fn short(count: u64, unit: &str, remaining: usize) -> Self {
        DecodeError::new(format_args!(
            "the bytes announce {count} {unit}, but only {remaining} bytes are left"
        ))
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { FULL } else { &self.0 })
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EncodeError {}
impl std::error::Error for DecodeError {}

impl serde::ser::Error for EncodeError {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        let text = reason.to_string();
        EncodeError(if text.is_empty() { "an error without a text".into() } else { text.into() })
    }
}

impl serde::de::Error for DecodeError {
    #[cold]
    fn custom<T: fmt::Display>(reason: T) -> Self {
        DecodeError::new(reason)
    }
}

impl From<Full> for EncodeError {
    #[inline]
    fn from(Full: Full) -> Self {
        EncodeError::full()
    }
}

impl From<BincodeEncode> for EncodeError {
    #[inline]
    fn from(error: BincodeEncode) -> Self {
        match error {
            BincodeEncode::UnexpectedEnd => EncodeError::full(),
            other => EncodeError::new(other),
        }
    }
}

impl From<BincodeDecode> for DecodeError {
    #[inline]
    fn from(error: BincodeDecode) -> Self {
        match error {
            BincodeDecode::UnexpectedEnd { additional } => DecodeError::end(additional),
            BincodeDecode::InvalidBooleanValue(found) => {
                DecodeError::new(format_args!("a bool is 0 or 1, not {found}"))
            }
            BincodeDecode::InvalidCharEncoding(bytes) => {
                DecodeError::new(format_args!("no char starts with the bytes {bytes:?}"))
            }
            BincodeDecode::OutsideUsizeRange(found) => {
                DecodeError::new(format_args!("{found} does not fit a usize here"))
            }
            other => DecodeError::new(other),
        }
    }
}
