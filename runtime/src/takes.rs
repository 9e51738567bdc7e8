//! Decoding of parameters and encoding of outputs in generated functions.
//!
//! The expansion knows the types of a function, but not the traits that they implement. It therefore
//! calls methods on markers, and method lookup selects the trait whose bounds hold, by the number of
//! references that it has to remove. A missing trait is reported once:
//!
//! - A type that cannot be encoded is reported where the function is called (see `task.rs`). Here the last
//!   trait of each kind, which has no bounds, accepts it silently. If the function is never called, the
//!   mistake is reported when code is generated for it.
//! - A type that can be encoded but not decoded passes the call, because an item that borrows is encoded
//!   and its owned form is decoded. It is reported here, at the parameter, by a bound that does not
//!   affect the selection.
//!
//! Lifetimes do not affect the selection either, because method lookup ignores them. A parameter may borrow
//! from its encoded form. An output that borrows would be reported three times, so that only the call
//! checks whether it can be decoded for any lifetime.

#![allow(missing_docs, clippy::new_without_default, reason = "for generated code alone")]

use std::borrow::Borrow as _;
use std::marker::PhantomData;
use std::ops::Deref;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::call::{Call, Outcome, Param, Stop};
use crate::codec;
use crate::opaque::Opaque;

const NO_PARAMETER: &str = "a parameter cannot travel to a worker: derive `serde::Serialize` and `serde::Deserialize` for its type";
const NO_OUTPUT: &str = "the output of a task cannot travel to the caller: derive `serde::Serialize` and `serde::Deserialize` for its type";

/// Panics when code is generated for a type. The size makes the compiler evaluate the call only then; no type
/// has the size with which it is compared.
pub(crate) const fn refuse(size: usize, why: &str) -> ! {
    if size == usize::MAX {
        unreachable!();
    }
    panic!("{}", why)
}

/// A parameter of type `T`.
pub struct Takes<T>(PhantomData<fn() -> T>);

/// A parameter of type `&T`.
pub struct Borrows<T: ?Sized>(PhantomData<fn(&T)>);

/// An output of type `R`.
pub struct Gives<R>(PhantomData<fn() -> R>);

impl<T> Takes<T> {
    pub const fn new() -> Self {
        Takes(PhantomData)
    }
}

impl<T: ?Sized> Borrows<T> {
    pub const fn new() -> Self {
        Borrows(PhantomData)
    }
}

impl<R> Gives<R> {
    pub const fn new() -> Self {
        Gives(PhantomData)
    }
}

/// A parameter that is decoded, or a state. It may borrow from the encoded input.
pub trait TakeParam<'a> {
    type Taken;
    fn __procession_take(
        &self,
        call: &mut Call<'a>,
        name: &'static str,
    ) -> Result<Self::Taken, Stop>;
}

impl<'a, T: Param<'a>> TakeParam<'a> for &&Takes<T> {
    type Taken = T;
    #[inline]
    fn __procession_take(&self, call: &mut Call<'a>, name: &'static str) -> Result<T, Stop> {
        T::take(call, name)
    }
}

/// A borrowed parameter that is decoded as itself.
impl<'a, T: Deserialize<'a>> TakeParam<'a> for &&&Borrows<T> {
    type Taken = T;
    #[inline]
    fn __procession_take(&self, call: &mut Call<'a>, name: &'static str) -> Result<T, Stop> {
        T::take(call, name)
    }
}

/// A slice, whose elements need not be `Clone`. Numbers are not copied.
impl<'a, T: Deserialize<'a> + 'a> TakeParam<'a> for &&&Borrows<[T]> {
    type Taken = TakenSlice<'a, T>;
    #[inline]
    fn __procession_take(
        &self,
        call: &mut Call<'a>,
        name: &'static str,
    ) -> Result<TakenSlice<'a, T>, Stop> {
        call.take_slice(name).map(TakenSlice)
    }
}

/// A slice that was decoded, or that is a part of the encoded input.
pub struct TakenSlice<'a, T>(codec::DecodedSlice<'a, T>);

impl<T> std::ops::Deref for TakenSlice<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

/// A string slice, which is not copied.
impl<'a> TakeParam<'a> for &&&Borrows<str> {
    type Taken = &'a str;
    #[inline]
    fn __procession_take(&self, call: &mut Call<'a>, name: &'static str) -> Result<&'a str, Stop> {
        <&str>::take(call, name)
    }
}

