//! Shared memory that one owner at a time can write.

#![allow(unsafe_code, reason = "refers to mapped memory")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytemuck::Pod;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, SerializeTuple, Serializer};

use super::claims::Claim;
use super::region::{self, RegionPlace};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, DecodedObject, Object};
use crate::poison::IgnorePoison;
use crate::sys::memory::{self, Mapping, PAGE};

/// An array in memory that processes share, or a part of one, with exclusive write access.
///
/// A `SharedMut` is moved into a call. The task writes to the memory in place and returns the value. It
/// is not `Clone`, and a call that only borrows it fails with [`ErrorKind::Encode`].
/// [`split`](Self::split) divides an array into disjoint parts for several tasks,
/// [`join`](Self::join) puts them together again, and [`freeze`](Self::freeze) turns the array into a
/// read-only [`Shared`](super::Shared).
///
/// ```
/// use runtime::{SharedMut, worker};
///
/// #[worker]
/// fn render(mut part: SharedMut<[f32]>) -> SharedMut<[f32]> {
///     part.fill(1.0);
///     part
/// }
///
/// let parts = SharedMut::<[f32]>::zeroed(1000)?.split(8);
/// let parts = runtime::pool().map(render, parts)?;
/// let picture = SharedMut::join(parts)?.freeze();
/// assert!(picture.iter().all(|value| *value == 1.0));
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// If the worker that has a part dies, the part is lost together with the outcome of its input. The
/// other parts are not affected. A retry receives the part as the dead worker has left it. The inputs
/// of initializers, preloads and broadcasts cannot contain a `SharedMut`, because more than one worker
/// would receive it.
pub struct SharedMut<T: ?Sized> {
    object: Arc<Object>,
    place: RegionPlace,
    /// The offset at which the mapping starts.
    mapped_from: usize,
    mapping: Arc<Mapping>,
    /// The claim on the range, until the value is sent.
    claim: Mutex<Option<Claim>>,
    /// Whether the value was encoded, so that the memory belongs to another value.
    sent: AtomicBool,
    of: PhantomData<Box<T>>,
}

impl<T: Pod> SharedMut<[T]> {
    /// Creates an array of `len` zeroes.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] if the memory cannot be allocated.
    pub fn zeroed(len: usize) -> Result<Self> {
        let object = region::allocate(len, size_of::<T>())?;
        Self::whole(object, RegionPlace { offset: 0, len }).map_err(|why| {
            Error::new(ErrorKind::OutOfMemory, format!("failed to map shared memory: {why}"))
        })
    }

    /// Copies a slice into shared memory.
    ///
    /// ```
    /// use runtime::{SharedMut, worker};
    ///
    /// #[worker]
    /// fn sort(mut numbers: SharedMut<[i64]>) -> SharedMut<[i64]> {
    ///     numbers.sort_unstable();
    ///     numbers
    /// }
    ///
    /// let numbers = SharedMut::from_slice(&[3, 1, 2])?;
    /// let sorted = runtime::pool().apply(sort, numbers)?;
    /// assert_eq!(*sorted, [1, 2, 3]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] if the memory cannot be allocated.
    pub fn from_slice(values: &[T]) -> Result<Self> {
        let mut array = Self::zeroed(values.len())?;
        array.copy_from_slice(values);
        Ok(array)
    }

    /// Maps a range that this process owns from now on.
    fn whole(object: Arc<Object>, place: RegionPlace) -> Result<Self, String> {
        let bytes = region::check(place, &object, size_of::<T>(), align_of::<T>())?;
        let RegionPlace { offset, .. } = place;
        if !memory::is_sealed(object.fd(0)) {
            return Err("expected shared memory and found another file".to_owned());
        }
        let claim = Claim::new(object.id(), offset..offset + bytes)
            .ok_or("an abandoned task of this process is still using a part of it")?;
        let mapped_from = offset / PAGE * PAGE;
        let mapping =
            Mapping::part(object.fd(0), mapped_from, (offset + bytes - mapped_from).max(1))
                .map_err(|error| error.to_string())?;
        let (mapping, claim) = (Arc::new(mapping), Mutex::new(Some(claim)));
        let sent = AtomicBool::new(false);
        Ok(SharedMut { object, place, mapped_from, mapping, claim, sent, of: PhantomData })
    }

    /// Divides the array into `parts` parts whose lengths differ by at most one.
    ///
    /// ```
    /// use runtime::SharedMut;
    ///
    /// let parts = SharedMut::<[u8]>::zeroed(10)?.split(3);
    /// let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    /// assert_eq!(lengths, [4, 3, 3]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if `parts` is 0, or if the array was sent to a task.
    pub fn split(mut self, parts: usize) -> Vec<Self> {
        assert!(parts > 0, "a shared array cannot be split into 0 parts");
        self.check();
        let (each, more) = (self.place.len / parts, self.place.len % parts);
        let mut rest = self.claim.get_mut().ignore_poison().take();
        let mut offset = self.place.offset;
        let mut part = |n: usize| {
            let len = each + usize::from(n < more);
            let end = offset + len * size_of::<T>();
            let (claim, after) = rest.take().expect("claimed until it is sent").split_at(end);
            rest = Some(after);
            let place = RegionPlace { offset, len };
            offset = end;
            SharedMut {
                object: Arc::clone(&self.object),
                place,
                mapped_from: self.mapped_from,
                mapping: Arc::clone(&self.mapping),
                claim: Mutex::new(Some(claim)),
                sent: AtomicBool::new(false),
                of: PhantomData,
            }
        };
        (0..parts).map(&mut part).collect()
    }

