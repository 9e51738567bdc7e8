//! Detection of forked copies of a process.
//!
//! A forked child has a copy of every global of its parent: tables of servers that belong to the parent,
//! locks that are held by threads of the parent, and, in a worker, the main loop of the worker.
//! [`generation`] differs between a process and every process that was forked from it, whichever code
//! forked and by whichever call. Its value is stored in a page that the kernel clears in a forked child
//! (`MADV_WIPEONFORK`). Reading it costs two loads and no system call. In a child, [`PerProcess`]
//! globals are forgotten without running destructors or touching a lock.
//!
//! A child that shares the memory of its parent (`vfork`, `posix_spawn`) does not count as a copy.

#![allow(unsafe_code, reason = "a page that a fork empties, and pointers to values")]

use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The page with the generation of this process. It contains 0 in a child that has not called
/// [`generation`] yet. The pointer is null before the first call, and if the kernel has no such pages.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// The last assigned generation, including those of the ancestors of this process.
static LAST: AtomicU64 = AtomicU64::new(0);

/// For kernels without such pages: the last calling process and its generation, in one word.
static ASKED: AtomicU64 = AtomicU64::new(0);

/// Returns a number that differs between a process and all of its ancestors.
#[inline]
pub(crate) fn generation() -> u64 {
    // SAFETY: null, or a page that is never unmapped.
    match unsafe { PAGE.load(Ordering::Acquire).as_ref() } {
        Some(page) => match page.load(Ordering::Relaxed) {
            0 => renew(page),
            generation => generation,
        },
        None => first(),
    }
}

/// The identity of a process, which differs in forked copies. Checking it costs one load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Original {
    page: Option<&'static AtomicU64>,
    generation: u64,
}

impl Original {
    /// Returns the identity of this process.
    pub(crate) fn here() -> Self {
        let generation = generation();
        // SAFETY: as in `generation`.
        Original { page: unsafe { PAGE.load(Ordering::Acquire).as_ref() }, generation }
    }

    /// Returns whether this is the same process, and not a forked copy.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        match self.page {
            Some(page) => page.load(Ordering::Relaxed) == self.generation,
            None => by_pid() == self.generation,
        }
    }
}

/// Assigns the next generation in a new process. Also called in signal handlers.
#[cold]
fn renew(page: &AtomicU64) -> u64 {
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match page.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        // Another thread of this process has assigned it.
        Err(generation) => generation,
    }
}

#[cold]
fn first() -> u64 {
    static LOOKED: Once = Once::new();
    LOOKED.call_once(|| {
        if let Some(page) = emptied_page() {
            renew(page);
            PAGE.store(ptr::from_ref(page).cast_mut(), Ordering::Release);
        }
    });
    // SAFETY: as in `generation`.
    match unsafe { PAGE.load(Ordering::Acquire).as_ref() } {
        Some(page) => renew(page),
        None => by_pid(),
    }
}

/// Returns a new page that reads as zero in every child that is forked from now on.
fn emptied_page() -> Option<&'static AtomicU64> {
    if cfg!(miri) {
        return None;
    }
    let (prot, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address that the kernel chooses, and advice for it.
    unsafe {
        let page = libc::mmap(ptr::null_mut(), super::PAGE, prot, flags, -1, 0);
        if page == libc::MAP_FAILED {
            return None;
        }
        if libc::madvise(page, super::PAGE, libc::MADV_WIPEONFORK) != 0 {
            libc::munmap(page, super::PAGE);
            return None;
        }
        // The page is zeroed, aligned, and never unmapped.
        Some(&*page.cast::<AtomicU64>())
    }
}

/// For kernels before 4.14, at the cost of a system call. Under Miri processes do not fork.
fn by_pid() -> u64 {
    let own = if cfg!(miri) { 1 } else { u64::from(std::process::id()) };
    let mut seen = ASKED.load(Ordering::Relaxed);
    while seen >> 32 != own {
        let next = own << 32 | ((seen & 0xffff_ffff) + 1);
        match ASKED.compare_exchange(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => seen = next,
            Err(other) => seen = other,
        }
    }
    seen & 0xffff_ffff
}

/// A global that is empty again in a forked child, where the value of the parent is leaked.
pub(crate) struct PerProcess<T: 'static> {
    slot: AtomicPtr<Generation<T>>,
}

struct Generation<T> {
    generation: u64,
    value: T,
}

impl<T: Default + Send + Sync> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess { slot: AtomicPtr::new(ptr::null_mut()) }
    }

    pub(crate) fn get(&'static self) -> &'static T {
        let generation = generation();
        loop {
            let seen = self.slot.load(Ordering::Acquire);
            if !seen.is_null() {
                // SAFETY: a published slot is never freed.
                let slot = unsafe { &*seen };
                if slot.generation == generation {
                    return &slot.value;
                }
            }
            let fresh = Box::into_raw(Box::new(Generation { generation, value: T::default() }));
            let swapped =
                self.slot.compare_exchange(seen, fresh, Ordering::AcqRel, Ordering::Acquire);
            if swapped.is_err() {
                // SAFETY: the slot was not published, so no other thread refers to it.
                drop(unsafe { Box::from_raw(fresh) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Forks, directly by a system call if it is not `by_library`, and returns the result of `look` in
    /// the child, which takes no lock.
    fn in_child(by_library: bool, look: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child only runs `look` and ends.
        unsafe {
            let pid = match by_library {
                true => libc::fork(),
                false => libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32,
            };
            if pid == 0 {
                libc::_exit(i32::from(look()));
            }
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &mut status, 0), pid);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 1
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "forks")]
    fn a_child_is_another_generation_whoever_forked() {
        for by_library in [true, false] {
            let own = generation();
            let below = || {
                let child = generation();
                let below = || ![own, child].contains(&generation());
                let original = Original::here();
                child != own
                    && original.is_here()
                    && child == generation()
                    && in_child(by_library, below)
            };
            assert!(in_child(by_library, below), "by the library: {by_library}");
            assert_eq!(generation(), own);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "forks")]
    fn without_a_page_the_pid_tells() {
        let own = by_pid();
        assert_eq!(by_pid(), own);
        assert!(in_child(false, || by_pid() != own && by_pid() == by_pid()));
        assert_eq!(by_pid(), own);
    }
}
