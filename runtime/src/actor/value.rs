//! A value that processes share.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde::ser::{Serialize, Serializer};

use super::encoded::EncodedValue;
use super::number::Number;
use super::ready::RawValueProxy;
use crate::error::{Error, ErrorKind, Result};

/// A value in the process of a [`Manager`](crate::Manager); made by [`Manager::value`](crate::Manager::value).
///
/// All clones are handles to the same value. They pass to other processes inside of values, and it is gone with the last of
/// them. What a method returns is a copy. For numbers that processes change often, memory that they share is faster.
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
/// It may hold handles, such as [`Shared`](crate::Shared) or proxies, but not [`SharedMut`](crate::SharedMut), which one process alone may have.
pub struct Value<T> {
    proxy: RawValueProxy,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Value<T> {
    /// Returns a copy of the value.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn get(&self) -> Result<T> {
        self.proxy.get()?.decode()
    }

    /// Replaces the value.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn set(&self, value: T) -> Result<()> {
        self.proxy.set(EncodedValue::new(&value)?)
    }

    /// Replaces the value, and returns the one before. No other call comes in between.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn replace(&self, value: T) -> Result<T> {
        self.proxy.replace(EncodedValue::new(&value)?)?.decode()
    }

    /// Adds to a number, and returns the sum. No other call comes in between.
    ///
    /// # Errors
    ///
    /// Those of every call (see [`Manager`](crate::Manager#failures)), and [`ErrorKind::Failed`] if the sum of two integers does not fit
    /// their type; the number then stays as it was.
    pub fn update(&self, by: T) -> Result<T>
    where
        T: Number,
    {
        let sum = self.proxy.update(T::TAG, EncodedValue::new(&by)?)?;
        sum.map_err(|text| Error::new(ErrorKind::Failed, text).on_task("Value::update"))?.decode()
    }
}

impl<T> Value<T> {
    /// Returns a handle whose calls fail with [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) if they take longer.
    pub fn with_timeout(&self, time: Duration) -> Self {
        Self::new(self.proxy.with_timeout(time))
    }

    /// Returns whether its manager is still there.
    pub fn is_alive(&self) -> bool {
        self.proxy.is_alive()
    }

    pub(super) fn new(proxy: RawValueProxy) -> Self {
        Value { proxy, of: PhantomData }
    }
}

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self::new(self.proxy.clone())
    }
}

impl<T> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Value").field(&self.proxy).finish()
    }
}

impl<T> Serialize for Value<T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.proxy.serialize(to)
    }
}

impl<'de, T> Deserialize<'de> for Value<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        RawValueProxy::deserialize(from).map(Self::new)
    }
}
