//! Channels: messages between all processes that have the ends.
//!
//! A channel consists of shared memory, which all of its processes map, and of a pair of sockets. The memory ([`page`]) holds a ring
//! of *slots*, one for each message, and a *heap* for messages that do not fit their slot. Longer messages are sent in separate
//! memory. The sockets carry descriptors and wake-ups, and the kernel reports through them that no process has the other end any more.
//! All senders share one end of the pair, and all receivers the other. A channel has no name, and no process counts the holders of
//! its ends: the kernel does.
//!
//! # Rules
//!
//! - **C1.** There are two locks ([`RawLock`](crate::lock::RawLock)). The owner of the senders' lock writes `tail`, the slots and the
//!   heap behind it, and the [`SenderWords`](page::SenderWords). The owner of the receivers' lock writes `head`, the
//!   [`ReceiverWords`](page::ReceiverWords) and the [`ReleasedWords`](page::ReleasedWords). User code never runs under a lock:
//!   values are encoded before and decoded afterwards.
//! - **C2.** One store, of `tail`, publishes a message. A sender that dies before that store has sent nothing. A sender that dies
//!   after it has sent the whole message.
//! - **C3.** One store, of `head`, takes a message, after its bytes were copied. A receiver that dies before that store leaves the
//!   message to other receivers, unless it has already read packets of the message from the socket: then the message is lost,
//!   and other receivers skip it. If a receiver dies after the store, the message is lost with it.
//! - **C4.** A thread that finds that the owner of a lock has died therefore only continues. It restores `next` from the slot of the
//!   last message. The `ReleasedWords` can only lag behind `head`, which wastes room until the next message is taken.
//! - **C5.** A message is stored in its slot, in the heap ([`heap`]) if it does not fit the slot, or in separate memory if the heap
//!   has no room, or the message is longer than a quarter of the heap or than four megabytes. An empty channel accepts every
//!   message. A channel is full while `capacity` messages, or as many packets as the socket holds, are unread.
//! - **C6.** *Sleeping.* A thread that waits keeps the lock of its own side and sleeps in `poll` on its socket. Other threads of its
//!   side sleep on the lock, and the kernel wakes the next of them when the owner unlocks it or dies. So one thread of a side
//!   waits for the other side, and each wake-up reaches the thread that needs it. Before it sleeps, the thread locks the *other*
//!   side, checks its condition again, empties its socket, sets its flag, and unlocks the other side. No thread waits for the
//!   lock of the other side indefinitely, because the owner of that lock may wait for the lock of this side: a sender that waits
//!   for room keeps its lock, and a receiver may have seen an empty channel before. Senders only try the lock. Receivers wait for
//!   it for a millisecond, then check their condition again.
//!   Before all this, the thread polls for a short time. If messages follow each other faster than the processors can exchange
//!   cache lines, it pauses before it polls ([`pause`]), so that it finds several messages at once.
//! - **C7.** *Waking.* The flag of a sleeping thread is guarded by the lock of the other side. A thread that finds the flag set sends
//!   one byte and clears the flag *before* it publishes or takes a message. If it dies in between, the sleeping thread wakes up,
//!   finds nothing, and sets its flag again. Otherwise the message follows immediately. No wake-up is lost: a thread that sets its
//!   flag before the other side locks is woken, and a thread that locks after the other side sees what that side did.
//! - **C8.** The objects of a message are sent through the socket, in numbered *packets*, before the message is published. Its slot
//!   says which packets belong to it. Each number is used once. Packets with smaller numbers were left behind by senders that
//!   died, and are discarded. The last packet of a message stays in the socket until the message is taken.
//! - **C9.** *Disconnection.* The kernel hangs up the socket when no process has its other end. A sleeping thread notices
//!   that immediately. A running thread asks the kernel if an end of the other side was dropped since the last question, or
//!   if that question is more than a millisecond old by the coarse clock. If a reading of the clock shows that no question
//!   is due, the next seven operations of the same end do not read the clock, no matter how much later they occur. A
//!   receiver reports the disconnection only if no message is left.
//! - **C10.** Processes that hold an end without knowing it would keep a channel connected. Ends are therefore connections (rule H7).
//! - **C11.** The memory is not trusted: offsets and lengths are checked against the layout that was verified when it was mapped, and
//!   the codec copies before it validates. A process that has an end can make this channel unusable for others, or forge
//!   messages, and nothing else.
//! - **C12.** *Queues.* A process that takes an item of a queue writes the number of the item to its entry before `head` is stored,
//!   and counts the item there afterwards. Taking, acknowledging and reclaiming each change one word of an entry, so that every
//!   item is closed exactly once: by its process, or by another one after that process has ended. An item is unfinished from
//!   when it is published until it is closed.
//!
//! A thread that owns a lock ends only with its process, because guards do not leave this module.

mod acknowledge;
mod common;
mod end;
mod error;
mod future;
mod heap;
#[cfg(all(test, loom))]
mod models;
mod packet;
mod page;
mod pause;
mod pipe;
mod queue;
mod raw;
mod receive;
mod receiver;
mod ring;
mod select;
mod send;
mod sender;
#[cfg(all(test, not(loom)))]
mod tests;
mod value;
mod wait;
mod watcher;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
pub(crate) use error::ChannelError;
pub use error::{
    RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
pub use future::RecvFuture;
pub use pipe::{Pipe, pipe};
pub use queue::Queue;
pub(crate) use raw::{RawReceiver, RawSender, raw_channel};
pub use receiver::{IntoMessages, Messages, Receiver, TryMessages};
pub use select::Select;
pub use sender::Sender;

/// Creates a channel that holds at most `capacity` messages.
///
/// Both ends can be cloned, and can be sent to other processes inside of any value: as parameters and results of tasks, as
/// inputs of initializers, and through channels. Any number of processes can send and receive; each message is received once.
/// A message can be any value that can be an input of a task, of any size and with any handles in it.
///
/// A channel is disconnected when all ends of one side are gone, because they were dropped or their processes were killed.
/// The caller of a task keeps the handles in an input until the input has an outcome, and the handles in the inputs of
/// initializers for as long as the pool exists.
///
/// ```
/// use runtime::{Receiver, Sender, worker};
///
/// #[worker]
/// fn double(from: Receiver<u64>, to: Sender<u64>) {
///     for n in from {
///         to.send(2 * n).expect("someone receives");
///     }
/// }
///
/// let (sender, numbers) = runtime::channel(16)?;
/// let (results, receiver) = runtime::channel(16)?;
/// let task = runtime::pool().submit(double, (numbers, results));
/// sender.send(21)?;
/// assert_eq!(receiver.recv()?, 42);
/// drop(sender);
/// task.wait()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Memory
///
/// A slot of 64 bytes per message is allocated at the start. Memory for messages of more than 40 bytes is allocated as needed, up
/// to two megabytes per message and one gigabyte in total, and kept with the channel. Messages of more than four megabytes, and messages beyond
/// the total, are sent in separate memory; at most 128 of these can be unread at the same time. A channel uses three
/// descriptors in a process that has both ends, and two in a process that has one.
///
/// # Errors
///
/// Returns [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) if the capacity is 0 or more than 16,777,216, and
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory) if there is not enough memory or this process has too many open files.
pub fn channel<T: Serialize + DeserializeOwned>(
    capacity: usize,
) -> Result<(Sender<T>, Receiver<T>)> {
    let (sender, receiver) = end::pair(capacity)?;
    Ok((Sender::new(sender), Receiver::new(receiver)))
}
