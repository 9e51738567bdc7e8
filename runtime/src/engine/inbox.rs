//! Results that have arrived for a call and were not taken yet.

use std::sync::Arc;

use crate::codec::Source;
use crate::error::{Error, ErrorKind};
use crate::handle::{self, Object};
use crate::queue::{Big, WorkerPageMap, bytes_of, words_in_run};

/// The number of words of capacity that an inbox keeps, even if it received few results recently.
const KEPT: usize = 64 << 10;

/// The received results of a call, in the order of their arrival.
///
/// The inbox of a call with one short result makes one small allocation, because one thread may read the results
/// of many calls, and the allocator keeps the memory that a thread has used.
#[derive(Default)]
pub(crate) struct Inbox {
    /// Short results, as their runs say.
    words: Vec<u64>,
    items: Vec<InboxItem>,
    /// Short results that came after all items.
    last: ShortResults,
}

/// Short results of inputs with consecutive indices.
#[derive(Clone, Copy, Default)]
struct ShortResults {
    first: usize,
    count: usize,
    /// The length of each, as it lies in a run of a ring; `None` if each follows a word with its length.
    len: Option<usize>,
}

/// From this number on results of one length are kept without a length each.
const TOGETHER: usize = 4;

/// An object of an output; `None` if this process could not open its descriptors.
pub(super) type Held = Option<Arc<Object>>;

enum InboxItem {
    Short(ShortResults),
    /// In a big slot; only while the owner of the call reads (rule Q9).
    Big(usize, BigRef),
    Copied(usize, Vec<u8>),
    /// An output with objects, which live until it is decoded (rule H5).
    Held(usize, Vec<u8>, Vec<Held>),
    Failed(usize, Error),
}

/// A result in a big slot, which is given back when this is dropped.
pub(super) struct BigRef {
    pub(super) page: Arc<WorkerPageMap>,
    pub(super) big: Big,
}

impl Drop for BigRef {
    fn drop(&mut self) {
        self.page.free_big(self.big.slot, self.big.ticket);
        self.page.view().wake_if_stuck();
    }
}

