//! Managers and actors: values that live in a separate process, and proxies that call their methods.
//!
//! A [`Manager`] is a [`Process`](crate::Process) whose task [creates](making) and [serves](serve) actors.
//! For an `impl` block, `#[actor]` generates a proxy type and registers the [table of the methods](kind) with
//! the linker, as `#[worker]` does for functions.
//!
//! # Rules
//!
//! - **A1.** Each actor has a channel for its requests. All proxies share the sending end, which is encoded
//!   inside of values. Only the process of the actor receives. An actor ends when no process has a sending
//!   end any more, which the kernel reports (rule C9).
//! - **A2.** Answers are sent over reply links, which are channels too. A process has as many reply links to
//!   a manager as it makes calls at the same time, and each link carries one call at a time. The sending end
//!   of a link is sent with its first request. After that only the process of the manager has it, so that the
//!   link is disconnected when that process dies.
//! - **A3.** A request is sent at most once, so a call runs at most once. An error states that the call did
//!   not run only if the request was not sent, or if the actor refused it (because its time had expired, the
//!   actor had ended, or its arguments could not be decoded).
//! - **A4.** If a caller gives a call up, it closes the reply link. An actor does not begin a call that has
//!   waited for a long time and whose reply link is closed.
//! - **A5.** One thread of an actor receives the requests, in the order of their arrival. An exclusive call
//!   begins when all earlier calls have ended, and no later request is received before it has ended.
//! - **A6.** A request contains the list of the actors whose calls wait for it. A call to one of these actors
//!   is refused before it is sent. Circles of calls that begin in different places are found in the table of
//!   waiting calls ([`chain`]), if all of them are in one process.
//! - **A7.** When a manager ends, its actors answer all requests that they still find. For this the channel
//!   of an actor is first closed for senders. Senders notice this within a millisecond, after which the actor
//!   checks its channel once more. If a request arrives even later, its reply link is disconnected with the
//!   process of the manager. No caller waits forever.
//! - **A8.** The last thread of an actor drops its value, in the process of the actor. A panic of the
//!   destructor affects nothing else.
//! - **A9.** If a manager restarts its process, the process that has the manager keeps the receiving ends of
//!   the actors that can be created again. Requests that the old process had not received are received by the
//!   new one.

mod chain;
mod client;
mod dict;
mod encoded;
mod host;
mod kind;
mod link;
mod list;
mod makes;
mod making;
mod manager;
mod message;
mod number;
mod proxy;
mod ready;
mod serve;
mod typed;
mod value;

pub use dict::Dict;
pub use kind::{
    ActorType, AnyActor, BoxedActor, Method, Servable, ServeNothing, ServeValue, exclusive, shared,
};
pub use list::List;
pub use makes::Makes;
pub use manager::{Manager, ManagerBuilder};
pub use number::Number;
pub use proxy::{Proxy, lent, moved};
pub use value::Value;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A type with [`#[actor]`](crate::actor), whose values live in the process of a [`Manager`](crate::Manager).
///
/// This trait is implemented by the macro: annotate an `impl` block instead of implementing it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor: an actor is a type with a block `#[actor] impl {Self} {{ .. }}`",
    label = "not an actor"
)]
pub trait Actor: Sized + Send + Sync + 'static {
    /// The type of its proxies, whose methods return a `Result`.
    type Proxy: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    #[doc(hidden)]
    fn __procession_proxy(proxy: Proxy<Self>) -> Self::Proxy;
}
