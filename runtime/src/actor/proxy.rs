//! The building blocks of the generated proxies.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::client::{CallTarget, ManagerClient};
use super::link::MessageSender;
use super::{Actor, kind};
use crate::error::Result;
use crate::handle;

/// A handle to an actor of type `A`.
#[doc(hidden)]
pub struct Proxy<A> {
    sender: MessageSender,
    actor: u64,
    manager: u64,
    /// The pid of the process in which the actor lives, or lived first.
    pid: u32,
    timeout: Option<Duration>,
    client: Arc<ManagerClient>,
    of: PhantomData<fn() -> A>,
}

impl<A: Actor> Proxy<A> {
    pub(super) fn new(
        sender: MessageSender,
        actor: u64,
        manager: u64,
        pid: u32,
        timeout: Option<Duration>,
    ) -> Self {
        let client = ManagerClient::of(manager);
        Proxy { sender, actor, manager, pid, timeout, client, of: PhantomData }
    }

    fn target(&self, method: u32) -> CallTarget<'_> {
        let kind = kind::at(kind::place_of::<A>()).expect("`place_of` gives a place");
        CallTarget {
            sender: &self.sender,
            actor: self.actor,
            pid: self.pid,
            of: kind.name(),
            name: kind.methods.get(method as usize).map_or("", |method| method.name),
            method,
            timeout: self.timeout,
        }
    }

    /// Calls a method by its index, and waits for its output.
    #[doc(hidden)]
    pub fn call<T: Serialize, R: Returned>(&self, method: u32, arguments: &T) -> Result<R> {
        let target = self.target(method);
        match self.client.is_here() {
            true => target.call(&self.client, arguments),
            false => target.call(&ManagerClient::of(self.manager), arguments),
        }
    }

    /// Calls a method by its index, without waiting for it.
    #[doc(hidden)]
    pub fn cast<T: Serialize>(&self, method: u32, arguments: &T) -> Result<()> {
        self.target(method).cast(arguments)
    }
}

impl<A> Proxy<A> {
    #[doc(hidden)]
    pub fn with_timeout(&self, time: Duration) -> Self {
        Proxy { timeout: Some(time), ..self.clone() }
    }

    #[doc(hidden)]
    pub fn is_alive(&self) -> bool {
        !self.sender.is_gone()
    }
}

impl<A> Clone for Proxy<A> {
    fn clone(&self) -> Self {
        Proxy {
            sender: self.sender.clone(),
            client: Arc::clone(&self.client),
            of: PhantomData,
            ..*self
        }
    }
}

impl<A> fmt::Debug for Proxy<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("of", &std::any::type_name::<A>())
            .field("pid", &self.pid)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// The encoded form of a proxy, besides its end of the link.
type ProxyFacts = (u32, u64, u64, u32, Option<Duration>);

impl<A: Actor> Serialize for Proxy<A> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let place = kind::place_of::<A>();
        let facts: ProxyFacts = (place, self.actor, self.manager, self.pid, self.timeout);
        (&self.sender, facts).serialize(to)
    }
}

impl<'de, A: Actor> Deserialize<'de> for Proxy<A> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (sender, facts) = <(MessageSender, ProxyFacts)>::deserialize(from)?;
        let (place, actor, manager, pid, timeout) = facts;
        match place == kind::place_of::<A>() {
            true => Ok(Proxy::new(sender, actor, manager, pid, timeout)),
            false => Err(D::Error::custom("it is the proxy of another type of actor")),
        }
    }
}

/// The result that a method of an actor returns to its callers.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel from an actor to its callers: derive `serde::Serialize` and `serde::Deserialize` for it",
    label = "a proxy has to decode this output"
)]
pub trait Returned: DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<R: DeserializeOwned> Returned for R {}

/// A parameter of a method of an actor.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to an actor: derive `serde::Serialize` and `serde::Deserialize` for it",
    label = "a proxy has to encode this parameter"
)]
pub trait Passed {
    fn encode<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + ?Sized> Passed for T {
    fn encode<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.serialize(to)
    }
}

/// Returns a parameter that the method borrows.
#[doc(hidden)]
pub fn lent<T: Passed + ?Sized>(parameter: &T) -> LentArgument<'_, T> {
    LentArgument(parameter)
}

/// Returns a parameter that was moved into the call.
#[doc(hidden)]
pub fn moved<T: Passed>(parameter: &T) -> MovedArgument<'_, T> {
    MovedArgument(parameter)
}

#[doc(hidden)]
pub struct LentArgument<'a, T: ?Sized>(&'a T);

impl<T: Passed + ?Sized> Serialize for LentArgument<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.encode(to)
    }
}

#[doc(hidden)]
pub struct MovedArgument<'a, T>(&'a T);

impl<T: Passed> Serialize for MovedArgument<'_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        handle::moved::<T, _>(|| self.0.encode(to))
    }
}
