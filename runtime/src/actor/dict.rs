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

/// A dictionary in the process of a [`Manager`](crate::Manager), created by
/// [`Manager::dict`](crate::Manager::dict).
///
/// All clones are handles to the same dictionary. They can be sent to other processes inside of values. The
/// dictionary is dropped with the last handle. The methods are those of a [`HashMap`], except that they
/// return a `Result` and copies of the values: changing a returned value does not change the dictionary.
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
/// Keys are compared by their encoded form. Two keys that are equal only by their own `Eq` implementation are
/// therefore different keys. Values may contain handles, such as [`Shared`](crate::Shared) or proxies, but
/// not a [`SharedMut`](crate::SharedMut), which only one process may have.
pub struct Dict<K, V> {
    proxy: RawDictProxy,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Dict<K, V>
where
    K: Serialize + DeserializeOwned + Eq + Hash,
    V: Serialize + DeserializeOwned,
{
    /// Inserts a value and returns the previous value of the key.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn insert(&self, key: K, value: V) -> Result<Option<V>> {
        EncodedValue::decode_option(
            self.proxy.insert(EncodedValue::new(&key)?, EncodedValue::new(&value)?)?,
        )
    }

    /// Returns a copy of the value of a key.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        EncodedValue::decode_option(self.proxy.get(EncodedValue::new(key)?)?)
    }

    /// Removes a key and returns its value.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        EncodedValue::decode_option(self.proxy.remove(EncodedValue::new(key)?)?)
    }

    /// Returns whether the dictionary contains a key.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.proxy.contains_key(EncodedValue::new(key)?)
    }

    /// Returns the keys in unspecified order.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn keys(&self) -> Result<Vec<K>> {
        self.proxy.keys()?.iter().map(EncodedValue::decode).collect()
    }

    /// Returns a consistent copy of the whole dictionary.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn snapshot(&self) -> Result<HashMap<K, V>> {
        let entries = self.proxy.snapshot()?;
        entries.iter().map(|(key, value)| Ok((key.decode()?, value.decode()?))).collect()
    }

    /// Adds to the number of a key, which is zero at first, and returns the sum. No other call runs in
    /// between.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call (see [`Manager`](crate::Manager#failures)), and
    /// [`ErrorKind::Failed`](crate::ErrorKind::Failed) if the sum of two integers does not fit their type.
    /// The number then remains unchanged.
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
