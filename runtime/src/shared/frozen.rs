//! Memory that all may read.

#![allow(unsafe_code, reason = "refers to mapped memory")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use bytemuck::Pod;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::region::{self, Place};
use super::{Shareable, SharedMut};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, DecodedObject, EncodedObject, Object};
use crate::sys::memory::{self, Mapping, PAGE};

/// An array, text or value in memory that processes share and nobody changes any more.
///
/// A `Shared` is a handle of a few words, whatever its size: it passes as a parameter or a result of a task, in a struct, or as an input of an initializer, and the
/// process that receives it reads the memory where it lies. Cloning makes another handle to the same memory, which is
/// freed when no process has a handle to it any more, however the processes ended.
///
/// It dereferences to what it holds. The first element is aligned to 64 bytes.
///
/// ```
/// use runtime::{Shared, worker};
///
/// #[worker]
/// fn sum(image: Shared<[f64]>, from: usize, to: usize) -> f64 {
///     image[from..to].iter().sum()
/// }
///
/// let image = Shared::<[f64]>::build(1000, |pixels| pixels.fill(0.5))?;
/// let sums = runtime::pool().map(sum, (0..10).map(|n| (&image, n * 100, (n + 1) * 100)))?;
/// assert_eq!(sums.iter().sum::<f64>(), 500.0);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// # Memory
///
/// All of the memory exists when the value is made; if the system does not have it, making the value fails. A worker keeps the mapping of what it read for up to a
/// second after the last task that used it. Where a process is limited by `RLIMIT_AS`, the mapping counts.
pub struct Shared<T: ?Sized> {
    object: Arc<Object>,
    place: Place,
    of: PhantomData<fn() -> Box<T>>,
}

impl<T: Pod> Shared<[T]> {
    /// Copies a slice.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OutOfMemory`] if there is not as much memory.
    pub fn from_slice(values: &[T]) -> Result<Self> {
        Self::build(values.len(), |to| to.copy_from_slice(values))
    }

    /// Makes an array of `len` elements in place: `fill` is given them as zeroes and writes what they are.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OutOfMemory`] if there is not as much memory.
    ///
    /// # Panics
    ///
    /// If `fill` panics.
    pub fn build(len: usize, fill: impl FnOnce(&mut [T])) -> Result<Self> {
        let mut array = SharedMut::zeroed(len)?;
        fill(&mut array);
        Ok(array.freeze())
    }

    /// Makes an array of `len` zeroes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OutOfMemory`] if there is not as much memory.
    pub fn zeroed(len: usize) -> Result<Self> {
        Ok(SharedMut::zeroed(len)?.freeze())
    }

    /// Returns a handle to some of the elements, in the same memory.
    ///
    /// # Panics
    ///
    /// If the range reaches beyond the end, or ends before it begins.
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Self {
        let start = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => self.place.len,
        };
        assert!(
            start <= end && end <= self.place.len,
            "the range {start}..{end} is not within a shared array of {} elements",
            self.place.len
        );
        let offset = self.place.offset + start * size_of::<T>();
        Shared {
            object: Arc::clone(&self.object),
            place: Place { offset, len: end - start },
            of: PhantomData,
        }
    }
}

impl<T: Pod> SharedMut<[T]> {
    /// Gives up writing: returns a handle that all may read.
    ///
    /// If the array is whole, the kernel refuses further writes by anyone. If a process still has a part of it mapped, because it is about to drop
    /// what it sent back, the kernel refuses new mappings for writing instead.
    ///
    /// # Panics
    ///
    /// If the array was sent, or the process cannot map memory any more.
    pub fn freeze(self) -> Shared<[T]> {
        // Rule M2: no mapping of this value is left that can be written to.
        let (object, place) = self.into_memory();
        let size = crate::sys::fds::size(object.fd(0)).unwrap_or(usize::MAX);
        if (place.len * size_of::<T>()).max(1).next_multiple_of(PAGE) == size {
            memory::seal_bytes(object.fd(0));
        }
        match Shared::of(object, place) {
            Ok(shared) => shared,
            Err(error) => panic!("{error}"),
        }
    }
}

impl Shared<str> {
    /// Copies a text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OutOfMemory`] if there is not as much memory.
    pub fn new(text: &str) -> Result<Self> {
        let Shared { object, place, .. } = Shared::<[u8]>::from_slice(text.as_bytes())?;
        Ok(Shared { object, place, of: PhantomData })
    }
}

impl<T: Pod> Shared<T> {
    /// Copies a value.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OutOfMemory`] if there is not as much memory.
    pub fn new(value: &T) -> Result<Self> {
        let Shared { object, place, .. } = Shared::from_slice(std::slice::from_ref(value))?;
        Ok(Shared { object, place, of: PhantomData })
    }
}

impl<T: Shareable + ?Sized> Shared<T> {
    /// Makes a handle to memory that nobody writes to any more.
    pub(super) fn of(object: Arc<Object>, place: Place) -> Result<Self> {
        let shared: Shared<T> = Shared { object, place, of: PhantomData };
        shared.checked().map_err(|why| {
            Error::new(ErrorKind::OutOfMemory, format!("failed to map shared memory: {why}"))
        })?;
        Ok(shared)
    }

    /// Looks whether it can be referred to, once.
    fn checked(&self) -> Result<(), String> {
        let bytes = region::check(self.place, &self.object, T::SIZE, T::ALIGN)?;
        if T::FRAGILE && !memory::are_bytes_sealed(self.object.fd(0)) {
            return Err("it could still be changed".to_owned());
        }
        let mapping = self.object.memory().map_err(|error| error.to_string())?;
        let at = mapping.at(self.place.offset, bytes);
        // SAFETY: within the mapping, which lives as long as the object; rule M2.
        T::check(unsafe { std::slice::from_raw_parts(at.as_ptr(), bytes) }, self.place.len)?;
        Ok(())
    }
}

impl<T: Shareable + ?Sized> Deref for Shared<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        let mapping: &Mapping = self.object.memory().expect("it was mapped when it was made");
        let at = mapping.at(self.place.offset, self.place.len * T::SIZE);
        // SAFETY: checked when it was made (rule M6), mapped as long as the object lives, and nobody writes there (rule M2).
        unsafe { T::refer(at, self.place.len) }
    }
}

impl<T: Shareable + ?Sized> AsRef<T> for Shared<T> {
    fn as_ref(&self) -> &T {
        self
    }
}

impl<T: ?Sized> Clone for Shared<T> {
    fn clone(&self) -> Self {
        Shared { object: Arc::clone(&self.object), place: self.place, of: PhantomData }
    }
}

impl<T: Shareable + fmt::Debug + ?Sized> fmt::Debug for Shared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Serialize for Shared<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (EncodedObject(&self.object), self.place.offset as u64, self.place.len as u64)
            .serialize(serializer)
    }
}

impl<'de, T: Shareable + ?Sized> Deserialize<'de> for Shared<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (DecodedObject(object), offset, len) =
            <(DecodedObject, u64, u64)>::deserialize(deserializer)?;
        let place = Place { offset: offset as usize, len: len as usize };
        let shared: Shared<T> = Shared { object, place, of: PhantomData };
        shared
            .checked()
            .map_err(|why| D::Error::custom(format!("shared memory was refused: {why}")))?;
        handle::keep(&shared.object);
        Ok(shared)
    }
}
