//! Shared memory that is read-only.

#![allow(unsafe_code, reason = "refers to mapped memory")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, Deref, RangeBounds};
use std::sync::Arc;

use bytemuck::Pod;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::region::{self, RegionPlace};
use super::{Shareable, SharedMut};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, DecodedObject, EncodedObject, Object};
use crate::sys::memory::{self, Mapping, PAGE};

/// An immutable array, string or value in memory that processes share.
///
/// A `Shared` is a small handle, whatever the size of the memory. It can be a parameter or a result of
/// a task, a field of either, or an input of an initializer. The process that receives it reads the
/// same memory, without a copy. A `Shared` dereferences to its contents. The first element of an array
/// is aligned to 64 bytes.
///
/// Cloning creates another handle to the same memory. The memory is freed when no process has a handle
/// any more, even if processes were killed.
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
/// All pages are allocated when the value is created, so that creating it fails if memory is short. A
/// worker keeps its mapping for up to one second after the last task that used it. The mapping counts
/// towards `RLIMIT_AS`.
pub struct Shared<T: ?Sized> {
    object: Arc<Object>,
    place: RegionPlace,
    of: PhantomData<fn() -> Box<T>>,
}

impl<T: Pod> Shared<[T]> {
    /// Copies a slice into shared memory.
    ///
    /// ```
    /// let image = runtime::Shared::from_slice(&[1_u32, 2, 3])?;
    /// assert_eq!(image[1..], [2, 3]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] if the memory cannot be allocated.
    pub fn from_slice(values: &[T]) -> Result<Self> {
        Self::build(values.len(), |to| to.copy_from_slice(values))
    }

    /// Creates an array of `len` elements, which `fill` initializes in place.
    ///
    /// `fill` receives the elements as zeroes. See [`Shared`] for an example.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] if the memory cannot be allocated.
    ///
    /// # Panics
    ///
    /// Panics if `fill` panics.
    pub fn build(len: usize, fill: impl FnOnce(&mut [T])) -> Result<Self> {
        let mut array = SharedMut::zeroed(len)?;
        fill(&mut array);
        Ok(array.freeze())
    }

    /// Creates an array of `len` zeroes.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] if the memory cannot be allocated.
    pub fn zeroed(len: usize) -> Result<Self> {
        Ok(SharedMut::zeroed(len)?.freeze())
    }

    /// Returns a handle to a range of the elements, in the same memory.
    ///
    /// ```
    /// let image = runtime::Shared::from_slice(&[1_u32, 2, 3, 4])?;
    /// let middle = image.slice(1..3);
    /// assert_eq!(*middle, [2, 3]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the range ends beyond the array, or before it starts.
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
            place: RegionPlace { offset, len: end - start },
            of: PhantomData,
        }
    }
}

impl<T: Pod> SharedMut<[T]> {
    /// Gives up write access and returns a read-only handle to the same memory.
    ///
    /// If this is the whole array and not a part of it, the kernel refuses all further writes. If
    /// another process still has a part of it mapped, because it is about to drop a value that it has
    /// sent back, the kernel refuses new writable mappings instead.
    ///
    /// ```
    /// use runtime::SharedMut;
    ///
    /// let mut numbers = SharedMut::<[u64]>::zeroed(3)?;
    /// numbers[2] = 7;
    /// let numbers = numbers.freeze();
    /// assert_eq!(*numbers, [0, 0, 7]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if the array was sent to a task, or if the process cannot map memory any more.
    pub fn freeze(self) -> Shared<[T]> {
        // Rule M2: no writable mapping of this value remains.
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
    /// Copies a string into shared memory.
    ///
    /// ```
    /// let text = runtime::Shared::<str>::new("a long text")?;
    /// assert!(text.ends_with("text"));
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] if the memory cannot be allocated.
    pub fn new(text: &str) -> Result<Self> {
        let Shared { object, place, .. } = Shared::<[u8]>::from_slice(text.as_bytes())?;
        Ok(Shared { object, place, of: PhantomData })
    }
}

impl<T: Pod> Shared<T> {
    /// Copies a value into shared memory.
    ///
    /// ```
    /// let identity = [[1.0, 0.0], [0.0, 1.0]];
    /// let matrix = runtime::Shared::<[[f64; 2]; 2]>::new(&identity)?;
    /// assert_eq!(*matrix, identity);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] if the memory cannot be allocated.
    pub fn new(value: &T) -> Result<Self> {
        let Shared { object, place, .. } = Shared::from_slice(std::slice::from_ref(value))?;
        Ok(Shared { object, place, of: PhantomData })
    }
}

impl<T: Shareable + ?Sized> Shared<T> {
    /// Creates a handle to memory that is no longer written.
    pub(super) fn of(object: Arc<Object>, place: RegionPlace) -> Result<Self> {
        let shared: Shared<T> = Shared { object, place, of: PhantomData };
        shared.checked().map_err(|why| {
            Error::new(ErrorKind::OutOfMemory, format!("failed to map shared memory: {why}"))
        })?;
        Ok(shared)
    }

    /// Checks, once, that references to the memory are valid.
    fn checked(&self) -> Result<(), String> {
        let bytes = region::check(self.place, &self.object, T::SIZE, T::ALIGN)?;
        if T::FRAGILE && !memory::are_bytes_sealed(self.object.fd(0)) {
            return Err("the memory is not sealed against writes".to_owned());
        }
        let mapping = self.object.memory().map_err(|error| error.to_string())?;
        let at = mapping.at(self.place.offset, bytes);
        // SAFETY: the range lies within the mapping, which lives as long as the object; rule M2.
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
        // SAFETY: the range was checked when the value was created (rule M6), it is mapped for as long
        // as the object lives, and nobody writes to it (rule M2).
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
        let place = RegionPlace { offset: offset as usize, len: len as usize };
        let shared: Shared<T> = Shared { object, place, of: PhantomData };
        shared
            .checked()
            .map_err(|why| D::Error::custom(format!("shared memory was refused: {why}")))?;
        handle::keep(&shared.object);
        Ok(shared)
    }
}
