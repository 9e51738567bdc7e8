//! The codec, opened to the fuzz targets and the benchmark.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Sink, Source};

/// Appends the encoded `value` to `bytes`.
#[inline]
pub fn encode<T: Serialize + ?Sized>(value: &T, bytes: &mut Vec<u8>) -> Result<(), String> {
    codec::encode(value, &mut Sink::over(bytes)).map_err(|error| error.to_string())
}

/// Decodes a value from the front of `bytes` and tells how many bytes it took.
#[inline]
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<(T, usize), String> {
    let mut source = Source::new(bytes);
    let value = codec::decode(&mut source).map_err(|error| error.to_string())?;
    Ok((value, bytes.len() - source.remaining()))
}

/// Appends all of `values`, back to back.
#[inline]
pub fn encode_all<T: Serialize>(values: &[T], bytes: &mut Vec<u8>) -> Result<(), String> {
    let mut sink = Sink::over(bytes);
    values
        .iter()
        .try_for_each(|value| codec::encode(value, &mut sink))
        .map_err(|error| error.to_string())
}

/// Decodes `count` values that stand back to back, and gives each to `take`.
#[inline]
pub fn decode_all<T: DeserializeOwned>(
    bytes: &[u8],
    count: usize,
    mut take: impl FnMut(T),
) -> Result<(), String> {
    let mut source = Source::new(bytes);
    (0..count)
        .try_for_each(|_| codec::decode(&mut source).map(&mut take))
        .and_then(|()| source.finish())
        .map_err(|error| error.to_string())
}