/// One result as it is handed out.
pub(crate) enum Answer<'a> {
    Value(Source<'a>),
    Failed(Error),
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.last.count == 0
    }

    /// Returns the buffer for the words of `count` short results of `len` bytes each, in the format of a run in a
    /// ring. The first one is that of the input `index`. Returns `None` if the results have to be added one by one
    /// by [`begin_short`](Self::begin_short).
    #[inline]
    pub(super) fn begin_run(
        &mut self,
        index: usize,
        len: usize,
        count: usize,
    ) -> Option<&mut Vec<u64>> {
        let last = &self.last;
        let continues = last.first + last.count == index && last.len == Some(len) && last.count > 0;
        if !continues {
            if count < TOGETHER {
                return None;
            }
            self.set_last_aside();
            self.last = ShortResults { first: index, count: 0, len: Some(len) };
        }
        self.last.count += count;
        Some(&mut self.words)
    }

    /// Writes the length of a short result, and returns the buffer for its payload.
    #[inline]
    pub(super) fn begin_short(&mut self, index: usize, len: usize) -> &mut Vec<u64> {
        if self.last.first + self.last.count != index || self.last.len.is_some() {
            self.set_last_aside();
            self.last.first = index;
        }
        self.last.count += 1;
        if self.words.capacity() == 0 {
            self.words.reserve_exact(1 + len.div_ceil(8));
        }
        self.words.push(len as u64);
        &mut self.words
    }

    #[cold]
    fn set_last_aside(&mut self) {
        let last = std::mem::take(&mut self.last);
        if last.count > 0 {
            self.items.push(InboxItem::Short(last));
        }
    }

    fn push(&mut self, item: InboxItem) {
        self.set_last_aside();
        self.items.push(item);
    }

    pub(super) fn push_big(&mut self, index: usize, big: BigRef) {
        self.push(InboxItem::Big(index, big));
    }

    pub(super) fn push_copied(&mut self, index: usize, bytes: Vec<u8>) {
        self.push(InboxItem::Copied(index, bytes));
    }

    pub(super) fn push_held(&mut self, index: usize, bytes: Vec<u8>, objects: Vec<Held>) {
        self.push(match objects.iter().all(Option::is_some) {
            true => InboxItem::Held(index, bytes, objects),
            false => InboxItem::Failed(index, Error::new(ErrorKind::Decode, handle::TOO_MANY)),
        });
    }

    pub(super) fn push_failed(&mut self, index: usize, error: Error) {
        self.push(InboxItem::Failed(index, error));
    }

    /// Replaces the results with objects by errors, because objects cannot leave this host.
    #[cfg(feature = "cluster")]
    pub(crate) fn refuse_objects(&mut self) {
        for item in &mut self.items {
            if let InboxItem::Held(index, ..) = item {
                let text = format!("its output contains {}", crate::handle::ON_ONE_HOST);
                *item = InboxItem::Failed(*index, Error::new(ErrorKind::Encode, text));
            }
        }
    }

    /// Hands all results out and is empty afterwards; stops at the first error.
    pub(crate) fn take_each<E>(
        &mut self,
        mut each: impl FnMut(usize, Answer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let last = std::mem::take(&mut self.last);
        let Inbox { words, items, .. } = self;
        let mut rest = &words[..];
        let mut short = |run: ShortResults, each: &mut _| take_run(run, &mut rest, each);
        let outcome = items.drain(..).try_for_each(|item| match item {
            InboxItem::Short(run) => short(run, &mut each),
            InboxItem::Big(index, place) => match place.page.big(place.big.slot, place.big.len) {
                Some(source) => each(index, Answer::Value(source)),
                None => Ok(()),
            },
            InboxItem::Copied(index, bytes) => each(index, Answer::Value(Source::new(&bytes))),
            InboxItem::Held(index, bytes, objects) => {
                let outcome = each(index, Answer::Value(Source::new(&bytes)));
                drop(objects);
                outcome
            }
            InboxItem::Failed(index, error) => each(index, Answer::Failed(error)),
        });
        let outcome = outcome.and_then(|()| short(last, &mut each));
        let (used, kept) = (self.words.len(), self.words.capacity());
        self.words.clear();
        if kept > KEPT && used < kept / 8 {
            // A peak is over.
            self.words.shrink_to(2 * used);
            self.items.shrink_to(2 * used);
        }
        outcome
    }
}

/// Hands the results of a run out, whose words are the first of `rest`.
#[inline(always)]
fn take_run<E>(
    run: ShortResults,
    rest: &mut &[u64],
    each: &mut impl FnMut(usize, Answer<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let ShortResults { first, count, len } = run;
    let Some(len) = len else {
        return (first..first + count).try_for_each(|index| {
            let len = rest[0] as usize;
            let (words, behind) = rest[1..].split_at(len.div_ceil(8));
            *rest = behind;
            each(index, Answer::Value(Source::new(&bytes_of(words)[..len])))
        });
    };
    let size = words_in_run(len);
    let (words, behind) = rest.split_at(count * size);
    *rest = behind;
    let mut index = first;
    words.chunks_exact(size).try_for_each(|words| {
        let answer = Answer::Value(Source::new(&bytes_of(words)[..len]));
        index += 1;
        each(index - 1, answer)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_handed_out_in_the_order_they_came() {
        let mut inbox = Inbox::default();
        for _ in 0..2 {
            inbox.begin_short(0, 8).push(10);
            inbox.push_held(1, vec![11], Vec::new());
            inbox.begin_short(2, 8).push(12);
            inbox.begin_short(3, 8).push(13);
            assert!(inbox.begin_run(4, 8, 2).is_none(), "too few");
            inbox.push_held(4, Vec::new(), vec![None]);
            inbox.push_copied(5, vec![15]);
            let mut came = Vec::new();
            let all: Result<(), ()> = inbox.take_each(|index, answer| {
                came.push((index, matches!(answer, Answer::Value(_))));
                Ok(())
            });
            assert_eq!(all, Ok(()));
            // The descriptors of the fourth could not be opened.
            let expected = [(0, true), (1, true), (2, true), (3, true), (4, false), (5, true)];
            assert_eq!(came, expected);
            assert!(inbox.is_empty());
        }
    }
}
