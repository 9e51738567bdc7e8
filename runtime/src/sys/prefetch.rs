//! Hints for the cache of the processor, and for the pages of new memory.

#![allow(
    unsafe_code,
    reason = "an instruction without an intrinsic, and advice for memory of the allocator"
)]

use super::memory::PAGE;

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

/// The size from which on glibc gives each allocation a mapping of its own, whatever a program has allocated before.
pub(crate) const OWN_MAPPING: usize = 32 << 20;

/// Makes the system use huge pages for new memory of at least [`OWN_MAPPING`] bytes that is about to be filled. Filling
/// 256 MiB takes half as long, because most page faults are avoided.
#[cold]
pub(crate) fn large(start: *mut u8, len: usize) {
    if cfg!(miri) {
        return;
    }
    let first = (start as usize).next_multiple_of(PAGE);
    let end = (start as usize + len) & !(PAGE - 1);
    if first < end {
        // SAFETY: this advice does not change the contents of memory. Where it is not supported it has no effect.
        unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_HUGEPAGE) };
    }
}
