//! A dictionary that processes share.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::encoded::EncodedValue;
use super::number::{Number, checked};
use super::ready::RawDictProxy;
use super::typed::{typed, typed_collection};
use crate::error::Result;

/// A dictionary in the process of a [`Manager`](crate::Manager); made by [`Manager::dict`](crate::Manager::dict).
///
/// All clones are handles to the same dictionary. They pass to other processes inside of values, and the dictionary is gone with the last of
/// them. Its methods are those of a [`HashMap`], but for `Result`s, and for values that are
/// copies: what was got is not changed in the dictionary by changing it.
///
/// ```
/// use runtime::{Dict, Manager, worker};
///
/// #[worker]
/// fn count(words: Dict<String, u64>, text: &str) {
///     for word in text.split(' ') {
///         words.update(word, 1).expect("the manager lives");
///     }
/// }
///
/// let manager = Manager::start()?;
/// let words = manager.dict::<String, u64>()?;
/// runtime::pool().map(count, ["to be", "or not", "to be"].map(|text| (words.clone(), text)))?;
/// assert_eq!(words.get("be")?, Some(2));
/// assert_eq!(words.len()?, 4);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// Keys are compared by their encoded form. So a key that is equal to another only by an `Eq` of its own is another key. Values may hold handles, such as
/// [`Shared`](crate::Shared) or proxies, but not [`SharedMut`](crate::SharedMut), which one process alone may have.
pub struct Dict<K, V> {
    proxy: RawDictProxy,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Dict<K, V>
where
    K: Serialize + DeserializeOwned + Eq + Hash,
    V: Serialize + DeserializeOwned,
{
    /// Inserts a value, and returns the one that the key had before.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>> {
        EncodedValue::decode_option(
            self.proxy.insert(EncodedValue::new(&key)?, EncodedValue::new(&value)?)?,
        )
    }

    /// Returns a copy of the value of a key.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        EncodedValue::decode_option(self.proxy.get(EncodedValue::new(key)?)?)
    }

    /// Removes a key, and returns its value.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        EncodedValue::decode_option(self.proxy.remove(EncodedValue::new(key)?)?)
    }

    /// Returns whether there is such a key.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.proxy.contains_key(EncodedValue::new(key)?)
    }

    /// Returns the keys, in no order.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn keys(&self) -> Result<Vec<K>> {
        self.proxy.keys()?.iter().map(EncodedValue::decode).collect()
    }

    /// Returns a copy of the whole dictionary, as it was at one moment.
    ///
    /// # Errors
    ///
    /// Those of every call; see [`Manager`](crate::Manager#failures).
    pub fn snapshot(&self) -> Result<HashMap<K, V>> {
        let entries = self.proxy.snapshot()?;
        entries.iter().map(|(key, value)| Ok((key.decode()?, value.decode()?))).collect()
    }

    /// Adds to the number of a key, which begins at zero, and returns the sum. No other call comes in between.
    ///
    /// # Errors
    ///
    /// Those of every call (see [`Manager`](crate::Manager#failures)), and [`ErrorKind::Failed`](crate::ErrorKind::Failed) if the sum of two integers does not fit
    /// their type; the number then stays as it was.
    pub fn update<Q>(&self, key: &Q, by: V) -> Result<V>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
        V: Number,
    {
        let sum = self.proxy.update(EncodedValue::new(key)?, V::TAG, EncodedValue::new(&by)?)?;
        checked(sum, "Dict::update")?.decode()
    }
}

typed!(Dict<K, V>, RawDictProxy);
typed_collection!(Dict<K, V>, "keys");
