//! Values to messages and back.

use std::cell::Cell;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::receive::TakenMessage;
use crate::codec::{self, Sink, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, Object};

thread_local! {
    /// Memory for the bytes of a message.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What a thread keeps of its buffer.
const KEPT: usize = 5 << 20;

/// Runs code with a buffer that is empty.
#[inline]
pub(super) fn with_buffer<R>(act: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = BUFFER.take();
    buffer.clear();
    let outcome = act(&mut buffer);
    if buffer.capacity() <= KEPT {
        BUFFER.set(buffer);
    }
    outcome
}

/// Encodes a value that is moved into a message; returns the objects in it.
///
/// # Errors
///
/// [`ErrorKind::Encode`] if it cannot be encoded.
#[inline]
pub(super) fn encode<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<Vec<Arc<Object>>> {
    let mut sink = Sink::over(bytes);
    let encode = || handle::moved::<T, _>(|| codec::encode(value, &mut sink));
    match handle::collect(encode) {
        (Ok(()), objects) => Ok(objects),
        (Err(error), _) => {
            let text = format!("a `{}` cannot be sent: {error}", std::any::type_name::<T>());
            Err(Error::new(ErrorKind::Encode, text))
        }
    }
}

/// Decodes a message.
///
/// # Errors
///
/// [`ErrorKind::Decode`] if the bytes are not those of a `T`.
#[inline]
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8], taken: &TakenMessage) -> Result<T> {
    match &taken.apart {
        None => decode_from(Source::new(bytes)),
        Some((memory, len)) => match memory.memory() {
            Ok(mapping) => decode_from(mapping.source(0, *len)),
            Err(error) => Err(cannot::<T>(&error)),
        },
    }
}

#[inline]
fn decode_from<T: DeserializeOwned>(mut source: Source<'_>) -> Result<T> {
    let value = codec::decode(&mut source).and_then(|value| source.finish().map(|()| value));
    value.map_err(|error| cannot::<T>(&error))
}

#[cold]
fn cannot<T>(why: &dyn std::fmt::Display) -> Error {
    let text = format!("a `{}` cannot be received: {why}", std::any::type_name::<T>());
    Error::new(ErrorKind::Decode, text)
}

/// A value that was encoded and not sent. One that gave its memory away when it was encoded is made anew.
pub(super) fn give_back<T: DeserializeOwned>(value: T, bytes: &[u8], objects: &[Arc<Object>]) -> T {
    if objects.is_empty() {
        return value;
    }
    let taken = TakenMessage::default();
    decode(bytes, &taken).unwrap_or(value)
}
