//! The memory of one lock, to which handles refer.

#![allow(unsafe_code, reason = "refers to mapped memory")]

use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

use bytemuck::Pod;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::pages::{self, UNIT};
use crate::atomics::{AtomicU32, AtomicU64, Ordering};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, DecodedObject, EncodedObject, Object};
use crate::sys::memory::SharedMemory;

/// The alignment of the slots of a lock, and the minimum alignment of its value.
pub(super) const SLOTS_ALIGN: usize = 8;

// SAFETY: an atomic. Models do not map memory.
#[cfg(all(test, loom))]
unsafe impl SharedMemory for AtomicU64 {}

/// The first field of every lock.
#[repr(C, align(8))]
#[derive(Debug, Default)]
pub(super) struct Tag {
    kind: AtomicU32,
    /// The alignment of the part that follows the fixed part.
    align: AtomicU32,
    /// The length of the part that follows the fixed part, in bytes.
    extra: AtomicU64,
}

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for Tag {}

/// The fixed part of a kind of lock, which begins with a [`Tag`].
///
/// # Safety
///
/// The type is `repr(C)`, and a `Tag` is its first field.
pub(super) unsafe trait Head: SharedMemory {
    /// A number that differs for each kind of lock.
    const KIND: u32;
}

/// A fixed part and the bytes that follow it, which live as long as this value.
pub(super) struct LockMemory<H> {
    object: Arc<Object>,
    offset: usize,
    head: NonNull<H>,
    extra: usize,
}

// SAFETY: it refers to memory of the process that `object` keeps mapped. It is accessed through atomics, or
// under the lock that it contains.
unsafe impl<H> Send for LockMemory<H> {}
// SAFETY: as above.
unsafe impl<H> Sync for LockMemory<H> {}

impl<H: Head> LockMemory<H> {
    /// Creates a block with `extra` bytes behind the fixed part, which begin at a multiple of `align`. All
    /// bytes behind the tag are zero.
    pub(super) fn new(extra: usize, align: usize) -> Result<Self> {
        let (object, offset) = pages::allocate(Self::extra_at(align) + extra)?;
        let block = Self::at(object, offset, extra).map_err(|why| {
            let text = format!("failed to map a lock: {why}");
            Error::new(ErrorKind::OutOfMemory, text)
        })?;
        let tag = block.tag();
        tag.extra.store(extra as u64, Ordering::Relaxed);
        tag.align.store(align as u32, Ordering::Relaxed);
        tag.kind.store(H::KIND, Ordering::Release);
        Ok(block)
    }

    /// Creates a block that holds a value, and returns it with the address of the value.
    ///
    /// # Errors
    ///
    /// Fails as [`new`](Self::new), and if the alignment of `T` exceeds that of blocks.
    pub(super) fn with_value<T: Pod>(value: T) -> Result<(Self, NonNull<T>)> {
        if align_of::<T>() > UNIT {
            let text = format!(
                "a lock cannot guard a `{}`, which is aligned to more than {UNIT} bytes",
                std::any::type_name::<T>()
            );
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        let block = Self::new(size_of::<T>(), Self::value_align::<T>())?;
        let at = block.value();
        // SAFETY: no other thread has access to the block yet; the pointer is aligned and within it.
        unsafe { at.write(value) };
        Ok((block, at))
    }

    /// Decodes a block that holds a `T`, and returns it with the address of the value.
    pub(super) fn decode_with_value<'de, T: Pod, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<(Self, NonNull<T>), D::Error> {
        let align = Self::value_align::<T>();
        let block = Self::decode(deserializer, align, Some(size_of::<T>()))?;
        let value = block.value();
        Ok((block, value))
    }

    const fn value_align<T>() -> usize {
        if align_of::<T>() < SLOTS_ALIGN { SLOTS_ALIGN } else { align_of::<T>() }
    }

    fn value<T>(&self) -> NonNull<T> {
        self.extra(Self::value_align::<T>(), size_of::<T>()).cast()
    }

    /// Returns the offset of the rest from the fixed part.
    const fn extra_at(align: usize) -> usize {
        size_of::<H>().next_multiple_of(align)
    }

