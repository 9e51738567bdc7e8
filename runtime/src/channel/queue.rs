//! Queues with acknowledgements.

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

/// A queue of items with acknowledgements, which any process can put items into and take items from.
///
/// A `Queue` is a [`channel`](crate::channel()) with both ends in one handle, which can be cloned and sent to other processes
/// inside of any value. It is therefore never disconnected: [`get`](Self::get) waits until a process puts an item. A process
/// calls [`task_done`](Self::task_done) for each item that it has taken, and [`join`](Self::join) waits until all items are done.
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
    /// Creates a queue that holds at most `capacity` items.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`channel`](crate::channel()).
    pub fn bounded(capacity: usize) -> Result<Self> {
        let (sender, receiver) = end::pair(capacity)?;
        Ok(Queue { sender: Sender::new(sender), receiver: Receiver::new(receiver) })
    }

    /// Puts an item into the queue, and waits while the queue is full.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Sender::send`], except that a queue is never disconnected.
    pub fn put(&self, item: T) -> Result<(), SendError<T>> {
        self.sender.send(item)
    }

    /// Puts an item into the queue if there is room for it now.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put`](Self::put), and [`TrySendError::Full`] as [`Sender::try_send`] does.
    pub fn try_put(&self, item: T) -> Result<(), TrySendError<T>> {
        self.sender.try_send(item)
    }

    /// Puts an item into the queue, and waits for at most `timeout` while the queue is full.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`put`](Self::put), and [`SendTimeoutError::Timeout`] if the queue was full for that time.
    pub fn put_timeout(&self, item: T, timeout: Duration) -> Result<(), SendTimeoutError<T>> {
        self.sender.send_timeout(item, timeout)
    }

    /// Takes the next item, and waits while the queue is empty.
    ///
    /// # Errors
    ///
    /// Returns [`RecvError::Failed`] if the item cannot be received. An item that cannot be decoded is lost, and counts as done.
    pub fn get(&self) -> Result<T, RecvError> {
        Ok(value::receive(self.end(), u64::MAX, TakeCounts::Yes)?)
    }

    /// Takes the next item if there is one now.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`get`](Self::get), and [`TryRecvError::Empty`] as [`Receiver::try_recv`] does.
    pub fn try_get(&self) -> Result<T, TryRecvError> {
        Ok(value::receive(self.end(), 0, TakeCounts::Yes)?)
    }

    /// Takes the next item, and waits for at most `timeout` while the queue is empty.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`get`](Self::get), and [`RecvTimeoutError::Timeout`] if there was no item in that time.
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        Ok(value::receive(self.end(), clock::after(timeout), TakeCounts::Yes)?)
    }

    /// Acknowledges an item that this process has taken.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if this process has acknowledged all items that it
    /// has taken.
    pub fn task_done(&self) -> Result<()> {
        self.end().check()?;
        acknowledge::done(self.end())
    }

    /// Waits until all items that were put into the queue were taken and are done.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Lost`](crate::ErrorKind::Lost) if a process has ended that had taken items and not acknowledged them.
    /// Such items count as done, and each is reported once.
    pub fn join(&self) -> Result<()> {
        self.join_until(u64::MAX).map(drop)
    }

    /// Waits like [`join`](Self::join), but for at most `timeout`, and returns whether all items are done.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`join`](Self::join).
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

    /// Returns the number of items in the queue, without those that were taken.
    pub fn len(&self) -> usize {
        self.sender.len()
    }

    /// Returns whether no item is in the queue.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns whether the queue is full.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// Returns the maximum number of items in the queue.
    pub fn capacity(&self) -> usize {
        self.sender.capacity()
    }

    /// Returns the number of items that were put into the queue and are not done.
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
