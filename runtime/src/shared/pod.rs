//! What may lie in shared memory.

#![allow(unsafe_code, reason = "makes references to mapped memory")]

use std::ptr::NonNull;

use bytemuck::Pod;

/// What a [`Shared`](super::Shared) may hold: `[T]` and `T` for every `T: bytemuck::Pod`, and `str`.
///
/// `Pod` types are plain bytes: numbers, arrays and structs of them without padding, among them the vectors, pixels and
/// complex numbers of crates that implement it. Derive it for a type of your own with the crate `bytemuck`.
///
/// This trait is sealed: nothing else implements it.
pub trait Shareable: sealed::Sealed {}

pub(super) mod sealed {
    use super::NonNull;

    /// # Safety
    ///
    /// `check` accepts only bytes of which `refer` makes a valid reference.
    #[allow(unsafe_code, reason = "an unsafe trait")]
    pub unsafe trait Sealed {
        /// The bytes of one element.
        const SIZE: usize;
        const ALIGN: usize;
        /// Whether bytes that change after they were checked may be no value any more.
        const FRAGILE: bool;
        /// Whether a value of so many elements may lie there.
        fn check(bytes: &[u8], len: usize) -> Result<(), &'static str>;
        /// # Safety
        ///
        /// `at` is aligned and begins `len` elements that were checked and live for `'a`, and that nobody changes meanwhile.
        unsafe fn refer<'a>(at: NonNull<u8>, len: usize) -> &'a Self;
    }
}

impl<T: Pod> Shareable for [T] {}
impl<T: Pod> Shareable for T {}
impl Shareable for str {}

// SAFETY: a row of `Pod` values is valid whatever the bytes are.
unsafe impl<T: Pod> sealed::Sealed for [T] {
    const SIZE: usize = size_of::<T>();
    const ALIGN: usize = align_of::<T>();
    const FRAGILE: bool = false;

    fn check(_: &[u8], _: usize) -> Result<(), &'static str> {
        Ok(())
    }

    unsafe fn refer<'a>(at: NonNull<u8>, len: usize) -> &'a Self {
        // SAFETY: by contract; any bytes are values of a `Pod` type.
        unsafe { std::slice::from_raw_parts(at.cast::<T>().as_ptr(), len) }
    }
}

// SAFETY: a `Pod` value is valid whatever the bytes are.
unsafe impl<T: Pod> sealed::Sealed for T {
    const SIZE: usize = size_of::<T>();
    const ALIGN: usize = align_of::<T>();
    const FRAGILE: bool = false;

    fn check(_: &[u8], len: usize) -> Result<(), &'static str> {
        if len == 1 { Ok(()) } else { Err("it holds no single value") }
    }

    unsafe fn refer<'a>(at: NonNull<u8>, _: usize) -> &'a Self {
        // SAFETY: by contract; `check` wants one element.
        unsafe { at.cast::<T>().as_ref() }
    }
}

// SAFETY: the text is checked.
unsafe impl sealed::Sealed for str {
    const SIZE: usize = 1;
    const ALIGN: usize = 1;
    const FRAGILE: bool = true;

    fn check(bytes: &[u8], _: usize) -> Result<(), &'static str> {
        std::str::from_utf8(bytes).map(drop).map_err(|_| "its text is not UTF-8")
    }

    unsafe fn refer<'a>(at: NonNull<u8>, len: usize) -> &'a Self {
        // SAFETY: by contract, checked to be UTF-8.
        unsafe { std::str::from_utf8_unchecked(std::slice::from_raw_parts(at.as_ptr(), len)) }
    }
}
