//! Copies that are made of a process while it exits.
//!
//! `exit` runs the hooks of a process under locks of the C library and of the standard
//! library. A thread that forks meanwhile gives its copy those locks as they are at that
//! moment, held by a thread that the copy does not have: it could never exit, and would be left
//! for ever. The thread that forks is itself about to end with its process, at any moment, and
//! so does its copy.

#![allow(unsafe_code, reason = "handlers of the C library")]

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The thread that exits; 0 while none does.
static EXITING: AtomicUsize = AtomicUsize::new(0);

/// From now on, copies that other threads make of this process while it exits are killed.
///
/// A call of `exit` by the user is seen after the hooks that were registered since.
pub(crate) fn end_copies() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A copy that is made while another thread makes it would wait for that thread.
        drop(std::io::stdout());
        // SAFETY: both are functions of the program, which call nothing but what a signal handler
        // may call. That the C library has no memory for them leaves copies as they were.
        unsafe {
            register(in_copy);
            libc::atexit(begin);
        }
    });
}

#[cfg(target_env = "gnu")]
unsafe fn register(child: extern "C" fn()) {
    // What `pthread_atfork` calls, with the module of the handler in the last place: `exit` takes
    // the handlers of a module away long before it is done.
    unsafe extern "C" {
        fn __register_atfork(
            prepare: Option<extern "C" fn()>,
            parent: Option<extern "C" fn()>,
            child: Option<extern "C" fn()>,
            module: *mut std::ffi::c_void,
        ) -> std::ffi::c_int;
    }
    // SAFETY: as for the caller; the function is in every glibc since 2.3.2.
    unsafe { __register_atfork(None, None, Some(child), std::ptr::null_mut()) };
}

#[cfg(not(target_env = "gnu"))]
unsafe fn register(child: extern "C" fn()) {
    // SAFETY: as for the caller.
    unsafe { libc::pthread_atfork(None, None, Some(child)) };
}

/// This thread is about to call `exit`.
pub(super) extern "C" fn begin() {
    EXITING.store(this_thread(), Ordering::SeqCst);
}

/// The hooks may fork: their thread holds none of the locks then.
extern "C" fn in_copy() {
    let exiting = EXITING.load(Ordering::SeqCst);
    if exiting != 0 && exiting != this_thread() {
        // SAFETY: no memory is passed.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

/// The number is the same in a copy that a thread makes.
fn this_thread() -> usize {
    // SAFETY: no memory is passed.
    unsafe { libc::pthread_self() as usize }
}
