//! Calls: what the caller asked for, and what came back for it so far.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar};
use std::task::Waker;
use std::time::Duration;

use super::chunk::Chunk;
use crate::codec::Source;
use crate::error::Error;
use crate::queue::{Big, DeskMap};
use crate::registry::Entry;

/// Names a call of a pool; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallId {
    pub(super) slot: usize,
    pub(super) serial: u64,
}

/// What a call wants done differently.
#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) chunk_size: Option<usize>,
    pub(super) max_active: Option<usize>,
    pub(super) progress: Option<String>,
}

impl Options {
    /// Inputs that must travel alone.
    pub(super) fn is_single(&self) -> bool {
        self.timeout.is_some() || self.max_active.is_some()
    }
}

/// A call that is not finished.
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) entry: Entry,
    pub(super) options: Options,
    /// Inputs handed in and not answered.
    pub(super) outstanding: usize,
    /// Chunks that wait for room in the queue.
    pub(super) pending: VecDeque<Chunk>,
    /// Chunks in the queue or with a worker.
    pub(super) active: usize,
    /// How often inputs were lost with their worker, where that is more than never.
    pub(super) losses: HashMap<usize, u32>,
    pub(super) inbox: Inbox,
    /// Nanoseconds an input took of late; `None` before the first.
    pub(super) pace: Option<f64>,
    /// Nobody wants the results; the call goes when it is done.
    pub(super) detached: bool,
    /// A thread waits for this call while another one leads.
    pub(super) follower: Option<Arc<Condvar>>,
    pub(super) waker: Option<Waker>,
}

/// Results that came, in the order they came.
#[derive(Default)]
pub(super) struct Inbox {
    words: Vec<u64>,
    items: Vec<Item>,
}

struct Item {
    index: usize,
    place: Place,
}

enum Place {
    /// From this word of the inbox on, so many bytes.
    Words {
        at: usize,
        len: usize,
    },
    /// In a big slot; only while the owner of the call reads (rule 9).
    Big(BigRef),
    Copied(Vec<u8>),
    Failed(Error),
}

/// A result in a big slot, which is given back when this is dropped.
pub(super) struct BigRef {
    pub(super) desk: Arc<DeskMap>,
    pub(super) big: Big,
}

impl Drop for BigRef {
    fn drop(&mut self) {
        self.desk.desk().free_big(self.big.slot, self.big.ticket);
        self.desk.desk().wake_if_stuck();
    }
}

/// One result as it is handed out.
pub(super) enum Answer<'a> {
    Value(Source<'a>),
    Failed(Error),
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    #[inline]
    pub(super) fn push_words(&mut self, index: usize, words: &[u64], len: usize) {
        let place = Place::Words {
            at: self.words.len(),
            len,
        };
        self.words.extend_from_slice(words);
        self.items.push(Item { index, place });
    }

    pub(super) fn push_big(&mut self, index: usize, big: BigRef) {
        self.items.push(Item {
            index,
            place: Place::Big(big),
        });
    }

    pub(super) fn push_copied(&mut self, index: usize, bytes: Vec<u8>) {
        self.items.push(Item {
            index,
            place: Place::Copied(bytes),
        });
    }

    pub(super) fn push_failed(&mut self, index: usize, error: Error) {
        self.items.push(Item {
            index,
            place: Place::Failed(error),
        });
    }

    /// Hands all results out and is empty afterwards; stops at the first error.
    pub(super) fn take_each<E>(
        &mut self,
        mut each: impl FnMut(usize, Answer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let bytes = crate::queue::bytes_of(&self.words);
        let mut outcome = Ok(());
        for Item { index, place } in self.items.drain(..) {
            if outcome.is_err() {
                continue;
            }
            outcome = match place {
                Place::Words { at, len } => each(
                    index,
                    Answer::Value(Source::new(&bytes[at * 8..at * 8 + len])),
                ),
                Place::Big(place) => match place.desk.big(place.big.slot, place.big.len) {
                    Some(source) => each(index, Answer::Value(source)),
                    None => Ok(()),
                },
                Place::Copied(bytes) => each(index, Answer::Value(Source::new(&bytes))),
                Place::Failed(error) => each(index, Answer::Failed(error)),
            };
        }
        self.words.clear();
        outcome
    }
}
