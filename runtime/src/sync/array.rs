//! Arrays of atomics.

#![allow(unsafe_code, reason = "refers to mapped memory")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::atomic::{
    AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
    AtomicU64, AtomicUsize, Ordering,
};

use bytemuck::Pod;
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

use super::block::{Head, LockMemory, SLOTS_ALIGN, Tag};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::memory::SharedMemory;

#[repr(C, align(8))]
#[derive(Debug, Default)]
struct AtomicsHead {
    tag: Tag,
}

// SAFETY: `repr(C)`, and only atomics.
unsafe impl SharedMemory for AtomicsHead {}
// SAFETY: `repr(C)`, with a tag as its first field.
unsafe impl Head for AtomicsHead {
    const KIND: u32 = 7;
}

/// An element of [`Atomics`]: one of the integer atomics of [`std::sync::atomic`].
///
/// `AtomicBool` and `AtomicPtr` are excluded, because another process could write bytes that are not a valid `bool`, or a pointer
/// into its own memory. This trait is sealed and cannot be implemented for other types.
pub trait Atomic: sealed::IntegerAtomic {
    /// The integer.
    type Value: Pod;

    /// Reads the integer (`Relaxed`).
    fn get(&self) -> Self::Value;

    /// Writes the integer (`Relaxed`).
    fn set(&self, value: Self::Value);
}

mod sealed {
    /// # Safety
    ///
    /// The type is an atomic for which every bit pattern is valid.
    #[allow(unsafe_code, reason = "an unsafe trait")]
    pub unsafe trait IntegerAtomic: Sync + 'static {}
}

macro_rules! atomics {
    ($($atomic:ty: $value:ty),*) => {$(
        // SAFETY: an integer atomic, for which every bit pattern is valid.
        unsafe impl sealed::IntegerAtomic for $atomic {}

        impl Atomic for $atomic {
            type Value = $value;

            #[inline]
            fn get(&self) -> $value {
                self.load(Ordering::Relaxed)
            }

            #[inline]
            fn set(&self, value: $value) {
                self.store(value, Ordering::Relaxed);
            }
        }
    )*};
}

atomics!(
    AtomicU8: u8, AtomicU16: u16, AtomicU32: u32, AtomicU64: u64, AtomicUsize: usize,
    AtomicI8: i8, AtomicI16: i16, AtomicI32: i32, AtomicI64: i64, AtomicIsize: isize
);

/// An array of atomic integers in shared memory, which all processes read and write at the same time.
///
/// It dereferences to a slice of the atomics of [`std::sync::atomic`]. The memory is freed when no process has a handle any more.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// use runtime::sync::Atomics;
/// use runtime::worker;
///
/// #[worker]
/// fn count_letters(counts: Atomics<AtomicU64>, line: &str) {
///     for letter in line.bytes().filter(u8::is_ascii_lowercase) {
///         counts[(letter - b'a') as usize].fetch_add(1, Ordering::Relaxed);
///     }
/// }
///
/// let counts = Atomics::<AtomicU64>::zeroed(26)?;
/// runtime::pool().map(count_letters, [(&counts, "banana"), (&counts, "bread")])?;
/// assert_eq!(counts.snapshot()[..4], [4, 2, 0, 1]);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// When the result of a call is visible, all writes of its task are visible too, with any ordering. To order writes to several
/// elements, use `Release` and `Acquire`, as between threads.
pub struct Atomics<A: Atomic> {
    block: LockMemory<AtomicsHead>,
    first: std::ptr::NonNull<A>,
    len: usize,
    of: PhantomData<A>,
}

// SAFETY: the pointer refers to atomics.
unsafe impl<A: Atomic> Send for Atomics<A> {}
// SAFETY: as above.
unsafe impl<A: Atomic> Sync for Atomics<A> {}

impl<A: Atomic> Atomics<A> {
    /// Creates an array of `len` zeroes.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::OutOfMemory`] if there is not enough memory or no file descriptor.
    pub fn zeroed(len: usize) -> Result<Self> {
        let bytes =
            len.checked_mul(size_of::<A>()).filter(|bytes| *bytes < isize::MAX as usize / 2);
        let bytes = bytes.ok_or_else(|| {
            let text = format!("failed to allocate shared memory for {len} atomics: the array exceeds the address space");
            Error::new(ErrorKind::OutOfMemory, text)
        })?;
        Ok(Self::of(LockMemory::new(bytes, SLOTS_ALIGN)?))
    }

    /// Creates an array with the given values.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`zeroed`](Self::zeroed).
    pub fn from_slice(values: &[A::Value]) -> Result<Self> {
        let array = Self::zeroed(values.len())?;
        array.iter().zip(values).for_each(|(atomic, value)| atomic.set(*value));
        Ok(array)
    }

    /// Returns a copy of all values. Each value is read atomically, the array as a whole is not.
    pub fn snapshot(&self) -> Vec<A::Value> {
        self.iter().map(Atomic::get).collect()
    }

    fn of(block: LockMemory<AtomicsHead>) -> Self {
        let bytes = block.extra_len();
        let first = block.extra(SLOTS_ALIGN, bytes).cast();
        Atomics { block, first, len: bytes / size_of::<A>(), of: PhantomData }
    }
}

impl<A: Atomic> Deref for Atomics<A> {
    type Target = [A];

    #[inline]
    fn deref(&self) -> &[A] {
        // SAFETY: the pointer is aligned and within the block, which lives as long as `self`; the atomics are
        // valid for all bytes.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }
}

impl<A: Atomic> Clone for Atomics<A> {
    fn clone(&self) -> Self {
        Atomics { block: self.block.clone(), first: self.first, len: self.len, of: PhantomData }
    }
}

impl<A: Atomic<Value: fmt::Debug>> fmt::Debug for Atomics<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Atomic::get)).finish()
    }
}

impl<A: Atomic> Serialize for Atomics<A> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.block, size_of::<A>() as u8).serialize(serializer)
    }
}

impl<'de, A: Atomic> Deserialize<'de> for Atomics<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (DecodedBlock(block), size) = <(DecodedBlock, u8)>::deserialize(deserializer)?;
        match usize::from(size) == size_of::<A>() {
            true => Ok(Self::of(block)),
            false => Err(D::Error::custom(
                "an array of atomics was refused: its elements have another size",
            )),
        }
    }
}

struct DecodedBlock(LockMemory<AtomicsHead>);

impl<'de> Deserialize<'de> for DecodedBlock {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        LockMemory::decode(deserializer, SLOTS_ALIGN, None).map(DecodedBlock)
    }
}
