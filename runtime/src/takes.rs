//! How the generated functions take parameters and give outputs away.
//!
//! The expansion knows the types of a function, but not what they implement. So it asks by method
//! calls on markers, and method lookup picks the trait whose bounds hold, by the number of
//! references it has to strip. The last of each kind has no bounds: a type that lacks serde is
//! told where the function is called (see `task.rs`), and telling it here as well
//! would make two errors of one mistake. A function that is never called is told of when code is
//! generated for it.

#![allow(missing_docs, clippy::new_without_default, reason = "for generated code alone")]

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{Call, Outcome, Param, Stop};
use crate::opaque::Opaque;

const NO_PARAMETER: &str = "a parameter cannot travel to a worker: derive `serde::Serialize` and `serde::Deserialize` for its type";
const NO_OUTPUT: &str = "the output of a task cannot travel to the caller: derive `serde::Serialize` and `serde::Deserialize` for its type";

/// Panics when code is generated for a type, and not before: the size, which is none of a type,
/// has it wait until the type is known.
const fn refuse(size: usize, why: &str) -> ! {
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

/// A parameter that is decoded, or a state.
pub trait TakeParam {
    type Taken;
    fn __procession_take(
        &self,
        call: &mut Call<'_>,
        name: &'static str,
    ) -> Result<Self::Taken, Stop>;
}

impl<T: Param> TakeParam for &Takes<T> {
    type Taken = T;
    #[inline]
    fn __procession_take(&self, call: &mut Call<'_>, name: &'static str) -> Result<T, Stop> {
        T::take(call, name)
    }
}

/// A borrowed parameter that is decoded as itself.
impl<T: DeserializeOwned> TakeParam for &&Borrows<T> {
    type Taken = T;
    #[inline]
    fn __procession_take(&self, call: &mut Call<'_>, name: &'static str) -> Result<T, Stop> {
        T::take(call, name)
    }
}

/// A borrowed parameter that is decoded as what owns it.
pub trait TakeOwned {
    type Taken;
    fn __procession_take(
        &self,
        call: &mut Call<'_>,
        name: &'static str,
    ) -> Result<Self::Taken, Stop>;
}

impl<T: ToOwned<Owned: DeserializeOwned> + ?Sized> TakeOwned for &Borrows<T> {
    type Taken = T::Owned;
    #[inline]
    fn __procession_take(&self, call: &mut Call<'_>, name: &'static str) -> Result<T::Owned, Stop> {
        T::Owned::take(call, name)
    }
}

/// A parameter that cannot be had.
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

/// An output that is encoded as it is.
pub trait GiveValue<R> {
    fn __procession_give(&self, call: &mut Call<'_>, task: impl FnOnce() -> R) -> Outcome;
}

impl<R: Serialize + DeserializeOwned> GiveValue<R> for &&Gives<R> {
    #[inline]
    fn __procession_give(&self, call: &mut Call<'_>, task: impl FnOnce() -> R) -> Outcome {
        call.begin()?;
        let output = task();
        call.give(&output)
    }
}

/// An output whose error does not travel.
pub trait GiveFallible<R> {
    fn __procession_give(&self, call: &mut Call<'_>, task: impl FnOnce() -> R) -> Outcome;
}

impl<T: Serialize + DeserializeOwned, E: Opaque> GiveFallible<Result<T, E>>
    for &Gives<Result<T, E>>
{
    #[inline]
    fn __procession_give(
        &self,
        call: &mut Call<'_>,
        task: impl FnOnce() -> Result<T, E>,
    ) -> Outcome {
        call.begin()?;
        match task() {
            Ok(output) => call.give(&output),
            Err(error) => call.fail(&error),
        }
    }
}

/// An output that cannot be sent.
pub trait GiveNothing<R> {
    fn __procession_give(&self, call: &mut Call<'_>, task: impl FnOnce() -> R) -> Outcome;
}

impl<R> GiveNothing<R> for Gives<R> {
    fn __procession_give(&self, _: &mut Call<'_>, _: impl FnOnce() -> R) -> Outcome {
        const { refuse(size_of::<R>(), NO_OUTPUT) }
    }
}