    /// Checks rule Y1: the block is within the object and aligned.
    fn at(object: Arc<Object>, offset: usize, extra: usize) -> Result<Self, String> {
        let memory = object.writable_memory().map_err(|error| error.to_string())?;
        let end = offset.checked_add(size_of::<H>()).and_then(|end| end.checked_add(extra));
        let inside = end.is_some_and(|end| end <= memory.len());
        if offset < UNIT || !offset.is_multiple_of(UNIT) || !inside {
            return Err("it lies outside of its memory".to_owned());
        }
        let head = memory.at(offset, size_of::<H>()).cast();
        Ok(LockMemory { object, offset, head, extra })
    }

    fn tag(&self) -> &Tag {
        // SAFETY: every head begins with a tag.
        unsafe { self.head.cast::<Tag>().as_ref() }
    }

    /// Returns the bytes behind the fixed part, which begin at a multiple of `align`.
    ///
    /// # Panics
    ///
    /// Panics if there are fewer than `len`.
    pub(super) fn extra(&self, align: usize, len: usize) -> NonNull<u8> {
        assert!(len <= self.extra && align <= UNIT, "checked when it was made");
        let memory = self.object.writable_memory().expect("it was mapped when it was made");
        memory.at(self.offset + Self::extra_at(align), len)
    }

    /// Returns the bytes behind the fixed part, as many structures as fit.
    pub(super) fn extra_slots<T: SharedMemory>(&self) -> &[T] {
        const { assert!(align_of::<T>() == SLOTS_ALIGN) };
        let first = self.extra(SLOTS_ALIGN, self.extra).cast::<T>();
        // SAFETY: the slice is aligned and within the block, which lives as long as `self`; its atomics are
        // valid for all bytes.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), self.extra / size_of::<T>()) }
    }

    /// Returns the number of bytes behind the fixed part.
    pub(super) fn extra_len(&self) -> usize {
        self.extra
    }

    /// Decodes a block whose rest has the alignment `align`, and the length `extra` if that is known.
    pub(super) fn decode<'de, D: Deserializer<'de>>(
        deserializer: D,
        align: usize,
        extra: Option<usize>,
    ) -> Result<Self, D::Error> {
        let (DecodedObject(object), offset) = <(DecodedObject, u64)>::deserialize(deserializer)?;
        let refused = |why: String| D::Error::custom(format!("a lock was refused: {why}"));
        pages::check_home(&object).map_err(refused)?;
        let block = Self::at(object, offset as usize, 0).map_err(refused)?;
        let tag = block.tag();
        let kind = tag.kind.load(Ordering::Acquire);
        let found = tag.extra.load(Ordering::Relaxed) as usize;
        if kind != H::KIND
            || tag.align.load(Ordering::Relaxed) as usize != align
            || extra.is_some_and(|extra| extra != found)
        {
            return Err(refused("it is of another type".to_owned()));
        }
        let end = Self::extra_at(align).checked_add(found).map(|len| len - size_of::<H>());
        let padded = end.ok_or_else(|| refused("it is too long".to_owned()))?;
        let mut block =
            Self::at(Arc::clone(&block.object), block.offset, padded).map_err(refused)?;
        block.extra = found;
        handle::keep(&block.object);
        Ok(block)
    }
}

impl<H: Head> std::ops::Deref for LockMemory<H> {
    type Target = H;

    #[inline]
    fn deref(&self) -> &H {
        // SAFETY: the address was checked when this value was created (rule Y1), is mapped as long as the
        // object lives, and refers to atomics.
        unsafe { self.head.as_ref() }
    }
}

impl<H> Clone for LockMemory<H> {
    fn clone(&self) -> Self {
        let LockMemory { ref object, offset, head, extra } = *self;
        LockMemory { object: Arc::clone(object), offset, head, extra }
    }
}

impl<H> Serialize for LockMemory<H> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (EncodedObject(&self.object), self.offset as u64).serialize(serializer)
    }
}

impl<H> fmt::Debug for LockMemory<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockMemory")
    }
}
