//! Lazy calls: iterators over outcomes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stream::{Outcomes, Stream, StreamStep};
use crate::engine::{Options, SharedPool};
use crate::error::{Error, Result};
use crate::item::{Fitting, Item};
use crate::registry::Entry;

/// A lazy iterator over the outcomes of [`Pool::imap`](crate::Pool::imap), in the order of the inputs.
///
/// `I` is the iterator over the inputs, `P` is the [`Task::Input`](crate::Task::Input) of the task,
/// and `R` is its output. A stream can be sent to another thread if the iterator and the output can.
///
/// # Pulling inputs
///
/// The thread that calls [`next`](Iterator::next) pulls inputs from the iterator, and only when it
/// has no outcome to return. An iterator that blocks therefore delays at most the outcomes that
/// finish while it blocks. With [`pull_in_thread`](Self::pull_in_thread) it delays none.
/// [`TaskCall::look_ahead`](crate::TaskCall::look_ahead) and
/// [`TaskCall::look_ahead_bytes`](crate::TaskCall::look_ahead_bytes) limit how far inputs are pulled
/// ahead.
///
/// # Ending early
///
/// Every input that was pulled has exactly one outcome, even if the stream ends early. No method
/// below pulls further inputs:
///
/// | | inputs that no worker has started | running tasks |
/// |---|---|---|
/// | [`stop`](Self::stop) | are run | are waited for |
/// | [`take_back`](Self::take_back) | fail as `Cancelled` | are waited for |
/// | [`cancel`](Self::cancel) | fail as `Cancelled` | fail as `Cancelled` |
/// | dropping the stream | are dropped | are not waited for |
///
/// # Panics
///
/// If the iterator panics, `next` first returns the outcomes of all inputs that were pulled before.
/// Then it panics once with the payload of the iterator, and afterwards it returns `None`. The
/// iterator is not called again.
#[must_use = "an iterator does nothing until it is used"]
pub struct Imap<I, P, R>
where
    I: Iterator,
    I::Item: Item<P>,
{
    reader: Reader<Fitting<I, P>, OrderedWindow<R>>,
}

/// A lazy iterator over the outcomes of [`Pool::imap_unordered`](crate::Pool::imap_unordered), in the
/// order in which they finish.
///
/// Each item is the index of an input and its outcome. In all other respects it works like [`Imap`].
#[must_use = "an iterator does nothing until it is used"]
pub struct ImapUnordered<I, P, R>
where
    I: Iterator,
    I::Item: Item<P>,
{
    reader: Reader<Fitting<I, P>, AsTheyCome<R>>,
}

/// The error of [`Imap::next_timeout`] if no outcome is available in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elapsed;

impl std::fmt::Display for Elapsed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no outcome was available before the timeout")
    }
}

impl std::error::Error for Elapsed {}

struct Reader<I: Iterator, O> {
    source: StreamSource<I>,
    outcomes: O,
}

#[allow(clippy::large_enum_variant, reason = "the small one is an error")]
enum StreamSource<I: Iterator> {
    Open(Stream<I>),
    /// The error of a call that could not start, until it was returned.
    Refused(Option<Error>),
}

/// Outcomes that are returned in the order of their inputs.
struct OrderedWindow<R> {
    /// The outcomes from index `next` on; `None` for those that have not arrived.
    waiting: VecDeque<Option<Result<R>>>,
    next: usize,
}

struct AsTheyCome<R> {
    waiting: VecDeque<(usize, Result<R>)>,
}

/// Returns the outcomes of a store.
trait Give<R>: Outcomes<R> {
    type Given;

    fn give(&mut self) -> Option<Self::Given>;
}

impl<R> Outcomes<R> for OrderedWindow<R> {
    #[inline]
    fn put(&mut self, index: usize, outcome: Result<R>) {
        let at = index - self.next;
        if at == self.waiting.len() {
            self.waiting.push_back(Some(outcome));
        } else {
            if at > self.waiting.len() {
                self.waiting.resize_with(at + 1, || None);
            }
            self.waiting[at] = Some(outcome);
        }
    }

    #[inline]
    fn is_ready(&self) -> bool {
        matches!(self.waiting.front(), Some(Some(_)))
    }
}

impl<R> Give<R> for OrderedWindow<R> {
    type Given = Result<R>;

    #[inline]
    fn give(&mut self) -> Option<Result<R>> {
        let given = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next += 1;
        Some(given)
    }
}

impl<R> Outcomes<R> for AsTheyCome<R> {
    #[inline]
    fn put(&mut self, index: usize, outcome: Result<R>) {
        self.waiting.push_back((index, outcome));
    }

    #[inline]
    fn is_ready(&self) -> bool {
        !self.waiting.is_empty()
    }
}

impl<R> Give<R> for AsTheyCome<R> {
    type Given = (usize, Result<R>);

    #[inline]
    fn give(&mut self) -> Option<Self::Given> {
        self.waiting.pop_front()
    }
}

