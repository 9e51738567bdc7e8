//! The traits that connect a registered function with its input and output types.
//!
//! [`Task`] and [`Initializer`] are implemented for function items by their number of parameters, with
//! a marker `M` that is inferred. [`Parameter`] classifies each parameter: a [`State`] or [`StateMut`]
//! comes from the worker and is not part of the input. [`Output`] determines what the caller receives:
//! the returned value, or the `Ok` value of a `Result` whose error is not serialized.
//!
//! If a type of a function lacks a trait, the compiler reports it at the call, once, with the name of
//! the type. The expansion of the macros compiles in any case (see `takes.rs`); otherwise the same
//! mistake would be reported twice.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arity::for_each_arity;
use crate::opaque::Opaque;
use crate::state::{State, StateMut};

/// A function annotated with [`#[worker]`](crate::worker), which the calls of a pool accept.
///
/// `M` is inferred. Do not implement this trait; annotate a function instead.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task: a task is a function annotated with `#[worker]`",
    label = "not a function with `#[worker]`",
    note = "write `#[worker]` above a `fn` with a name, and give that name here"
)]
pub trait Task<M> {
    /// The tuple of the parameters that a call passes, such as `(u64,)`, which an
    /// [`Item`](crate::Item) must fit.
    type Input;
    /// The value that a call returns for one item.
    type Output: Serialize + DeserializeOwned;
}

/// A function annotated with [`#[initializer]`](crate::initializer), which the builder of a pool
/// accepts.
///
/// `M` is inferred. Do not implement this trait; annotate a function instead.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an initializer: an initializer is a function annotated with `#[initializer]`",
    label = "not a function with `#[initializer]`",
    note = "write `#[initializer]` above a `fn` with a name, and give that name here"
)]
pub trait Initializer<M> {
    /// The input: the parameter, a tuple of the parameters, or `()`.
    type Input: Serialize;
}

/// The type of a parameter of a task: an input, which the worker decodes, or a state.
///
/// `K` is inferred. Do not implement this trait; implement `serde::Serialize` and
/// `serde::Deserialize` instead.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to a worker: derive `serde::Serialize` and `serde::Deserialize` for it, or switch on the feature `serde` of the crate that it is from",
    label = "takes a parameter of type `{Self}`, which cannot be sent",
    note = "a type of a crate without that feature travels in a struct of your own, with `#[serde(with = \"..\")]` on the field",
    note = "for an array of more than 32 elements, which serde does not know, take a slice: the array fits it",
    note = "or take a `State<{Self}>` that an initializer makes in each worker"
)]
pub trait Parameter<K> {
    /// The list of the inputs `Rest`, with this parameter in front if it is an input.
    #[doc(hidden)]
    type Before<Rest: InputList>: InputList;
}

/// The return type of a task: a serializable value, or a `Result` whose error is [`Opaque`].
///
/// `K` is inferred. Do not implement this trait; implement `serde::Serialize` and
/// `serde::Deserialize` instead, or return an error that is [`Opaque`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to the caller: derive `serde::Serialize` and `serde::Deserialize` for it, or switch on the feature `serde` of the crate that it is from",
    label = "returns a `{Self}`, which cannot be sent",
    note = "or return what the caller needs of it, and a `Vec` for an array of more than 32 elements, which serde does not know",
    note = "or keep it in the worker: give the `#[initializer]` that makes it to `Pool::builder().initializer(..)`, and take a `State<{Self}>`",
    note = "the error of a `Result` may also be `anyhow::Error`, `Box<dyn Error>` or an error of the standard library"
)]
pub trait Output<K> {
    /// The value that a call returns.
    type Value: Serialize + DeserializeOwned;
}

/// The markers that are inferred for `K` and `M`.
pub(crate) mod kinds {
    /// A parameter that the caller passes.
    pub struct Input;
    /// A parameter that comes from the worker.
    pub struct State;
    /// An output that is encoded as a whole.
    pub struct Value;
    /// An output of which only the `Ok` value is encoded.
    pub struct Fallible;
    /// The output of an `async` function.
    #[cfg(feature = "tokio")]
    pub struct Async<K>(std::marker::PhantomData<K>);
    /// The unknown parameters of a task that does not compile. Any item may fit them, so that the
    /// compiler does not report a second error about the item.
    pub struct Unknown<P>(std::marker::PhantomData<P>);
    /// A kind that no type has. If there were only one kind, the compiler would choose it and report
    /// what follows from the choice. With two kinds that fail, it reports the type itself, once.
    pub struct Nothing;
}

#[diagnostic::do_not_recommend]
impl<T> Parameter<kinds::State> for State<T> {
    type Before<Rest: InputList> = Rest;
}

