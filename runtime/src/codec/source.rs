//! The source of encoded bytes, which may be memory that another process is writing to.
//!
//! Bytes are copied first and validated afterwards, and no reference into the region is created.
//! Whatever another process does at the same time, a value is therefore decoded from bytes that do not
//! change any more.
//!
//! The exception is a stable source: bytes that nobody writes while they are borrowed, such as those of an
//! input in a worker (rule Q25). Parameters that borrow refer to them.
#![allow(
    unsafe_code,
    reason = "reads through a raw pointer, as a reference into memory that others write to would be a lie"
)]

use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::atomic::{Ordering, compiler_fence};

use bincode::de::read::Reader;
use bincode::error::DecodeError as BincodeDecode;
use serde::Deserialize;

use super::error::DecodeError;
use crate::sys::prefetch;

/// A number that may be copied as bytes.
///
/// # Safety
/// Every byte is initialized, every bit pattern is valid, and on a little-endian target the bytes are
/// the encoded form.
pub(super) unsafe trait PlainNumber: Copy + for<'de> Deserialize<'de> {
    /// The plural name of the type in messages.
    const UNIT: &'static str;
}

/// A sequence of bytes that is read from its front.
pub(crate) struct Source<'a> {
    // Invariant: `next` is valid for reads of `remaining` bytes for `'a`.
    next: NonNull<u8>,
    remaining: usize,
    // Invariant: if it is set, no process writes the bytes for `'a`.
    is_stable: bool,
    region: PhantomData<&'a [u8]>,
}

