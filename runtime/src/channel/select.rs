//! Waiting for several receivers.

use std::fmt;
use std::time::Duration;

use super::end::ChannelEnd;
use super::receiver::Receiver;
use super::wait::WaitForAny;
use crate::sys::clock;

/// Waits until one of several receivers has a message, or is disconnected.
///
/// The receivers can have different types. The result is the index of a ready receiver; its message stays in the channel until
/// [`try_recv`](Receiver::try_recv) takes it. Another receiver of the same channel may take it first, in which case `try_recv`
/// returns [`TryRecvError::Empty`](crate::TryRecvError::Empty). Receivers that are ready at the same time take turns.
///
/// ```
/// use runtime::Select;
///
/// let (numbers, from_numbers) = runtime::channel::<u64>(4)?;
/// let (words, from_words) = runtime::channel::<String>(4)?;
/// words.send("hello".to_owned())?;
///
/// let mut select = Select::new();
/// let first = select.recv(&from_numbers);
/// let second = select.recv(&from_words);
/// assert_eq!(select.ready(), second);
/// assert_eq!(from_words.try_recv()?, "hello");
/// # let _ = (first, numbers);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Select<'a> {
    ends: Vec<&'a ChannelEnd>,
    /// The index of the receiver to check first.
    turn: usize,
}

impl<'a> Select<'a> {
    /// Creates a set without receivers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a receiver and returns its index, counted from 0.
    pub fn recv<T>(&mut self, receiver: &'a Receiver<T>) -> usize {
        self.ends.push(receiver.end());
        self.ends.len() - 1
    }

    /// Waits until a receiver has a message or is disconnected, and returns its index.
    ///
    /// # Panics
    ///
    /// Panics if there are no receivers, because none could ever be ready.
    pub fn ready(&mut self) -> usize {
        assert!(!self.ends.is_empty(), "a `Select` without receivers waits for nothing");
        loop {
            if let Some(index) = self.ready_until(u64::MAX) {
                return index;
            }
        }
    }

    /// Returns the index of a receiver that is ready now, if there is one.
    pub fn try_ready(&mut self) -> Option<usize> {
        self.ready_until(0)
    }

    /// Waits for at most `timeout` until a receiver is ready, and returns its index, or `None` if none is.
    pub fn ready_timeout(&mut self, timeout: Duration) -> Option<usize> {
        self.ready_until(clock::after(timeout))
    }

    fn ready_until(&mut self, until: u64) -> Option<usize> {
        let found = WaitForAny { ends: &self.ends, turn: self.turn, other: None }
            .until(until, |sleep| sleep());
        if let Some(found) = found {
            self.turn = found + 1;
        }
        found
    }
}

impl fmt::Debug for Select<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Select").field("receivers", &self.ends.len()).finish()
    }
}
