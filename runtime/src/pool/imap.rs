//! Lazy calls: iterators over outcomes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stream::{Outcomes, Step, Stream};
use crate::engine::{Options, Shared};
use crate::error::{Error, Result};
use crate::item::{Fitting, Item};
use crate::registry::Entry;

/// The outcomes of [`Pool::imap`](crate::Pool::imap), in the order of the inputs.
///
/// `I` is the iterator over the inputs, `P` what the parameters of the task take
/// ([`Task::Input`](crate::Task::Input)), `R` its output. A stream can be sent to another thread if the
/// iterator and the output can.
///
/// # Feeding
///
/// Inputs are pulled from the iterator by the thread that calls [`next`](Iterator::next),
/// and only when no outcome can be returned without pulling. An iterator that blocks
/// therefore delays at most the outcomes that finish while it blocks; with
/// [`pull_in_thread`](Self::pull_in_thread) it delays none. How far inputs are pulled ahead is set
/// by [`TaskCall::look_ahead`](crate::TaskCall::look_ahead) and
/// [`TaskCall::look_ahead_bytes`](crate::TaskCall::look_ahead_bytes).
///
/// # Ending early
///
/// Every input that was pulled has exactly one outcome, also when the stream is ended early:
///
/// | call | inputs not pulled | inputs not started | running tasks |
/// |---|---|---|---|
/// | [`stop`](Self::stop) | are not pulled | are run | are waited for |
/// | [`take_back`](Self::take_back) | are not pulled | `Cancelled` | are waited for |
/// | [`cancel`](Self::cancel) | are not pulled | `Cancelled` | `Cancelled` |
/// | dropping it | are not pulled | are dropped | are not waited for |
///
/// # Panics
///
/// If the iterator panics, `next` first returns the outcomes of all inputs that were pulled
/// before, then panics once with the payload of the iterator, and then returns `None`. The iterator
/// is not asked again.
#[must_use = "an iterator does nothing until it is used"]
pub struct Imap<I, P, R>
where
    I: Iterator,
    I::Item: Item<P>,
{
    reader: Reader<Fitting<I, P>, InOrder<R>>,
}

/// The outcomes of [`Pool::imap_unordered`](crate::Pool::imap_unordered), as they come.
///
/// Each has the index of its input with it. All else is as with [`Imap`].
#[must_use = "an iterator does nothing until it is used"]
pub struct ImapUnordered<I, P, R>
where
    I: Iterator,
    I::Item: Item<P>,
{
    reader: Reader<Fitting<I, P>, AsTheyCome<R>>,
}

/// The time given to [`Imap::next_timeout`] is over and no outcome can be returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no outcome came in the time given")
    }
}

impl std::error::Error for Elapsed {}

struct Reader<I: Iterator, O> {
    source: Source<I>,
    outcomes: O,
}

#[allow(clippy::large_enum_variant, reason = "the small one is an error")]
enum Source<I: Iterator> {
    Open(Stream<I>),
    /// What is left of a call that could not begin.
    Refused(Option<Error>),
}

/// Outcomes that wait for earlier ones.
struct InOrder<R> {
    /// From the next one to be given out on.
    waiting: VecDeque<Option<(Result<R>, usize)>>,
    next: usize,
}

struct AsTheyCome<R> {
    waiting: VecDeque<(usize, Result<R>, usize)>,
}

/// Gives outcomes out, each with its bytes.
trait Give<R>: Outcomes<R> {
    type Given;

    fn give(&mut self) -> Option<(Self::Given, usize)>;
}

impl<R> Outcomes<R> for InOrder<R> {
    #[inline]
    fn put(&mut self, index: usize, outcome: Result<R>, bytes: usize) {
        let at = index - self.next;
        if at == self.waiting.len() {
            self.waiting.push_back(Some((outcome, bytes)));
        } else {
            if at > self.waiting.len() {
                self.waiting.resize_with(at + 1, || None);
            }
            self.waiting[at] = Some((outcome, bytes));
        }
    }

    #[inline]
    fn is_ready(&self) -> bool {
        matches!(self.waiting.front(), Some(Some(_)))
    }
}

impl<R> Give<R> for InOrder<R> {
    type Given = Result<R>;

    #[inline]
    fn give(&mut self) -> Option<(Result<R>, usize)> {
        let given = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next += 1;
        Some(given)
    }
}

