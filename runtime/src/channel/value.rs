//! Sending and receiving values.

use std::cell::Cell;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::acknowledge;
use super::end::ChannelEnd;
use super::error::ChannelError;
use super::receive::{self, TakeCounts, TakenMessage};
use super::send::{self, EncodedMessage};
use crate::codec::{self, Sink, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, Object};

thread_local! {
    /// The buffer for the bytes of a message.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// The largest buffer that a thread keeps, in bytes.
const KEPT: usize = 5 << 20;

/// Sends a value; waits for room until a time of the clock, or not at all if it is 0.
///
/// # Errors
///
/// Returns the value with the reason why it was not sent.
#[inline]
pub(super) fn send<T: Serialize + DeserializeOwned>(
    end: &ChannelEnd,
    value: T,
    until: u64,
) -> Result<(), (T, ChannelError)> {
    with_buffer(|bytes| {
        let objects = match encode(&value, bytes) {
            Ok(objects) => objects,
            Err(error) => return Err((value, error.into())),
        };
        let message = EncodedMessage { bytes, objects: &objects };
        match send::send(end, &message, until) {
            Ok(()) => Ok(()),
            Err(error) => Err((give_back(value, bytes, &objects), error)),
        }
    })
}

/// Receives a value; waits for it until a time of the clock, or not at all if it is 0.
///
/// # Errors
///
/// Fails as [`receive`](receive::receive), and if the message is not a `T`. Such a message is lost; an item of a
/// queue then counts as done.
#[inline]
pub(super) fn receive<T: DeserializeOwned>(
    end: &ChannelEnd,
    until: u64,
    counts: TakeCounts,
) -> Result<T, ChannelError> {
    with_buffer(|bytes| {
        let taken = receive::receive(end, bytes, until, counts)?;
        let value = decode(bytes, &taken);
        if value.is_err() && counts == TakeCounts::Yes {
            // No other process can acknowledge the item.
            let _ = acknowledge::done(end);
        }
        Ok(value?)
    })
}

/// Calls a function with an empty buffer.
#[inline]
fn with_buffer<R>(act: impl FnOnce(&mut Vec<u8>) -> R) -> R {
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
fn encode<T: Serialize>(value: &T, bytes: &mut Vec<u8>) -> Result<Vec<Arc<Object>>> {
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
fn decode<T: DeserializeOwned>(bytes: &[u8], taken: &TakenMessage) -> Result<T> {
    let mut source = match taken.separate() {
        None => Source::new(bytes),
        Some((memory, len)) => memory.source(0, len),
    };
    let value = codec::decode(&mut source).and_then(|value| source.finish().map(|()| value));
    value.map_err(|error| {
        let text = format!("a `{}` cannot be received: {error}", std::any::type_name::<T>());
        Error::new(ErrorKind::Decode, text)
    })
}

/// Returns a value that was encoded and not sent. If it has given its memory away to its encoding, it is decoded from there.
fn give_back<T: DeserializeOwned>(value: T, bytes: &[u8], objects: &[Arc<Object>]) -> T {
    if objects.is_empty() {
        return value;
    }
    let taken = TakenMessage::default();
    decode(bytes, &taken).unwrap_or(value)
}
