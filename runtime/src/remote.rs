//! The boundary between the workers of a cluster pool and the transport that reaches other hosts.
//!
//! In a pool that uses a cluster, each worker is a thread of the caller that forwards its chunks (see
//! `worker/serve/forward.rs`). It gives the encoded inputs to a [`Remote`] and waits for their outcomes. The
//! scheduler, the queue and the rings are those of other pools. `cluster/` implements this over NATS.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The encoded inputs of a chunk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteInputs {
    /// The index of the task in the registry.
    pub(crate) task: u32,
    /// The index of the first input in its call.
    pub(crate) first: u64,
    /// The options of the call.
    pub(crate) options: RemoteOptions,
    /// The number of nanoseconds after which an input counts as cancelled; 0 for no limit.
    pub(crate) soft_timeout: u64,
    /// The length of each input.
    pub(crate) lengths: Vec<u64>,
    /// The inputs, one after the other.
    pub(crate) bytes: Vec<u8>,
}

impl RemoteInputs {
    /// Returns the bytes of each input; `None` if the lengths do not fit the bytes.
    pub(crate) fn each(&self) -> Option<Vec<&[u8]>> {
        split(&self.bytes, self.lengths.iter().copied())
    }

    /// Divides the inputs before the one at an index.
    pub(crate) fn split_off(&mut self, at: usize) -> RemoteInputs {
        let lengths = self.lengths.split_off(at);
        let len: u64 = self.lengths.iter().sum();
        let bytes = self.bytes.split_off(len as usize);
        RemoteInputs { first: self.first + at as u64, lengths, bytes, ..*self }
    }
}

/// Divides bytes into parts of the given lengths; `None` if these are not all bytes.
pub(crate) fn split(bytes: &[u8], lengths: impl Iterator<Item = u64>) -> Option<Vec<&[u8]>> {
    let mut rest = bytes;
    let parts: Option<Vec<&[u8]>> = lengths
        .map(|len| {
            let (part, behind) = rest.split_at_checked(usize::try_from(len).ok()?)?;
            rest = behind;
            Some(part)
        })
        .collect();
    parts.filter(|_| rest.is_empty())
}

/// The options of a call that the pool of another host enforces, in one word.
///
/// The descriptor of a chunk has one word for the span of the call, which pools on other hosts do not use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct RemoteOptions(pub(crate) u64);

/// The number of bits of the timeout in microseconds, which are enough for eight years.
const TIMEOUT_BITS: u32 = 48;

impl RemoteOptions {
    pub(crate) fn new(timeout: Option<Duration>, retries: u32) -> Self {
        let most = (1 << TIMEOUT_BITS) - 1;
        let micros =
            timeout.map_or(0, |limit| u64::try_from(limit.as_micros()).unwrap_or(most).max(1));
        let retries = u64::from(retries.min(u32::from(u16::MAX)));
        RemoteOptions(micros.min(most) | retries << TIMEOUT_BITS)
    }

    pub(crate) fn timeout(self) -> Option<Duration> {
        let micros = self.0 & ((1 << TIMEOUT_BITS) - 1);
        (micros != 0).then(|| Duration::from_micros(micros))
    }

    pub(crate) fn retries(self) -> u32 {
        (self.0 >> TIMEOUT_BITS) as u32
    }
}

/// The outcomes of a chunk, in the order of its inputs.
pub(crate) struct RemoteOutcomes {
    pub(crate) outcomes: Vec<RemoteOutcome>,
    /// The number of nanoseconds that the other host needed for them.
    pub(crate) took: u64,
}

/// The outcome of an input: its encoded output, or its failure.
pub(crate) type RemoteOutcome = Result<Vec<u8>, Box<Failure>>;

/// Runs chunks on other hosts.
pub(crate) trait Remote: Send + Sync {
    /// Begins to run a chunk. The receiver gets its outcomes, as many as it has inputs, exactly once. It gets nothing
    /// if the transport has ended.
    fn run(&self, inputs: RemoteInputs, answer: SyncSender<RemoteOutcomes>);

    /// Begins to run one input on each worker of all hosts. The receiver gets an outcome for each of them.
    fn run_on_all(&self, input: RemoteInputs, answer: SyncSender<RemoteOutcomes>);

    /// Ends the transport and its threads.
    fn end(&self);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_written() {
        for timeout in [None, Some(Duration::from_micros(1)), Some(Duration::from_secs(86_400))] {
            for retries in [0, 3, 65_535] {
                let options = RemoteOptions::new(timeout, retries);
                assert_eq!((options.timeout(), options.retries()), (timeout, retries));
            }
        }
        let longest = RemoteOptions::new(Some(Duration::MAX), u32::MAX);
        assert!(longest.timeout() > Some(Duration::from_secs(8 * 365 * 86_400)));
        assert_eq!(longest.retries(), 65_535);
        assert!(RemoteOptions::new(Some(Duration::ZERO), 0).timeout().is_some());
    }

    #[test]
    fn inputs_are_divided() {
        let mut inputs = RemoteInputs {
            first: 10,
            lengths: vec![1, 0, 2],
            bytes: b"abc".to_vec(),
            ..RemoteInputs::default()
        };
        let rest = inputs.split_off(1);
        assert_eq!(
            (inputs.each(), rest.each()),
            (Some(vec![&b"a"[..]]), Some(vec![&b""[..], b"bc"]))
        );
        assert_eq!((inputs.first, rest.first), (10, 11));
        assert_eq!(split(b"abc", [1, 1].into_iter()), None);
        assert_eq!(split(b"abc", [1, 3].into_iter()), None);
        assert_eq!(split(b"abc", [u64::MAX].into_iter()), None);
    }
}
