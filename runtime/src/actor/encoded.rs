//! Values that an actor keeps without knowing their types.

use std::sync::Arc;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::codec::{self, Sink, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, DecodedObject, EncodedObject, Object};

/// An encoded value, and the objects in it.
#[derive(Clone, Default)]
pub(super) struct EncodedValue {
    pub(super) bytes: Vec<u8>,
    objects: Vec<Arc<Object>>,
}

impl EncodedValue {
    /// Encodes a value that can be decoded any number of times.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`], also for memory that only one process may have.
    pub(super) fn new<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        let mut bytes = Vec::new();
        let (encoded, objects) = handle::collect(|| {
            handle::for_many(|| codec::encode(value, &mut Sink::over(&mut bytes)))
        });
        encoded.map_err(|error| {
            let text = format!("a value for a manager could not be encoded: {error}");
            Error::new(ErrorKind::Encode, text).with(|facts| facts.was_begun = Some(false))
        })?;
        Ok(EncodedValue { bytes, objects })
    }

    pub(super) fn of_bytes(bytes: Vec<u8>) -> Self {
        EncodedValue { bytes, objects: Vec::new() }
    }

    /// # Errors
    ///
    /// Returns [`ErrorKind::Decode`].
    pub(super) fn decode<T: DeserializeOwned>(&self) -> Result<T> {
        let mut source = Source::new(&self.bytes);
        let value = codec::decode(&mut source);
        value.and_then(|value| source.finish().map(|()| value)).map_err(|error| {
            Error::new(
                ErrorKind::Decode,
                format!("a value of a manager could not be decoded: {error}"),
            )
        })
    }

    /// # Errors
    ///
    /// Returns [`ErrorKind::Decode`].
    pub(super) fn decode_option<T: DeserializeOwned>(value: Option<Self>) -> Result<Option<T>> {
        value.as_ref().map(EncodedValue::decode).transpose()
    }
}

/// Compares the bytes only, because the bytes identify the objects.
impl PartialEq for EncodedValue {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for EncodedValue {}

impl std::hash::Hash for EncodedValue {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

impl Serialize for EncodedValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let objects: Vec<_> = self.objects.iter().map(EncodedObject).collect();
        (&self.bytes, objects).serialize(to)
    }
}

impl<'de> Deserialize<'de> for EncodedValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (bytes, objects) = <(Vec<u8>, Vec<DecodedObject>)>::deserialize(from)?;
        let objects = objects.into_iter().map(|DecodedObject(object)| object).collect();
        Ok(EncodedValue { bytes, objects })
    }
}