impl<I: Iterator, O> Reader<I, O>
where
    I::Item: Serialize,
{
    fn new(
        shared: Result<Arc<SharedPool>>,
        entry: Result<Entry>,
        options: &Options,
        inputs: I,
        outcomes: O,
    ) -> Self {
        let open = || Stream::new(shared?, entry?, options, inputs);
        let source =
            open().map_or_else(|error| StreamSource::Refused(Some(error)), StreamSource::Open);
        Reader { source, outcomes }
    }

    /// Returns the next outcome, or `None` at the end.
    #[inline]
    fn next<R>(&mut self, end: Option<Instant>) -> std::result::Result<Option<O::Given>, Elapsed>
    where
        R: DeserializeOwned,
        O: Give<R>,
    {
        loop {
            if let Some(given) = self.outcomes.give() {
                if let StreamSource::Open(stream) = &mut self.source {
                    stream.look.note_given();
                }
                return Ok(Some(given));
            }
            match &mut self.source {
                StreamSource::Open(stream) => match stream.advance(end, &mut self.outcomes) {
                    StreamStep::Ready => {}
                    StreamStep::Over => return Ok(None),
                    StreamStep::Elapsed => return Err(Elapsed),
                },
                StreamSource::Refused(error) => match error.take() {
                    Some(error) => self.outcomes.put(0, Err(error)),
                    None => return Ok(None),
                },
            }
        }
    }

    fn stream(&mut self) -> Option<&mut Stream<I>> {
        match &mut self.source {
            StreamSource::Open(stream) => Some(stream),
            StreamSource::Refused(_) => None,
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
            self.source = StreamSource::Refused(Some(error));
        }
        self
    }

    fn cancel<R: DeserializeOwned>(&mut self)
    where
        O: Outcomes<R>,
    {
        if let StreamSource::Open(stream) = &mut self.source {
            stream.cancel(&mut self.outcomes);
        }
    }
}

/// The methods of both streams.
macro_rules! stream {
    ($name:ident, $outcomes:expr, $given:ty) => {
        impl<I, P, R> $name<I, P, R>
        where
            I: Iterator,
            I::Item: Item<P>,
            R: DeserializeOwned,
        {
            pub(super) fn new(
                shared: Result<Arc<SharedPool>>,
                entry: Result<Entry>,
                options: &Options,
                inputs: I,
            ) -> Self {
                $name {
                    reader: Reader::new(shared, entry, options, Fitting::new(inputs), $outcomes),
                }
            }

            /// Waits for the next outcome for at most `time`, and returns `Ok(None)` at the end of
            /// the stream.
            ///
            /// If the calling thread pulls the inputs and the iterator blocks, this returns only after
            /// the iterator does. With [`pull_in_thread`](Self::pull_in_thread) it returns in time.
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
            /// Returns [`Elapsed`] if no outcome is available in time. The stream remains usable.
            ///
            /// # Panics
            ///
            /// Panics like [`next`](Iterator::next) if the iterator has panicked.
            pub fn next_timeout(
                &mut self,
                time: Duration,
            ) -> std::result::Result<Option<$given>, Elapsed> {
                self.reader.next(Instant::now().checked_add(time))
            }

            /// Pulls the inputs in a separate thread from now on.
            ///
            /// An iterator that blocks then delays neither outcomes nor the inputs that were pulled
            /// before. The iterator may even depend on outcomes, as in the example.
            ///
            /// The limits of look-ahead stay the same. When the stream ends or is dropped, the thread
            /// ends as soon as the iterator returns. With
            /// [`StartMethod::Fork`](crate::StartMethod::Fork), build all pools first: a process that
            /// has other threads is not forked.
            ///
            /// ```
            /// use runtime::worker;
            ///
            /// #[worker]
            /// fn half(x: u64) -> u64 {
            ///     x / 2
            /// }
            ///
            /// // Each outcome becomes the next input.
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

            /// Stops pulling inputs.
            ///
            /// The inputs that were pulled still run, `next` returns their outcomes, and then the
            /// stream ends. [`take_back`](Self::take_back) and [`cancel`](Self::cancel) end it sooner.
            ///
            /// ```
            /// use runtime::worker;
            ///
            /// #[worker]
            /// fn square(x: u64) -> u64 {
            ///     x * x
            /// }
            ///
            /// let mut squares = runtime::pool().imap(square, 1..);
            /// squares.next();
            /// squares.stop();
            /// // The range has no end, the stream has one.
            /// assert!(squares.all(|square| square.is_ok()));
            /// ```
            pub fn stop(&mut self) {
                if let Some(stream) = self.reader.stream() {
                    stream.stop();
                }
            }

            /// Stops pulling inputs, and cancels those that no worker has started.
            ///
            /// The outcome of an input that was taken back is
            /// [`Cancelled`](crate::ErrorKind::Cancelled). Running tasks finish, and their outcomes are
            /// returned.
            ///
            /// Returns the number of inputs that were taken back so far. A worker that has claimed
            /// several inputs finishes the current one; the others are then taken back too, but are
            /// not in this number.
            pub fn take_back(&mut self) -> usize {
                self.reader.stream().map_or(0, Stream::take_back)
            }

            /// Ends the stream without waiting for running tasks.
            ///
            /// No more inputs are pulled. `next` still returns the outcomes that have arrived; the
            /// outcome of every other input that was pulled is
            /// [`Cancelled`](crate::ErrorKind::Cancelled). `next` does not block any more.
            ///
            /// A running task occupies its worker until it returns. It can find out by
            /// [`is_cancelled`](crate::is_cancelled) that it is not needed. Use
            /// [`timeout`](crate::TaskCall::timeout) to have it killed.
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

stream!(Imap, OrderedWindow { waiting: VecDeque::new(), next: 0 }, Result<R>);
stream!(ImapUnordered, AsTheyCome { waiting: VecDeque::new() }, (usize, Result<R>));
