//! Hints for the cache of the processor.

#![allow(unsafe_code, reason = "an instruction without an intrinsic")]

/// Fetches the cache line of a value that will be written soon, and takes it away from other processors. Has no other effect.
#[inline]
pub(crate) fn for_writing<T>(value: &T) {
    // SAFETY: a hint, which neither reads nor writes memory as far as the program can tell, and never faults.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    unsafe {
        std::arch::asm!("prefetchw [{}]", in(reg) std::ptr::from_ref(value), options(nostack, preserves_flags));
    }
    // SAFETY: as above.
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    unsafe {
        std::arch::asm!("prfm pstl1keep, [{}]", in(reg) std::ptr::from_ref(value), options(nostack, preserves_flags));
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = value;
}
