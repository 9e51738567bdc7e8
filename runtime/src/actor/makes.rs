//! The relation between an initializer and the actor that it creates.

use super::Actor;
use crate::arity::for_each_arity;
use crate::task::{Initializer, Signature, kinds};

/// An initializer that returns an actor, or a `Result` of one; a parameter of
/// [`Manager::make`](crate::Manager::make).
///
/// `M` and `K` are inferred. The library implements this trait for all such initializers.
pub trait Makes<M, K>: Initializer<M> {
    /// The type of the actor.
    type Made: Actor;
}

impl<F, S, P, K> Makes<(S, P), K> for F
where
    F: Initializer<(S, P)> + Signature<S>,
    S: Returns<K>,
{
    type Made = S::Made;
}

/// A signature that returns an actor.
#[doc(hidden)]
pub trait Returns<K> {
    type Made: Actor;
}

/// The return type of an initializer of an actor.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an actor: `Manager::make` takes an initializer that returns a value of a type with `#[actor] impl`, or a `Result` of one",
    label = "returns no actor"
)]
pub trait ActorOutput<K> {
    type Made: Actor;
}

#[diagnostic::do_not_recommend]
impl<A: Actor> ActorOutput<kinds::Value> for A {
    type Made = A;
}

#[diagnostic::do_not_recommend]
impl<A: Actor, E> ActorOutput<kinds::Fallible> for Result<A, E> {
    type Made = A;
}

macro_rules! returns {
    ($([$($a:ident $parameter:ident $k:ident)*])*) => {$(
        impl<Out, Kind, $($a),*> Returns<Kind> for fn($($a),*) -> Out
        where
            Out: ActorOutput<Kind>,
        {
            type Made = Out::Made;
        }
    )*};
}

for_each_arity!(returns);