/// A path, which is encoded as a string.
impl<'a> TakeParam<'a> for &&&Borrows<Path> {
    type Taken = &'a Path;
    #[inline]
    fn __procession_take(&self, call: &mut Call<'a>, name: &'static str) -> Result<&'a Path, Stop> {
        <&Path>::take(call, name)
    }
}

/// A borrowed parameter that is decoded as its owned form.
pub trait TakeOwned<'a> {
    type Taken;
    fn __procession_take(
        &self,
        call: &mut Call<'a>,
        name: &'static str,
    ) -> Result<Self::Taken, Stop>;
}

impl<'a, T: ToOwned<Owned: Deserialize<'a>> + ?Sized> TakeOwned<'a> for &&Borrows<T> {
    type Taken = OwnedParameter<T>;
    #[inline]
    fn __procession_take(
        &self,
        call: &mut Call<'a>,
        name: &'static str,
    ) -> Result<OwnedParameter<T>, Stop> {
        T::Owned::take(call, name).map(OwnedParameter)
    }
}

/// The owned form of a borrowed parameter. It dereferences to the parameter, which the owned form itself need
/// not do.
pub struct OwnedParameter<T: ToOwned + ?Sized>(T::Owned);

impl<T: ToOwned + ?Sized> Deref for OwnedParameter<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.0.borrow()
    }
}

/// A type that can be decoded.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can be encoded but not decoded in a worker: derive `serde::Deserialize` for it, too",
    label = "a worker has to decode this parameter"
)]
pub trait Decoded {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned> Decoded for T {}

/// A parameter that can be encoded but not decoded.
pub trait TakeHalf {
    type Taken;
    type Half;
    fn __procession_take(
        &self,
        call: &mut Call<'_>,
        name: &'static str,
    ) -> Result<Self::Taken, Stop>
    where
        Self::Half: Decoded;
}

macro_rules! take_half {
    ($($marker:ty => $taken:ty;)*) => {$(
        impl<T: Serialize> TakeHalf for $marker {
            type Taken = $taken;
            type Half = T;
            fn __procession_take(
                &self,
                _: &mut Call<'_>,
                _: &'static str,
            ) -> Result<Self::Taken, Stop>
            where
                T: Decoded,
            {
                unreachable!("what can be decoded is taken otherwise")
            }
        }
    )*};
}

take_half! {
    &Takes<T> => T;
    &Borrows<T> => T;
    &Borrows<[T]> => Vec<T>;
}

/// A parameter that can neither be decoded nor is a state.
pub trait TakeNothing {
    type Taken;
    fn __procession_take(
        &self,
        call: &mut Call<'_>,
        name: &'static str,
    ) -> Result<Self::Taken, Stop>;
}

impl<T> TakeNothing for Takes<T> {
    type Taken = T;
    fn __procession_take(&self, _: &mut Call<'_>, _: &'static str) -> Result<T, Stop> {
        const { refuse(size_of::<T>(), NO_PARAMETER) }
    }
}

impl<T: ?Sized> TakeNothing for Borrows<T> {
    type Taken = Box<T>;
    fn __procession_take(&self, _: &mut Call<'_>, _: &'static str) -> Result<Box<T>, Stop> {
        const { refuse(size_of::<&T>(), NO_PARAMETER) }
    }
}

/// An output that is encoded as a value.
pub trait GiveValue<R> {
    fn __procession_give(&self, call: &mut Call<'_>, output: R) -> Outcome;
}

impl<R: Serialize + Deserialize<'static>> GiveValue<R> for &&Gives<R> {
    #[inline]
    fn __procession_give(&self, call: &mut Call<'_>, output: R) -> Outcome {
        call.give(&output)
    }
}

/// A `Result` whose error cannot be encoded.
pub trait GiveFallible<R> {
    fn __procession_give(&self, call: &mut Call<'_>, output: R) -> Outcome;
}

impl<T: Serialize + Deserialize<'static>, E: Opaque> GiveFallible<Result<T, E>>
    for &Gives<Result<T, E>>
{
    #[inline]
    fn __procession_give(&self, call: &mut Call<'_>, output: Result<T, E>) -> Outcome {
        match output {
            Ok(output) => call.give(&output),
            Err(error) => call.fail(&error),
        }
    }
}

/// An output that cannot be sent.
pub trait GiveNothing<R> {
    fn __procession_give(&self, call: &mut Call<'_>, output: R) -> Outcome;
}

impl<R> GiveNothing<R> for Gives<R> {
    fn __procession_give(&self, _: &mut Call<'_>, _: R) -> Outcome {
        const { refuse(size_of::<R>(), NO_OUTPUT) }
    }
}
