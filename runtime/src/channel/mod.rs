//! Channels: messages from any process to any other that has the ends.
//!
//! A channel is a memory that all its processes map, and a pair of sockets. The memory ([`page`]) holds a ring of *slots*, one for
//! each message, and a *heap* for messages that do not fit their slot. Messages longer than that travel in a memory of their own. The
//! sockets carry descriptors, wake-ups, and by being closed the news that nobody has the other end any more. All senders
//! hold one end of the pair and all receivers the other. Nothing has a name, and nothing counts holders: the kernel does.
//!
//! # Rules
//!
//! - **C1.** There are two locks ([`RawLock`](crate::lock::RawLock)). Who has that of the senders writes `tail`, the slots and the heap from there on, and [`Senders`](page::SenderWords). Who has
//!   that of the receivers writes `head`, and [`Receivers`](page::ReceiverWords) and [`Released`](page::ReleasedWords). No code of the user runs under either: values are encoded
//!   before and decoded afterwards.
//! - **C2.** A message is published by one store, of `tail`. A sender that dies before has sent nothing; one that dies after it has sent everything.
//! - **C3.** A message is taken by one store, of `head`, after its bytes were copied. A receiver that dies before leaves the message to
//!   others, unless it took parcels of it from the socket; then the message is lost with it, and is skipped. One that dies
//!   after it has it in its hands.
//! - **C4.** So who finds that the owner of a lock died only has to go on. `next` is read from the slot of the last message; what was released
//!   lags behind `head` at most, which costs room until the next message is taken.
//! - **C5.** A message goes to its slot, or to the heap if it is longer ([`heap`]), or to a memory of its own if the heap has no room or it is
//!   longer than a quarter of the heap or four megabytes. A message is not refused in an empty channel. The channel is full when `capacity` messages are unread, or
//!   as many parcels as the socket holds.
//! - **C6.** *Sleeping.* Who waits keeps the lock of its own side and sleeps in `poll` on its socket; others of this side sleep on the lock, and the kernel
//!   wakes the next of them when the lock is given back or its owner dies. So one thread at a time waits for the other side, a wake-up is for
//!   the one that needs it, and it cannot be lost with it. Before it sleeps, it takes the lock of the *other* side, looks again, empties its socket, sets its
//!   flag there, and gives that lock back. No side waits for the lock of the other one without an end, since a sender that waits for room has its lock while it wants the other one, and a
//!   receiver may have seen an empty channel before: senders only try, receivers wait for a millisecond, and both look again.
//! - **C7.** *Waking.* The flag of a sleeper is guarded by the lock of the other side. Who finds it set sends one byte and clears it, *before* it publishes or
//!   takes a message. Dying in between leaves a sleeper that was woken for nothing and looks again, by C6 after whoever finishes
//!   that lock. Without a death the message follows at once. No wake-up is lost: a sleeper either set its flag before the other side locked, and is woken, or locks after
//!   it, and sees what it did.
//! - **C8.** Objects in a message travel over the socket in numbered *parcels*, before it is published; its slot says which are its own. A
//!   number is given once. Parcels with smaller numbers are left over from the dead, and are thrown away. The last parcel stays in the socket until the
//!   message is taken.
//! - **C9.** *Disconnection.* The kernel hangs the socket up when nobody has its other end: a sleeper sees it at once. An end that is awake looks when
//!   it has seen an end of the other side dropped, or has not looked for a millisecond; of operations in quick succession, every eighth asks for the time. A receiver gives the news only when it sees no
//!   message after it.
//! - **C10.** Hidden holders would keep a channel connected. Ends are connections (rule H7).
//! - **C11.** The memory is not trusted: offsets and lengths are held against the layout that was checked when it was mapped, and the codec copies
//!   before it judges. A process that has an end can keep the others from using this channel, or make up messages, and no more.
//! - **C12.** *Queues.* Who takes an item of a queue notes its number before, and counts it after `head` was stored, in an entry of its
//!   process. Taking, acknowledging and burying change one word of that entry each, so that every item is closed once: by its
//!   process, or by whoever finds that this one ended. An item is unfinished from when it is published until it is closed.
//!
//! A thread that is killed with its process is one with it; a thread that leaks a guard cannot be, for guards do not leave this module.

mod acknowledge;
mod common;
mod end;
mod error;
mod future;
mod heap;
#[cfg(all(test, loom))]
mod models;
mod page;
mod parcel;
mod pipe;
mod queue;
mod raw;
mod receive;
mod receiver;
mod ring;
mod select;
mod send;
mod sender;
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
