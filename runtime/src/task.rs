//! The traits that tie a registered function to its input and output types.
//!
//! [`Task`] and [`Initializer`] are implemented for function items by their number of parameters,
//! with a marker `M` that inference fills in. [`Parameter`] tells what each parameter is: a
//! [`State`]/[`StateMut`] is made in the worker and is no part of the input. [`Output`] tells what
//! comes back: a value, or the value of a `Result` whose error stays behind.
//!
//! What the types of a function lack is told where it is called, once and by the name of the
//! type. The expansion of the macros compiles all the same (see `takes.rs`), or one
//! mistake would be told twice.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::arity::for_each_arity;
use crate::opaque::Opaque;
use crate::state::{State, StateMut};

/// A function annotated with [`#[worker]`](crate::worker), as the calls of a pool take it.
///
/// `M` is inferred. You never implement this trait: annotate a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task: a task is a function annotated with `#[worker]`",
    label = "not a function with `#[worker]`",
    note = "write `#[worker]` above a `fn` with a name, and give that name here"
)]
pub trait Task<M> {
    /// The parameters that a call passes, as a tuple, `(u64,)` for one: what an
    /// [`Item`](crate::Item) has to fit.
    type Input;
    /// What a call returns for one item.
    type Output: Serialize + DeserializeOwned;
}

/// A function annotated with [`#[initializer]`](crate::initializer), as the builder of a pool takes it.
///
/// `M` is inferred. You never implement this trait: annotate a function.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not an initializer: an initializer is a function annotated with `#[initializer]`",
    label = "not a function with `#[initializer]`",
    note = "write `#[initializer]` above a `fn` with a name, and give that name here"
)]
pub trait Initializer<M> {
    /// The input: the parameter, a tuple of the parameters, or `()`.
    type Input: Serialize;
}

/// The type of a parameter: an input, which is decoded in the worker, or a state.
///
/// `K` is inferred. You never implement this trait: implement `serde::Serialize` and
/// `serde::Deserialize`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to a worker: derive `serde::Serialize` and `serde::Deserialize` for it, or switch on the feature `serde` of the crate that it is from",
    label = "takes a parameter of type `{Self}`, which cannot be sent",
    note = "a type of a crate without that feature travels in a struct of your own, with `#[serde(with = \"..\")]` on the field",
    note = "for an array of more than 32 elements, which serde does not know, take a slice: the array fits it",
    note = "or take a `State<{Self}>` that an initializer makes in each worker"
)]
pub trait Parameter<K> {
    /// The parameters behind this one, and this one in front if it is an input.
    #[doc(hidden)]
    type Before<Rest: List>: List;
}

/// The return type of a task: a value that travels to the caller, or a `Result` whose error does not.
///
/// `K` is inferred. You never implement this trait: implement `serde::Serialize` and
/// `serde::Deserialize`, or return an error that is [`Opaque`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to the caller: derive `serde::Serialize` and `serde::Deserialize` for it, or switch on the feature `serde` of the crate that it is from",
    label = "returns a `{Self}`, which cannot be sent",
    note = "or return what the caller needs of it, and a `Vec` for an array of more than 32 elements, which serde does not know",
    note = "or keep it in the worker: give the `#[initializer]` that makes it to `Pool::builder().initializer(..)`, and take a `State<{Self}>`",
    note = "the error of a `Result` may also be `anyhow::Error`, `Box<dyn Error>` or an error of the standard library"
)]
pub trait Output<K> {
    /// What a call returns.
    type Value: Serialize + DeserializeOwned;
}

/// What inference finds for `K` and `M`.
pub(crate) mod kinds {
    /// A parameter that the caller passes.
    pub struct Input;
    /// A parameter that the worker has.
    pub struct State;
    /// An output that is encoded as it is.
    pub struct Value;
    /// An output of which only the value is encoded.
    pub struct Fallible;
    /// Parameters that are not known, since the compiler found something wrong with a task. That an
    /// item may fit these keeps it from telling that the item fits nothing.
    pub struct Unknown<P>(std::marker::PhantomData<P>);
    /// What no type is. With one kind alone to choose from, the compiler would take it and go on to
    /// tell what follows from it; with two that fail it tells of the type itself, once.
    pub struct Nothing;
}

#[diagnostic::do_not_recommend]
impl<T> Parameter<kinds::State> for State<T> {
    type Before<Rest: List> = Rest;
}

#[diagnostic::do_not_recommend]
impl<T> Parameter<kinds::State> for StateMut<T> {
    type Before<Rest: List> = Rest;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Parameter<kinds::Input> for T {
    type Before<Rest: List> = Rest::With<T>;
}

/// Nothing has it: see `kinds::Nothing`.
#[doc(hidden)]
pub trait Never {}

#[diagnostic::do_not_recommend]
impl<T: Never> Parameter<kinds::Nothing> for T {
    type Before<Rest: List> = Rest;
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

/// A tuple of inputs.
#[doc(hidden)]
pub trait List {
    /// The tuple with one more in front.
    type With<T: Serialize>: List;
    /// The only element, or else the tuple.
    type Exact: Serialize;
}

/// More inputs than a task can have; the macros refuse it.
#[doc(hidden)]
#[derive(Serialize)]
pub struct TooMany;

impl List for TooMany {
    type With<T: Serialize> = TooMany;
    type Exact = TooMany;
}

macro_rules! lists {
    ($($exact:ty, [$($a:ident)*] => $with:ty;)*) => {$(
        impl<$($a: Serialize),*> List for ($($a,)*) {
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

/// A function with the signature `S`, a function pointer type.
///
/// Apart from [`Travels`], so that the compiler first finds the signature, and then tells which of its
/// types cannot travel.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task: a task is a function annotated with `#[worker]`",
    label = "not a function",
    note = "write `#[worker]` above a `fn` with a name, and give that name here"
)]
pub trait Signature<S> {}

/// What every function is, and a closure is not if it owns a text, a vector or the like.
///
/// No other trait tells functions from closures that capture: one that captures numbers, or by reference,
/// is `Copy`, `Send`, `Sync`, `Unpin` and `Fn` as a function is. And none tells them from function pointers,
/// which implement more than functions and nothing less. What is neither must have a size,
/// and that is known when code is generated: `registry::Given` refuses those.
#[doc(hidden)]
pub trait Plain {}

#[diagnostic::do_not_recommend]
impl<F: Copy> Plain for F {}

/// A signature whose types travel.
#[doc(hidden)]
pub trait Travels<K> {
    type Input;
    type Output: Serialize + DeserializeOwned;
}

/// A signature whose parameters travel.
#[doc(hidden)]
pub trait Arrives<K> {
    type Input: List;
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
    type Input = <S::Input as List>::Exact;
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
