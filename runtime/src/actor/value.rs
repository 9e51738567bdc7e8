//! A value that processes share.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::encoded::EncodedValue;
use super::number::{Number, checked};
use super::ready::RawValueProxy;
use super::typed::typed;
use crate::error::Result;

/// A value in the process of a [`Manager`](crate::Manager), created by
/// [`Manager::value`](crate::Manager::value).
///
/// All clones are handles to the same value. They can be sent to other processes inside of values. The value
/// is dropped with the last handle. Methods return copies of the value. For numbers that processes change
/// often, shared memory is faster; see [`sync::Atomics`](crate::sync::Atomics).
///
/// ```
/// use runtime::Manager;
///
/// let manager = Manager::start()?;
/// let total = manager.value(0_u64)?;
/// assert_eq!(total.update(3)?, 3);
/// assert_eq!(total.replace(10)?, 3);
/// assert_eq!(total.get()?, 10);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// The value may contain handles, such as [`Shared`](crate::Shared) or proxies, but not a
/// [`SharedMut`](crate::SharedMut), which only one process may have.
pub struct Value<T> {
    proxy: RawValueProxy,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Value<T> {
    /// Returns a copy of the value.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn get(&self) -> Result<T> {
        self.proxy.get()?.decode()
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn set(&self, value: T) -> Result<()> {
        self.proxy.set(EncodedValue::new(&value)?)
    }

    /// Replaces the value and returns the previous one. No other call runs in between.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn replace(&self, value: T) -> Result<T> {
        self.proxy.replace(EncodedValue::new(&value)?)?.decode()
    }

    /// Adds to a number and returns the sum. No other call runs in between.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call (see [`Manager`](crate::Manager#failures)), and
    /// [`ErrorKind::Failed`](crate::ErrorKind::Failed) if the sum of two integers does not fit their type.
    /// The number then remains unchanged.
    pub fn update(&self, by: T) -> Result<T>
    where
        T: Number,
    {
        let sum = self.proxy.update(T::TAG, EncodedValue::new(&by)?)?;
        checked(sum, "Value::update")?.decode()
    }
}

typed!(Value<T>, RawValueProxy);
