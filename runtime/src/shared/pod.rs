//! The types of values in shared memory.

#![allow(unsafe_code, reason = "makes references to mapped memory")]

use std::ptr::NonNull;

use bytemuck::Pod;

/// A type that a [`Shared`](super::Shared) can contain: `str`, and `[T]` and `T` for every `T:
/// bytemuck::Pod`.
///
/// `Pod` types are plain bytes: numbers, arrays, and structs of them without padding. Many crates
/// implement it for their vectors, pixels or complex numbers. Derive it for your own types with the
/// crate `bytemuck`.
///
/// This trait is sealed and cannot be implemented for other types.
pub trait Shareable: sealed::Sealed {}

pub(super) mod sealed {
    use super::NonNull;

    /// # Safety
    ///
    /// `check` accepts only bytes for which `refer` returns a valid reference.
    #[allow(unsafe_code, reason = "an unsafe trait")]
    pub unsafe trait Sealed {
        /// The size of one element in bytes.
        const SIZE: usize;
        const ALIGN: usize;
        /// Whether bytes that change after the check can become invalid.
        const FRAGILE: bool;
        /// Checks that `bytes` are a valid value of `len` elements.
        fn check(bytes: &[u8], len: usize) -> Result<(), &'static str>;
        /// Returns a reference to the value at `at`.
        ///
        /// # Safety
        ///
        /// `at` is aligned and points to `len` elements that were checked, that live for `'a`, and that
        /// nobody changes during `'a`.
        unsafe fn refer<'a>(at: NonNull<u8>, len: usize) -> &'a Self;
    }
}

impl<T: Pod> Shareable for [T] {}
impl<T: Pod> Shareable for T {}
impl Shareable for str {}

// SAFETY: a slice of `Pod` values is valid for any bytes.
unsafe impl<T: Pod> sealed::Sealed for [T] {
    const SIZE: usize = size_of::<T>();
    const ALIGN: usize = align_of::<T>();
    const FRAGILE: bool = false;

    fn check(_: &[u8], _: usize) -> Result<(), &'static str> {
        Ok(())
    }

    unsafe fn refer<'a>(at: NonNull<u8>, len: usize) -> &'a Self {
        // SAFETY: the contract of this function; any bytes are values of a `Pod` type.
        unsafe { std::slice::from_raw_parts(at.cast::<T>().as_ptr(), len) }
    }
}

// SAFETY: a `Pod` value is valid for any bytes.
unsafe impl<T: Pod> sealed::Sealed for T {
    const SIZE: usize = size_of::<T>();
    const ALIGN: usize = align_of::<T>();
    const FRAGILE: bool = false;

    fn check(_: &[u8], len: usize) -> Result<(), &'static str> {
        if len == 1 { Ok(()) } else { Err("it does not contain a single value") }
    }

    unsafe fn refer<'a>(at: NonNull<u8>, _: usize) -> &'a Self {
        // SAFETY: the contract of this function; `check` requires one element.
        unsafe { at.cast::<T>().as_ref() }
    }
}

// SAFETY: `check` validates the string.
unsafe impl sealed::Sealed for str {
    const SIZE: usize = 1;
    const ALIGN: usize = 1;
    const FRAGILE: bool = true;

    fn check(bytes: &[u8], _: usize) -> Result<(), &'static str> {
        std::str::from_utf8(bytes).map(drop).map_err(|_| "its text is not UTF-8")
    }

    unsafe fn refer<'a>(at: NonNull<u8>, len: usize) -> &'a Self {
        // SAFETY: the contract of this function; `check` validated the bytes as UTF-8.
        unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(at.as_ptr(), len)) }
    }
}
