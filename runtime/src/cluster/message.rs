//! The messages between a program and its agents (rule J1), which are encoded by the codec.

use serde::{Deserialize, Serialize};

use crate::codec::{self, Source};
use crate::failure::{Failure, encoded};
use crate::registry;
use crate::remote::{RemoteInputs, RemoteOutcome, split};
use crate::sys::entry;

/// The version of the messages, which has to be increased whenever one changes its form.
const VERSION: u32 = 2;

/// The subjects of the messages of this build.
#[derive(Clone, Debug)]
pub(crate) struct Subjects {
    /// The hash of this build.
    pub(crate) build: String,
}

impl Subjects {
    pub(crate) fn of_this_build() -> Self {
        let (program, tasks) = (entry::fingerprint(), registry::digest());
        Subjects { build: format!("{program:016x}{tasks:016x}{VERSION:x}") }
    }

    /// Returns the name of the stream of all chunks.
    pub(crate) fn stream(&self) -> String {
        format!("procession_{}", self.build)
    }

    /// Returns the subject of all chunks.
    pub(crate) fn chunks(&self) -> String {
        format!("procession.{}.task.>", self.build)
    }

    /// Returns the subject of the chunks of a run.
    pub(crate) fn chunks_of(&self, run: &str) -> String {
        format!("procession.{}.task.{run}.>", self.build)
    }

    /// Returns the subject of a chunk.
    pub(crate) fn chunk(&self, run: &str, chunk: u64) -> String {
        format!("procession.{}.task.{run}.{chunk}", self.build)
    }

    /// Returns the run and the chunk of a subject.
    pub(crate) fn parts(subject: &str) -> Option<(&str, u64)> {
        let mut parts = subject.rsplit('.');
        let chunk = parts.next()?.parse().ok()?;
        Some((parts.next()?, chunk))
    }

    /// Returns the name of the stream of all values that fit no message.
    pub(crate) fn values_stream(&self) -> String {
        format!("procession_{}_values", self.build)
    }

    /// Returns the subject of all values.
    pub(crate) fn all_values(&self) -> String {
        format!("procession.{}.value.>", self.build)
    }

    /// Returns the subject of the values of a run.
    pub(crate) fn values_of(&self, run: &str) -> String {
        format!("procession.{}.value.{run}.>", self.build)
    }

    /// Returns the subject of the pieces of a value.
    pub(crate) fn pieces(&self, run: &str, name: &str) -> String {
        format!("procession.{}.value.{run}.{name}.>", self.build)
    }

    /// Returns the subject of a piece of a value.
    pub(crate) fn piece(&self, run: &str, name: &str, number: usize) -> String {
        format!("procession.{}.value.{run}.{name}.{number}", self.build)
    }

    /// Returns the subject to which programs send what concerns one agent.
    pub(crate) fn agent(&self, id: &str) -> String {
        format!("procession.{}.agent.{id}", self.build)
    }

    /// Returns the subject to which agents send what concerns a run.
    pub(crate) fn run(&self, run: &str) -> String {
        format!("procession.{}.run.{run}", self.build)
    }
}

/// A chunk.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChunkMessage {
    /// The hash of the setup in which it has to run.
    pub(crate) setup: u64,
    pub(crate) host_retries: u32,
    /// Whether the bytes of the only input are in the store of values.
    pub(crate) is_stored: bool,
    pub(crate) inputs: RemoteInputs,
}

/// An input that each worker of an agent has to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BroadcastMessage {
    pub(crate) run: String,
    pub(crate) chunk: u64,
    pub(crate) setup: u64,
    pub(crate) is_stored: bool,
    /// The one input.
    pub(crate) input: RemoteInputs,
}

/// The settings of the pools that run chunks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct PoolSetup {
    /// The start method, if the user has chosen one.
    pub(crate) method: Option<String>,
    /// The indices of the initializers in the registry, and their encoded inputs.
    pub(crate) initializers: Vec<(u32, Vec<u8>)>,
    pub(crate) preloads: Vec<(u32, Vec<u8>)>,
    pub(crate) max_tasks: Option<u64>,
    pub(crate) restart_above: Option<u64>,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) env: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) nice: i32,
    pub(crate) pin_cpus: bool,
    /// The limit of the initializers in nanoseconds.
    pub(crate) init_timeout: Option<u64>,
}