#[diagnostic::do_not_recommend]
impl<T> Parameter<kinds::State> for StateMut<T> {
    type Before<Rest: InputList> = Rest;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Parameter<kinds::Input> for T {
    type Before<Rest: InputList> = Rest::With<T>;
}

/// A trait that no type implements; see `kinds::Nothing`.
#[doc(hidden)]
pub trait Never {}

#[diagnostic::do_not_recommend]
impl<T: Never> Parameter<kinds::Nothing> for T {
    type Before<Rest: InputList> = Rest;
}

#[diagnostic::do_not_recommend]
impl<R: Never + Serialize + DeserializeOwned> Output<kinds::Nothing> for R {
    type Value = R;
}

#[diagnostic::do_not_recommend]
impl<R: Serialize + DeserializeOwned> Output<kinds::Value> for R {
    type Value = R;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned, E: Opaque> Output<kinds::Fallible> for Result<T, E> {
    type Value = T;
}

#[cfg(feature = "tokio")]
#[diagnostic::do_not_recommend]
impl<F: Future<Output: Output<K>>, K> Output<kinds::Async<K>> for F {
    type Value = <F::Output as Output<K>>::Value;
}

/// A tuple of inputs.
#[doc(hidden)]
pub trait InputList {
    /// The tuple with `T` in front.
    type With<T: Serialize>: InputList;
    /// The element if there is exactly one, otherwise the tuple.
    type Exact: Serialize;
}

/// A list of more inputs than a task can have, which the macros refuse.
#[doc(hidden)]
#[derive(Serialize)]
pub struct TooMany;

impl InputList for TooMany {
    type With<T: Serialize> = TooMany;
    type Exact = TooMany;
}

macro_rules! lists {
    ($($exact:ty, [$($a:ident)*] => $with:ty;)*) => {$(
        impl<$($a: Serialize),*> InputList for ($($a,)*) {
            type With<T: Serialize> = $with;
            type Exact = $exact;
        }
    )*};
}

lists! {
    (), [] => (T,);
    A, [A] => (T, A);
    (A, B), [A B] => (T, A, B);
    (A, B, C), [A B C] => (T, A, B, C);
    (A, B, C, D), [A B C D] => (T, A, B, C, D);
    (A, B, C, D, E), [A B C D E] => (T, A, B, C, D, E);
    (A, B, C, D, E, F), [A B C D E F] => (T, A, B, C, D, E, F);
    (A, B, C, D, E, F, G), [A B C D E F G] => (T, A, B, C, D, E, F, G);
    (A, B, C, D, E, F, G, H), [A B C D E F G H] => TooMany;
}

/// A function whose signature is the function pointer type `S`.
///
/// This trait is separate from [`Travels`], so that the compiler first finds the signature and then
/// reports which of its types cannot be serialized.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task: a task is a function annotated with `#[worker]`",
    label = "not a function",
    note = "write `#[worker]` above a `fn` with a name, and give that name here"
)]
pub trait Signature<S> {}

/// A type that every function has, and that a closure does not have if it owns a string, a vector or
/// the like.
///
/// No other trait distinguishes functions from closures that capture numbers or references, because
/// these are `Copy`, `Send`, `Sync`, `Unpin` and `Fn` too. No trait distinguishes functions from
/// function pointers, because these implement a superset of the traits. Unlike functions, both have a
/// size greater than zero, but it is known only when code is generated. `registry::Given` refuses them
/// then.
#[doc(hidden)]
pub trait Plain {}

#[diagnostic::do_not_recommend]
impl<F: Copy> Plain for F {}

/// A signature whose types can be serialized.
#[doc(hidden)]
pub trait Travels<K> {
    type Input;
    type Output: Serialize + DeserializeOwned;
}

/// A signature whose parameters can be serialized.
#[doc(hidden)]
pub trait Arrives<K> {
    type Input: InputList;
}

impl<F, S, K> Task<(S, K)> for F
where
    F: Plain + Signature<S>,
    S: Travels<K>,
{
    type Input = S::Input;
    type Output = S::Output;
}

impl<F, S, K> Initializer<(S, K)> for F
where
    F: Plain + Signature<S>,
    S: Arrives<K>,
{
    type Input = <S::Input as InputList>::Exact;
}

macro_rules! signatures {
    ($([$($a:ident $parameter:ident $k:ident)*])*) => {$(
        impl<Func, Out, $($a),*> Signature<fn($($a),*) -> Out> for Func
        where
            Func: Fn($($a),*) -> Out,
        {}

        impl<Out, Kind, $($a, $k),*> Travels<(Kind, $($k),*)> for fn($($a),*) -> Out
        where
            $($a: Parameter<$k>,)*
            Out: Output<Kind>,
        {
            type Input = signatures!(@input $($a $k)*);
            type Output = Out::Value;
        }

        impl<Out, $($a, $k),*> Arrives<($($k,)*)> for fn($($a),*) -> Out
        where
            $($a: Parameter<$k>,)*
        {
            type Input = signatures!(@input $($a $k)*);
        }
    )*};
    (@input) => { () };
    (@input $a:ident $k:ident $($rest:ident)*) => {
        <$a as Parameter<$k>>::Before<signatures!(@input $($rest)*)>
    };
}

for_each_arity!(signatures);