impl<'a> Source<'a> {
    /// Creates a source of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        // SAFETY: a slice is valid for reads of its length for its lifetime.
        unsafe { Source::stable(NonNull::from(bytes).cast(), bytes.len()) }
    }

    /// Creates a source of `len` bytes from `start`.
    ///
    /// # Safety
    /// The bytes must be mapped, readable and initialized for `'a`. Other processes may write to them at
    /// any time, but this process must not.
    pub(crate) unsafe fn from_raw(start: NonNull<u8>, len: usize) -> Self {
        Source { next: start, remaining: len, is_stable: false, region: PhantomData }
    }

    /// Creates a source of `len` bytes from `start`, to which values may refer.
    ///
    /// # Safety
    /// The bytes must be mapped, readable and initialized for `'a`, and no process may write to them
    /// during that time.
    #[inline]
    pub(crate) unsafe fn stable(start: NonNull<u8>, len: usize) -> Self {
        Source { next: start, remaining: len, is_stable: true, region: PhantomData }
    }

    /// Returns whether values may refer to the bytes.
    #[inline]
    pub(super) fn is_stable(&self) -> bool {
        self.is_stable
    }

    /// Returns another source at the same position.
    #[inline]
    pub(super) fn again(&self) -> Source<'a> {
        Source { ..*self }
    }

    /// Returns the number of remaining bytes.
    #[inline]
    pub(crate) fn remaining(&self) -> usize {
        self.remaining
    }

    /// Checks that all bytes were read.
    ///
    /// # Errors
    /// Returns an error if bytes are left.
    #[inline]
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining {
            0 => Ok(()),
            left => Err(DecodeError::new(format_args!("{left} bytes are left after the value"))),
        }
    }

    /// Reads `count` elements in one copy. Allocates memory only if all of them exist.
    #[inline]
    pub(super) fn read_vec<S: PlainNumber>(&mut self, count: u64) -> Result<Vec<S>, DecodeError> {
        let size = usize::try_from(count)
            .ok()
            .and_then(|count| count.checked_mul(size_of::<S>()))
            .filter(|&size| size <= self.remaining)
            .ok_or_else(|| DecodeError::short(count, S::UNIT, self.remaining))?;
        let count = size / size_of::<S>();
        let mut values = Vec::<S>::with_capacity(count);
        if size >= prefetch::OWN_MAPPING {
            prefetch::large(values.as_mut_ptr().cast(), size);
        }
        // SAFETY: `size <= remaining` was checked; the vector has room for `count` elements of `size`
        // bytes in total, and any bytes are valid elements because `S` is `PlainNumber`.
        unsafe {
            self.copy_out(values.as_mut_ptr().cast(), size);
            values.set_len(count);
        }
        Ok(values)
    }

    /// Returns a reference to the next `count` elements and skips them, if that is possible: no process
    /// may write them, they must be aligned, and all of them must exist.
    #[inline]
    pub(super) fn borrow<S: PlainNumber>(&mut self, count: u64) -> Option<&'a [S]> {
        let count = usize::try_from(count).ok()?;
        let size = count.checked_mul(size_of::<S>()).filter(|&size| size <= self.remaining)?;
        let start = self.next.cast::<S>();
        if !self.is_stable || !start.is_aligned() {
            return None;
        }
        self.skip(size)?;
        // SAFETY: the slice is aligned and in bounds; no process writes the bytes for `'a`, and any
        // bytes are valid elements because `S` is `PlainNumber`.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), count) })
    }

    /// Appends the remaining bytes to a vector.
    #[cfg(feature = "cluster")]
    pub(crate) fn append_to(mut self, bytes: &mut Vec<u8>) {
        let at = bytes.len();
        bytes.resize(at + self.remaining, 0);
        let read = self.read(&mut bytes[at..]);
        debug_assert!(read.is_ok(), "as many bytes are read as remain");
    }

    /// Skips bytes, if they exist.
    #[inline]
    pub(super) fn skip(&mut self, len: usize) -> Option<()> {
        self.remaining = self.remaining.checked_sub(len)?;
        // SAFETY: there were at least `len` bytes.
        self.next = unsafe { self.next.add(len) };
        Some(())
    }

    /// Copies `len` bytes to `to` and skips them.
    ///
    /// # Safety
    /// `len <= remaining`, and `to` is valid for writes of `len` bytes.
    #[inline]
    unsafe fn copy_out(&mut self, to: *mut u8, len: usize) {
        let from = self.next.as_ptr();
        // SAFETY: `from` is valid for `len` bytes by the invariant, `to` by contract. They do not
        // overlap: `to` is writable by this process and borrowed or owned by the caller.
        unsafe {
            match len {
                1 => copy_once::<u8>(from, to),
                2 => copy_once::<u16>(from, to),
                4 => copy_once::<u32>(from, to),
                8 => copy_once::<u64>(from, to),
                _ => {
                    ptr::copy_nonoverlapping(from, to, len);
                    // The later checks must apply to the copy, so the compiler must not load from the
                    // region again.
                    compiler_fence(Ordering::SeqCst);
                }
            }
            self.next = self.next.add(len);
        }
        self.remaining -= len;
    }
}

/// Copies a `T` by exactly one load, regardless of its alignment.
///
/// # Safety
/// `from` is valid for reads and `to` for writes of a `T`.
#[inline]
unsafe fn copy_once<T>(from: *const u8, to: *mut u8) {
    #[repr(C, packed)]
    struct Unaligned<T>(MaybeUninit<T>);
    // SAFETY: by contract; `Unaligned` has alignment 1.
    unsafe {
        let value = ptr::read_volatile(from.cast::<Unaligned<T>>());
        ptr::write(to.cast(), value);
    }
}

impl Reader for Source<'_> {
    #[inline]
    fn read(&mut self, bytes: &mut [u8]) -> Result<(), BincodeDecode> {
        if bytes.len() > self.remaining {
            return Err(BincodeDecode::UnexpectedEnd { additional: bytes.len() - self.remaining });
        }
        // SAFETY: the length was just checked, and `bytes` is writable.
        unsafe { self.copy_out(bytes.as_mut_ptr(), bytes.len()) }
        Ok(())
    }
}
