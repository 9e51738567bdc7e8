//! Managers and actors: values that live in a process of their own, and proxies that call their methods.
//!
//! A [`Manager`] is a [`Process`](crate::Process) whose task [makes](making) and [serves](serve) actors. The code beside an `impl` block
//! with `#[actor]` makes a proxy type and submits the [table of the methods](kind) to the linker, as `#[worker]` does with functions.
//!
//! # Rules
//!
//! - **A1.** The requests to an actor go through a channel of their own. All proxies share its sending end, which travels
//!   inside of values. The process of the actor alone receives. An actor has ended when nobody sends any more, which
//!   the kernel tells (rule C9).
//! - **A2.** Answers come over a reply link, a channel too. A process has as many for a manager as it makes calls at once, and each carries one
//!   call at a time. Its sending end goes with the first request and is then kept by the manager's process alone, so that the death of
//!   that process is the end of the link.
//! - **A3.** A request is sent once or not at all, and nothing sends it again: a call runs at most once. It is said that a call surely did
//!   not run where it was not sent, where the actor refused it (its time was over, the actor has ended, its arguments cannot be
//!   decoded), and nowhere else.
//! - **A4.** A reply link whose call was given up is closed. The actor does not begin a call that waited for long and whose link
//!   is closed.
//! - **A5.** One thread of an actor receives, in the order of arrival. An exclusive call waits until all before it have ended, and
//!   nothing is received before it has ended.
//! - **A6.** A request names the actors whose calls wait for it. A call of one of these is refused before it is sent. Circles of
//!   calls that begin in different places are found in the table of those that wait ([`chain`]), as far as they lie in
//!   one process.
//! - **A7.** An actor whose manager ends answers all requests that it finds. To that end its channel is closed for senders
//!   first; they notice within a millisecond, after which it looks once more. A request that comes later still ends with its reply
//!   link, as all do when the manager is gone: no caller waits for ever.
//! - **A8.** The value of an actor is dropped by its last thread, in its process. A panic there harms nothing else.
//! - **A9.** Where the process is started anew, the process that starts it keeps the receiving ends of the actors that are made again.
//!   Requests that nobody had received are received by the successor.

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
/// You never implement this trait: annotate an `impl` block.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor: an actor is a type with a block `#[actor] impl {Self} {{ .. }}`",
    label = "not an actor"
)]
pub trait Actor: Sized + Send + Sync + 'static {
    /// What callers have of it: each method gives a `Result`.
    type Proxy: Clone + Serialize + DeserializeOwned + Send + Sync + 'static;

    #[doc(hidden)]
    fn __procession_proxy(proxy: Proxy<Self>) -> Self::Proxy;
}
