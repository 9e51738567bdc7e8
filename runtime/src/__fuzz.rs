//! Access to the codec and the readers of messages, for the fuzz targets and the benchmark.

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

/// Returns a hello as this process would send it.
pub fn hello() -> Vec<u8> {
    crate::handshake::own().to_vec()
}

/// Judges the first message of a worker.
pub fn first_message(bytes: &[u8]) -> Result<u32, String> {
    crate::handshake::check(bytes).map_err(|error| error.to_string())
}

/// Reads a message between a caller and a server; what it gives, written again.
pub fn frame(bytes: &[u8]) -> Option<Vec<u8>> {
    crate::start::reread(bytes)
}

/// Reads `words` as the ring of a worker that says it wrote up to `produced`, from `at`
/// on; gives how many messages came, and whether the protocol was broken.
pub fn ring(words: &[u64], at: u64, produced: u64) -> (usize, bool) {
    use crate::queue::{Consumer, Ring};
    use std::sync::atomic::AtomicU64;
    let data: Vec<AtomicU64> = words.iter().copied().map(AtomicU64::new).collect();
    let (produced, consumed) = (AtomicU64::new(produced), AtomicU64::new(at));
    let ring = Ring { data: &data, produced: &produced, consumed: &consumed };
    let (mut consumer, mut count) = (Consumer::at(at), 0);
    let read = || {
        let end = consumer.end(ring)?;
        let mut payload = Vec::new();
        while let Some(header) = consumer.peek(ring, end)? {
            payload.clear();
            consumer.take(ring, header, &mut payload);
            assert_eq!(payload.len(), header.words());
            count += 1;
            assert!(count <= words.len(), "more messages than words");
        }
        Ok::<_, crate::queue::Malformed>(())
    };
    let broken = { read }().is_err();
    (count, broken)
}

/// Reads why an input has no output, and what a dead worker left of a panic, as the
/// message a person would see.
pub fn failure(bytes: &[u8]) -> String {
    let report = crate::worker::panic_report(bytes);
    let failure = crate::worker::Failure::decoded(bytes);
    let mut text = format!("{report:?}");
    text.push_str(&failure.clone().shortened().into_error().to_string());
    text.push_str(&format!("{:?}", failure.into_error()));
    text
}

/// Returns a failure with a panic, encoded.
pub fn some_failure() -> Vec<u8> {
    let location = crate::error::Location { file: "src/main.rs".to_owned(), line: 7, column: 3 };
    let panic = crate::error::PanicReport {
        message: "a message".to_owned(),
        location: Some(location),
        backtrace: Some("0: main".to_owned()),
        thread: Some("worker".to_owned()),
    };
    let kind = crate::worker::FailureKind::Panicked;
    let causes = vec!["a cause".to_owned(), "its cause".to_owned()];
    let backtrace = Some("0: task".to_owned());
    let text = "text".to_owned();
    let (panic, passed_on, on_host) = (Some(panic), None, None);
    crate::worker::Failure { kind, text, panic, causes, backtrace, passed_on, on_host }.encoded()
}
