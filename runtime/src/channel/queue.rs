//! A queue whose items are acknowledged.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::acknowledge;
use super::end::{self, ChannelEnd};
use super::error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
use super::receive::TakeCounts;
use super::receiver::Receiver;
use super::sender::Sender;
use super::value;
use crate::error::Result;
use crate::sys::clock;

/// A queue that any process puts items into and takes items from, and that knows when all of them are done.
///
/// A `Queue` is a [`channel`](crate::channel()) both of whose ends are in one handle, which can be cloned and passed to
/// other processes as a part of any value. So it is never disconnected: [`get`](Self::get) waits until somebody puts an item. For each item that it
/// took, a process calls [`task_done`](Self::task_done); [`join`](Self::join) waits until that was done for all.
///
/// ```
/// use runtime::{Queue, worker};
///
/// #[worker]
/// fn work(queue: Queue<u64>, results: Queue<u64>) {
///     while let Ok(n) = queue.try_get() {
///         results.put(n * n).expect("there is memory");
///         queue.task_done().expect("it was taken");
///     }
/// }
///
/// let (queue, results) = (Queue::bounded(100)?, Queue::bounded(100)?);
/// for n in 0..10 {
///     queue.put(n)?;
/// }
/// let task = runtime::pool().submit(work, (queue.clone(), results.clone()));
/// queue.join()?;
/// task.wait()?;
/// let sum: u64 = std::iter::from_fn(|| results.try_get().ok()).sum();
/// assert_eq!(sum, 285);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
}

impl<T: Serialize + DeserializeOwned> Queue<T> {
    /// Makes a queue that holds at most `capacity` items.
    ///
    /// # Errors
    ///
    /// As [`channel`](crate::channel()).
    pub fn bounded(capacity: usize) -> Result<Self> {
        let (sender, receiver) = end::pair(capacity)?;
        Ok(Queue { sender: Sender::new(sender), receiver: Receiver::new(receiver) })
    }

    /// Puts an item in; waits while the queue is full.
    ///
    /// # Errors
    ///
    /// If the item cannot be sent, as by [`Sender::send`].
    pub fn put(&self, item: T) -> Result<(), SendError<T>> {
        self.sender.send(item)
    }

    /// Puts an item in if there is room for it now.
    ///
    /// # Errors
    ///
    /// As [`Sender::try_send`].
    pub fn try_put(&self, item: T) -> Result<(), TrySendError<T>> {
        self.sender.try_send(item)
    }

    /// Puts an item in; waits for at most `timeout` while the queue is full.
    ///
    /// # Errors
    ///
    /// As [`Sender::send_timeout`].
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.sender.send_timeout(item, timeout)
    }

    /// Takes the next item; waits while the queue is empty.
    ///
    /// # Errors
    ///
    /// [`RecvError::Failed`] if the item cannot be received. It counts as done.
    pub fn get(&self) -> Result<T, RecvError> {
        Ok(value::receive(self.end(), u64::MAX, TakeCounts::Yes)?)
    }

    /// Takes the next item if there is one now.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`TryRecvError::Empty`] if there is none.
    pub fn try_get(&self) -> Result<T, TryRecvError> {
        Ok(value::receive(self.end(), 0, TakeCounts::Yes)?)
    }

    /// Takes the next item; waits for at most `timeout` while the queue is empty.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`RecvTimeoutError::Timeout`] if none came in that time.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        Ok(value::receive(self.end(), clock::after(timeout), TakeCounts::Yes)?)
    }

    /// Says that an item that this process took is done.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if it was called more often than this process took items.
    pub fn task_done(&self) -> Result<()> {
        self.end().check()?;
        acknowledge::done(self.end())
    }

    /// Waits until every item that was put in was taken and is done.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) if a process ended, or was killed, that had taken items and had not said that they are done. They
    /// are told of once, and count as done from then on.
    pub fn join(&self) -> Result<()> {
        self.join_until(u64::MAX).map(drop)
    }

    /// Waits as [`join`](Self::join) for at most `timeout`; returns whether all items are done.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        self.join_until(clock::after(timeout))
    }

    fn join_until(&self, until: u64) -> Result<bool> {
        self.end().check()?;
        acknowledge::join(self.end(), until)
    }
}

impl<T> Queue<T> {
    fn end(&self) -> &ChannelEnd {
        self.receiver.end()
    }

    /// Returns the number of items in the queue, without those that were taken and are not done.
    pub fn len(&self) -> usize {
        self.sender.len()
    }

    /// Returns whether no item is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the queue holds as many items as it may.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Returns the most items that the queue holds.
    pub fn capacity(&self) -> usize {
        self.sender.capacity()
    }

    /// Returns the number of items that were put in and are not done.
    pub fn unfinished(&self) -> usize {
        acknowledge::unfinished(self.end())
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { sender: self.sender.clone(), receiver: self.receiver.clone() }
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("capacity", &self.capacity())
            .field("unfinished", &self.unfinished())
            .finish()
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.sender, &self.receiver).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (sender, receiver) = Deserialize::deserialize(deserializer)?;
        Ok(Queue { sender, receiver })
    }
}
