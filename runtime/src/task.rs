//! The traits that tie a registered function to its input and output types.
//!
//! Both are implemented for function items by their shape, with a marker parameter
//! `M` that inference fills in. Leading [`State`]/[`StateMut`] parameters are made
//! in the worker and are no part of the input.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::state::{State, StateMut};

/// A function annotated with [`#[worker]`](crate::worker), as the calls of a pool take it.
///
/// `M` is inferred. You never implement this trait: annotate a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be run as a task with these inputs",
    label = "not a task for these inputs",
    note = "a task is a function with `#[worker]`; one parameter takes the item itself, several take a tuple, none takes `()`",
    note = "parameters must implement `serde::Serialize` and `Deserialize`, and so must the output"
)]
pub trait Task<M>: Copy + Send + 'static {
    /// The parameters that a call passes, as a tuple, `(u64,)` for one: what an
    /// [`Item`](crate::Item) has to fit.
    type Input;
    /// What a call gives for one item.
    type Output: Serialize + DeserializeOwned;
}

/// A function annotated with [`#[initializer]`](crate::initializer), as the builder of a pool takes it.
///
/// `M` is inferred. You never implement this trait: annotate a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be run as an initializer with this input",
    label = "not an initializer for this input",
    note = "an initializer is a function with `#[initializer]`; one parameter takes the item itself, several take a tuple, none takes `()`"
)]
pub trait Initializer<M>: Copy + Send + 'static {
    /// The input: the parameter, a tuple of the parameters, or `()`.
    type Input: Serialize;
}

/// `State<T>` or `StateMut<T>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither an input nor a state",
    note = "inputs implement `serde::Serialize`; states are `State<T>` or `StateMut<T>` and come first"
)]
pub trait StateParam {}
impl<T> StateParam for State<T> {}
impl<T> StateParam for StateMut<T> {}

macro_rules! shapes {
    (@one [$($s:ident)*] [$($a:ident)*] $input:ty) => {
        impl<Func, Out, $($s,)* $($a,)*> Task<fn(($($s,)*), ($($a,)*)) -> Out> for Func
        where
            Func: Fn($($s,)* $($a,)*) -> Out + Copy + Send + 'static,
            Out: Serialize + DeserializeOwned,
            $($s: StateParam,)*
            $($a: Serialize,)*
        {
            type Input = ($($a,)*);
            type Output = Out;
        }

        impl<Func, Out, $($s,)* $($a,)*> Initializer<fn(($($s,)*), ($($a,)*)) -> Out> for Func
        where
            Func: Fn($($s,)* $($a,)*) -> Out + Copy + Send + 'static,
            $($s: StateParam,)*
            $($a: Serialize,)*
        {
            type Input = $input;
        }
    };
    (@inputs [$($s:ident)*]) => {
        shapes!(@one [$($s)*] [] ());
        shapes!(@one [$($s)*] [A] A);
        shapes!(@one [$($s)*] [A B] (A, B));
        shapes!(@one [$($s)*] [A B C] (A, B, C));
        shapes!(@one [$($s)*] [A B C D] (A, B, C, D));
        shapes!(@one [$($s)*] [A B C D E] (A, B, C, D, E));
        shapes!(@one [$($s)*] [A B C D E F] (A, B, C, D, E, F));
        shapes!(@one [$($s)*] [A B C D E F G] (A, B, C, D, E, F, G));
        shapes!(@one [$($s)*] [A B C D E F G H] (A, B, C, D, E, F, G, H));
    };
}

shapes!(@inputs []);
shapes!(@inputs [S]);
shapes!(@inputs [S T]);
shapes!(@inputs [S T U]);