impl<R> Outcomes<R> for AsTheyCome<R> {
    #[inline]
    fn put(&mut self, index: usize, outcome: Result<R>, bytes: usize) {
        self.waiting.push_back((index, outcome, bytes));
    }

    #[inline]
    fn is_ready(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl<R> Give<R> for AsTheyCome<R> {
    type Given = (usize, Result<R>);

    #[inline]
    fn give(&mut self) -> Option<(Self::Given, usize)> {
        self.waiting.pop_front().map(|(index, outcome, bytes)| ((index, outcome), bytes))
    }
}

impl<I: Iterator, O> Reader<I, O>
where
    I::Item: Serialize,
{
    fn new(
        shared: Result<Arc<Shared>>,
        entry: Result<Entry>,
        options: &Options,
        inputs: I,
        outcomes: O,
    ) -> Self {
        let open = || Stream::new(shared?, entry?, options, inputs);
        let source = open().map_or_else(|error| Source::Refused(Some(error)), Source::Open);
        Reader { source, outcomes }
    }

    /// The next outcome, `None` at the end.
    #[inline]
    fn next<R>(&mut self, end: Option<Instant>) -> std::result::Result<Option<O::Given>, Elapsed>
    where
        R: DeserializeOwned,
        O: Give<R>,
    {
        loop {
            if let Some((given, bytes)) = self.outcomes.give() {
                if let Source::Open(stream) = &mut self.source {
                    stream.look.note_given(bytes);
                }
                return Ok(Some(given));
            }
            match &mut self.source {
                Source::Open(stream) => match stream.advance(end, &mut self.outcomes) {
                    Step::Ready => {}
                    Step::Over => return Ok(None),
                    Step::Elapsed => return Err(Elapsed),
                },
                Source::Refused(error) => match error.take() {
                    Some(error) => self.outcomes.put(0, Err(error), 0),
                    None => return Ok(None),
                },
            }
        }
    }

    fn stream(&mut self) -> Option<&mut Stream<I>> {
        match &mut self.source {
            Source::Open(stream) => Some(stream),
            Source::Refused(_) => None,
        }
    }

    fn pull_in_thread(mut self) -> Self
    where
        I: Send + 'static,
        I::Item: Send,
    {
        if let Some(stream) = self.stream()
            && let Err(error) = stream.pull_in_thread()
        {
            self.source = Source::Refused(Some(error));
        }
        self
    }

    fn cancel<R: DeserializeOwned>(&mut self)
    where
        O: Outcomes<R>,
    {
        if let Source::Open(stream) = &mut self.source {
            stream.cancel(&mut self.outcomes);
        }
    }
}

/// What both streams can do.
macro_rules! stream {
    ($name:ident, $outcomes:expr, $given:ty) => {
        impl<I, P, R> $name<I, P, R>
        where
            I: Iterator,
            I::Item: Item<P>,
            R: DeserializeOwned,
        {
            pub(super) fn new(
                shared: Result<Arc<Shared>>,
                entry: Result<Entry>,
                options: &Options,
                inputs: I,
            ) -> Self {
                $name {
                    reader: Reader::new(shared, entry, options, Fitting::new(inputs), $outcomes),
                }
            }

            /// Waits for the next outcome for at most `time`. Returns `Ok(None)` at the end of
            /// the stream.
            ///
            /// While this thread pulls the inputs, an iterator that blocks is not interrupted:
            /// the call then returns when the iterator does. With
            /// [`pull_in_thread`](Self::pull_in_thread) it returns in time.
            ///
            /// ```
            /// use std::time::Duration;
            /// use runtime::worker;
            ///
            /// #[worker]
            /// fn nap(ms: u64) -> u64 {
            ///     std::thread::sleep(Duration::from_millis(ms));
            ///     ms
            /// }
            ///
            /// let mut outcomes = runtime::pool().imap(nap, [300]);
            /// assert!(outcomes.next_timeout(Duration::from_millis(10)).is_err());
            /// assert!(outcomes.next_timeout(Duration::from_secs(10)).is_ok_and(|o| o.is_some()));
            /// assert!(outcomes.next_timeout(Duration::ZERO).is_ok_and(|o| o.is_none()));
            /// ```
            ///
            /// # Errors
            ///
            /// [`Elapsed`] if no outcome can be returned in time; the stream can be read further.
            ///
            /// # Panics
            ///
            /// As [`next`](Iterator::next), if the iterator panicked.
            pub fn next_timeout(
                &mut self,
                time: Duration,
            ) -> std::result::Result<Option<$given>, Elapsed> {
                self.reader.next(Instant::now().checked_add(time))
            }

            /// Pulls the inputs in a thread of its own from now on, so that an iterator that
            /// blocks holds up neither outcomes nor inputs that were pulled before. An iterator
            /// may then wait for what comes of the outcomes.
            ///
            /// The look-ahead is the same. When the stream ends or is dropped, the thread ends as
            /// soon as the iterator returns. With the start method `Fork`, build all pools before:
            /// a process with other threads is not forked.
            ///
            /// ```
            /// use runtime::worker;
            ///
            /// #[worker]
            /// fn half(x: u64) -> u64 {
            ///     x / 2
            /// }
            ///
            /// // The inputs are what comes of the outcomes.
            /// let (more, inputs) = std::sync::mpsc::channel();
            /// more.send(1000).unwrap();
            /// let mut steps = 0;
            /// for outcome in runtime::pool().imap(half, inputs).pull_in_thread() {
            ///     steps += 1;
            ///     match outcome? {
            ///         0 => break,
            ///         x => more.send(x).unwrap(),
            ///     }
            /// }
            /// assert_eq!(steps, 10);
            /// # Ok::<(), runtime::Error>(())
            /// ```
            pub fn pull_in_thread(self) -> Self
            where
                I: Send + 'static,
                I::Item: Send,
                P: 'static,
            {
                $name { reader: self.reader.pull_in_thread() }
            }

            /// Pulls no more inputs. The inputs that were pulled are run, their outcomes are
            /// returned, and then the stream ends. To end it sooner, use
            /// [`take_back`](Self::take_back) or [`cancel`](Self::cancel).
            pub fn stop(&mut self) {
                if let Some(stream) = self.reader.stream() {
                    stream.stop();
                }
            }

            /// Pulls no more inputs, and takes back those that no worker has started. Returns
            /// their number as far as it is known: a worker that has several inputs in hand stops
            /// after the present one, and takes back the others then.
            ///
            /// The outcome of an input that was taken back is
            /// [`Cancelled`](crate::ErrorKind::Cancelled). Tasks that run are finished and their outcomes
            /// returned, so that nothing that was begun is lost.
            pub fn take_back(&mut self) -> usize {
                self.reader.stream().map_or(0, Stream::take_back)
            }

            /// Ends the stream at once: no more inputs are pulled, those that no worker has
            /// started are taken back, and tasks that run are not waited for. What is finished is
            /// still returned, and the outcome of every other input that was pulled is
            /// [`Cancelled`](crate::ErrorKind::Cancelled). Nothing blocks any more.
            ///
            /// A task that runs occupies its worker until it returns; give it a
            /// [`timeout`](crate::TaskCall::timeout) if that may take long.
            ///
            /// ```
            /// use runtime::{ErrorKind, worker};
            ///
            /// #[worker]
            /// fn double(x: u64) -> u64 {
            ///     2 * x
            /// }
            ///
            /// let mut outcomes = runtime::pool().imap(double, 0..);
            /// assert_eq!(outcomes.by_ref().take(3).collect::<Result<Vec<_>, _>>()?, [0, 2, 4]);
            /// outcomes.cancel();
            /// for outcome in outcomes {
            ///     assert!(outcome.is_ok() || outcome.is_err_and(|e| e.kind() == ErrorKind::Cancelled));
            /// }
            /// # Ok::<(), runtime::Error>(())
            /// ```
            pub fn cancel(&mut self) {
                self.reader.cancel();
            }
        }

        impl<I, P, R> Iterator for $name<I, P, R>
        where
            I: Iterator,
            I::Item: Item<P>,
            R: DeserializeOwned,
        {
            type Item = $given;

            #[inline]
            fn next(&mut self) -> Option<$given> {
                self.reader.next(None).unwrap_or_default()
            }
        }

        impl<I, P, R> std::iter::FusedIterator for $name<I, P, R>
        where
            I: Iterator,
            I::Item: Item<P>,
            R: DeserializeOwned,
        {
        }

        impl<I, P, R> std::fmt::Debug for $name<I, P, R>
        where
            I: Iterator,
            I::Item: Item<P>,
        {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name)).finish_non_exhaustive()
            }
        }
    };
}

stream!(Imap, InOrder { waiting: VecDeque::new(), next: 0 }, Result<R>);
stream!(ImapUnordered, AsTheyCome { waiting: VecDeque::new() }, (usize, Result<R>));