impl PoolSetup {
    /// Returns a hash that identifies the setup among those of a build.
    pub(crate) fn hash(&self) -> u64 {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        encoded(self).iter().fold(0xcbf2_9ce4_8422_2325, mix)
    }
}

/// The answer of a program to an agent that asks for its [`PoolSetup`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum SetupAnswer {
    Setup(PoolSetup),
    /// It is in the store of values, encoded in this number of bytes.
    Stored(u64),
}

/// What an agent tells or asks a program.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum RunMessage {
    Outcomes(ChunkOutcomes),
    /// The last permitted attempt of a chunk begins on a host.
    LastTry {
        chunk: u64,
        host: String,
    },
    /// All attempts of a chunk were lost.
    HostsLost {
        chunk: u64,
        tries: u64,
    },
    /// The host that had a chunk of several inputs was lost, and the chunk has to be divided, so that an input that
    /// ends its host does not take the others with it.
    Divide {
        chunk: u64,
    },
    /// The agent asks whether the program still wants what it runs.
    Alive,
    /// The agent asks for the [`PoolSetup`].
    Setup,
}

/// The outcomes of consecutive inputs of a chunk.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ChunkOutcomes {
    pub(crate) chunk: u64,
    /// The index of the first input in the chunk.
    pub(crate) first: u64,
    /// The number of nanoseconds that the host needed for the whole chunk.
    pub(crate) took: u64,
    /// The length of each output; 0 for a failure.
    pub(crate) lengths: Vec<u64>,
    /// The outputs, one after the other.
    pub(crate) bytes: Vec<u8>,
    /// The failures, with their indices in this message.
    pub(crate) failures: Vec<(u64, Failure)>,
    /// The only output, if it is in the store of values.
    pub(crate) stored: Option<StoredOutput>,
}

/// An output in the store of values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct StoredOutput {
    pub(crate) name: String,
    pub(crate) len: u64,
}

impl ChunkOutcomes {
    /// Adds the outcome of the next input.
    pub(crate) fn push(&mut self, outcome: RemoteOutcome) {
        match outcome {
            Ok(bytes) => {
                self.lengths.push(bytes.len() as u64);
                self.bytes.extend_from_slice(&bytes);
            }
            Err(failure) => {
                self.failures.push((self.lengths.len() as u64, *failure));
                self.lengths.push(0);
            }
        }
    }

    /// Returns each outcome; `None` if the message is malformed.
    pub(crate) fn each(self) -> Option<Vec<RemoteOutcome>> {
        let parts = split(&self.bytes, self.lengths.iter().copied())?;
        let mut each: Vec<RemoteOutcome> =
            parts.into_iter().map(|part| Ok(part.to_vec())).collect();
        for (index, failure) in self.failures {
            *each.get_mut(usize::try_from(index).ok()?)? = Err(Box::new(failure));
        }
        Some(each)
    }
}

/// Room for the parts of a message besides its inputs or outputs.
const HEAD: usize = 4096;

/// Packs the outcomes of a chunk into messages of at most `limit` bytes. An output that is longer is passed to `store`
/// with its index, and has a message of its own.
pub(crate) fn packed(
    (chunk, took): (u64, u64),
    outcomes: Vec<RemoteOutcome>,
    limit: usize,
    mut store: impl FnMut(usize, Vec<u8>) -> StoredOutput,
) -> Vec<ChunkOutcomes> {
    let room = room_for_inputs(limit);
    let mut messages = Vec::new();
    let mut message = ChunkOutcomes { chunk, took, ..ChunkOutcomes::default() };
    let mut used = 0;
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let outcome = match outcome {
            Ok(bytes) if bytes.len() + 8 > room => {
                let stored = Some(store(index, bytes));
                let first = index as u64;
                messages.push(ChunkOutcomes {
                    chunk,
                    took,
                    first,
                    stored,
                    ..ChunkOutcomes::default()
                });
                if used > 0 {
                    messages.push(message);
                }
                let first = index as u64 + 1;
                message = ChunkOutcomes { chunk, took, first, ..ChunkOutcomes::default() };
                used = 0;
                continue;
            }
            Err(failure) => Err(Box::new(fitting(*failure))),
            short => short,
        };
        let needs = 8 + match &outcome {
            Ok(bytes) => bytes.len(),
            Err(failure) => 8 + encoded(&**failure).len(),
        };
        if used + needs > room && used > 0 {
            messages.push(message);
            message =
                ChunkOutcomes { chunk, took, first: index as u64, ..ChunkOutcomes::default() };
            used = 0;
        }
        used += needs;
        message.push(outcome);
    }
    if used > 0 {
        messages.push(message);
    }
    messages
}