    /// Joins adjacent parts of an array, which can be passed in any order.
    ///
    /// ```
    /// use runtime::SharedMut;
    ///
    /// let mut parts = SharedMut::<[u8]>::zeroed(10)?.split(3);
    /// parts[1].fill(1);
    /// parts.reverse();
    /// assert_eq!(*SharedMut::join(parts)?, [0, 0, 0, 0, 1, 1, 1, 0, 0, 0]);
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Configuration`] if there are no parts, if they belong to different arrays,
    /// if a part between them is missing, or if a part was sent to a task. Returns
    /// [`ErrorKind::OutOfMemory`] if the memory cannot be mapped. The parts are lost in all these
    /// cases.
    pub fn join(parts: impl IntoIterator<Item = Self>) -> Result<Self> {
        let wrong = |text: String| Err(Error::new(ErrorKind::Configuration, text));
        let mut parts: Vec<Self> = parts.into_iter().collect();
        parts.sort_by_key(|part| (part.place.offset, part.place.len));
        let Some(first) = parts.first() else {
            return wrong("a shared array cannot be joined from 0 parts".to_owned());
        };
        let (object, start) = (Arc::clone(&first.object), first.place.offset);
        let mut len = 0;
        for part in &parts {
            if part.sent.load(Ordering::Relaxed) {
                return wrong(
                    "a part of a shared array cannot be joined after it was sent".to_owned(),
                );
            }
            if part.object.id() != object.id() {
                return wrong("parts of different shared arrays cannot be joined".to_owned());
            }
            let expected = start + len * size_of::<T>();
            if part.place.offset != expected {
                let element = (part.place.offset - start) / size_of::<T>().max(1);
                return wrong(format!(
                    "parts of a shared array cannot be joined: no part has the elements {len}..{element}, counted from \
                     the first part"
                ));
            }
            len += part.place.len;
        }
        drop(parts);
        Self::whole(object, RegionPlace { offset: start, len }).map_err(|why| {
            Error::new(ErrorKind::OutOfMemory, format!("failed to map shared memory: {why}"))
        })
    }
}

impl<T: Pod> SharedMut<[T]> {
    /// Unmaps the array and returns its memory.
    ///
    /// # Panics
    ///
    /// Panics if the array was sent.
    pub(super) fn into_memory(self) -> (Arc<Object>, RegionPlace) {
        self.check();
        let SharedMut { object, place, .. } = self;
        (object, place)
    }
}

impl<T: ?Sized> SharedMut<T> {
    /// Checks that the value still owns its memory.
    ///
    /// # Panics
    ///
    /// Panics if it was sent.
    #[inline]
    fn check(&self) {
        assert!(!self.sent.load(Ordering::Relaxed), "a shared array is used after it was sent");
    }
}

impl<T: Pod> Deref for SharedMut<[T]> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.check();
        let at = self.place.offset - self.mapped_from;
        let at = self.mapping.at(at, self.place.len * size_of::<T>()).cast::<T>();
        // SAFETY: the range was checked when it was mapped (rule M6), it is mapped for as long as `self`
        // lives, and it belongs to this value alone (rule M3).
        unsafe { std::slice::from_raw_parts(at.as_ptr(), self.place.len) }
    }
}

impl<T: Pod> DerefMut for SharedMut<[T]> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        self.check();
        let at = self.place.offset - self.mapped_from;
        let at = self.mapping.at(at, self.place.len * size_of::<T>()).cast::<T>();
        // SAFETY: as in `deref`, and the value is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), self.place.len) }
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for SharedMut<[T]> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sent.load(Ordering::Relaxed) {
            true => f.write_str("SharedMut(sent)"),
            false => (**self).fmt(f),
        }
    }
}

impl<T: Pod> Serialize for SharedMut<[T]> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Exclusive<'a>(&'a Arc<Object>);
        impl Serialize for Exclusive<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                handle::encode_exclusive(self.0, serializer)
            }
        }
        if self.sent.swap(true, Ordering::Relaxed) {
            return Err(S::Error::custom("this part of a shared array was sent before"));
        }
        let mut tuple = serializer.serialize_tuple(3)?;
        let encoded = tuple.serialize_element(&Exclusive(&self.object));
        if encoded.is_err() {
            // The value was not encoded, so it keeps the memory.
            self.sent.store(false, Ordering::Relaxed);
        }
        encoded?;
        drop(self.claim.lock().ignore_poison().take());
        tuple.serialize_element(&(self.place.offset as u64))?;
        tuple.serialize_element(&(self.place.len as u64))?;
        tuple.end()
    }
}

impl<'de, T: Pod> Deserialize<'de> for SharedMut<[T]> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (DecodedObject(object), offset, len) =
            <(DecodedObject, u64, u64)>::deserialize(deserializer)?;
        let place = RegionPlace { offset: offset as usize, len: len as usize };
        Self::whole(object, place)
            .map_err(|why| D::Error::custom(format!("shared memory was refused: {why}")))
    }
}
