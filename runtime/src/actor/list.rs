//! A list that processes share.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::encoded::EncodedValue;
use super::ready::RawListProxy;
use super::typed::{typed, typed_collection};
use crate::error::{Error, ErrorKind, Result};

/// A list in the process of a [`Manager`](crate::Manager), created by
/// [`Manager::list`](crate::Manager::list).
///
/// All clones are handles to the same list. They can be sent to other processes inside of values. The list is
/// dropped with the last handle. Methods return copies of the elements.
///
/// ```
/// use runtime::Manager;
///
/// let manager = Manager::start()?;
/// let jobs = manager.list::<String>()?;
/// jobs.push("sweep".into())?;
/// jobs.extend(["scrub".to_owned(), "dust".to_owned()])?;
/// jobs.set(1, "mop".into())?;
/// assert_eq!(jobs.pop()?.as_deref(), Some("dust"));
/// assert_eq!(jobs.snapshot()?, ["sweep", "mop"]);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// Elements may contain handles, such as [`Shared`](crate::Shared) or proxies, but not a
/// [`SharedMut`](crate::SharedMut), which only one process may have.
pub struct List<T> {
    proxy: RawListProxy,
    of: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> List<T> {
    /// Appends an element and returns the new length.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn push(&self, element: T) -> Result<usize> {
        self.proxy.push(EncodedValue::new(&element)?)
    }

    /// Appends elements, without others in between, and returns the new length.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn extend(&self, elements: impl IntoIterator<Item = T>) -> Result<usize> {
        let elements = elements.into_iter().map(|element| EncodedValue::new(&element));
        self.proxy.extend(elements.collect::<Result<_>>()?)
    }

    /// Removes the last element and returns it.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn pop(&self) -> Result<Option<T>> {
        EncodedValue::decode_option(self.proxy.pop()?)
    }

    /// Returns a copy of an element; the first one has the index 0.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn get(&self, index: usize) -> Result<Option<T>> {
        EncodedValue::decode_option(self.proxy.get(index)?)
    }

    /// Replaces an element and returns the previous one.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call (see [`Manager`](crate::Manager#failures)), and [`ErrorKind::Failed`]
    /// if the list is shorter.
    pub fn set(&self, index: usize, element: T) -> Result<T> {
        let before = self.proxy.set(index, EncodedValue::new(&element)?)?;
        let before = before.map_err(|len| {
            let text = format!("the index {index} is out of range: the list has {len} elements");
            Error::new(ErrorKind::Failed, text).on_task("List::set")
        });
        before?.decode()
    }

    /// Returns a consistent copy of the whole list.
    ///
    /// # Errors
    ///
    /// Returns the errors of every call; see [`Manager`](crate::Manager#failures).
    pub fn snapshot(&self) -> Result<Vec<T>> {
        self.proxy.snapshot()?.iter().map(EncodedValue::decode).collect()
    }
}

typed!(List<T>, RawListProxy);
typed_collection!(List<T>, "elements");