/// Shortens a failure so that it fits every message.
fn fitting(failure: Failure) -> Failure {
    /// The maximum length of what a failure may have besides its texts.
    const MOST: usize = 16 << 10;
    let mut failure = failure.shortened();
    let causes: usize = failure.causes.iter().map(String::len).sum();
    if causes > MOST {
        failure.causes.clear();
    }
    failure.backtrace.take_if(|backtrace| backtrace.len() > MOST);
    failure
}

/// The maximum length of a message, even if the server accepts longer ones. While a long one is on its way, no other
/// message of its connection is, such as a report of progress.
const LONGEST: usize = 1 << 20;

/// Returns the number of bytes of inputs that fit a message of at most `limit` bytes.
pub(super) fn room_for_inputs(limit: usize) -> usize {
    limit.min(LONGEST).saturating_sub(HEAD)
}

/// Decodes a message.
pub(crate) fn decoded<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    let mut source = Source::new(bytes);
    let message = codec::decode(&mut source).ok()?;
    source.finish().ok().map(|()| message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::FailureKind;

    fn failure(text: &str) -> Failure {
        Failure::plain(FailureKind::Encode, text.to_owned())
    }

    #[test]
    fn outcomes_are_divided_among_messages_and_come_back() {
        let outcomes: Vec<RemoteOutcome> = (0_u8..40)
            .map(|n| match n % 5 {
                4 => Err(Box::new(failure("no"))),
                _ => Ok(vec![n; 100]),
            })
            .collect();
        let none = |_, _| unreachable!("none is long");
        let messages = packed((7, 5), outcomes.clone(), HEAD + 1000, none);
        assert!(messages.len() > 3, "{}", messages.len());
        let mut read = Vec::new();
        for message in messages {
            assert!(
                encoded(&RunMessage::Outcomes(ChunkOutcomes { ..message })).len() < HEAD + 1000
            );
        }
        for message in packed((7, 5), outcomes.clone(), HEAD + 1000, none) {
            assert_eq!((message.first, message.chunk, message.took), (read.len() as u64, 7, 5));
            let bytes = encoded(&message);
            read.extend(
                decoded::<ChunkOutcomes>(&bytes).and_then(ChunkOutcomes::each).expect("valid"),
            );
        }
        assert_eq!(read, outcomes);
    }

    #[test]
    fn an_output_that_fits_no_message_has_a_message_of_its_own() {
        let outcomes = vec![Ok(vec![1]), Ok(vec![0; 2000]), Ok(vec![3]), Ok(vec![4; 1500])];
        let store = |index: usize, bytes: Vec<u8>| StoredOutput {
            name: index.to_string(),
            len: bytes.len() as u64,
        };
        let mut messages = packed((1, 0), outcomes, HEAD + 1000, store);
        messages.sort_by_key(|message| message.first);
        let stored: Vec<_> =
            messages.iter().map(|one| one.stored.as_ref().map(|s| s.len)).collect();
        assert_eq!(stored, [None, Some(2000), None, Some(1500)]);
        let firsts: Vec<_> = messages.iter().map(|message| message.first).collect();
        assert_eq!(firsts, [0, 1, 2, 3]);
        assert_eq!(messages.remove(2).each(), Some(vec![Ok(vec![3])]));
    }

    #[test]
    fn a_subject_contains_its_run_and_chunk() {
        let subjects = Subjects { build: "b".to_owned() };
        assert_eq!(Subjects::parts(&subjects.chunk("r1", 12)), Some(("r1", 12)));
        assert_eq!(Subjects::parts("procession.b.task.r1.x"), None);
    }
}
