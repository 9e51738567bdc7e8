//! Forked copies of a process that is exiting.
//!
//! `exit` runs the hooks of a process under locks of the C library and of the standard library. If
//! another thread forks at that time, the copy has these locks in their locked state, but not the thread
//! that holds them. Such a copy could never exit. The forking thread is about to end with its process
//! anyway, and so is its copy.

#![allow(unsafe_code, reason = "handlers of the C library")]

use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The id of the exiting thread; 0 while no thread exits.
static EXITING: AtomicUsize = AtomicUsize::new(0);

/// From now on, copies that other threads make of this process while it exits are killed.
///
/// If the user calls `exit`, this is noticed only after the hooks that were registered later.
pub(crate) fn end_copies() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A copy that is made while another thread is in this call would wait for that thread.
        drop(std::io::stdout());
        // SAFETY: both are functions of the program, and call only functions that a signal handler may
        // call. If the C library has no memory for them, copies behave as without them.
        unsafe {
            register(in_copy);
            libc::atexit(begin);
        }
    });
}

#[cfg(target_env = "gnu")]
pub(super) unsafe fn register(child: extern "C" fn()) {
    // This is the function behind `pthread_atfork`, with the module of the handler as its last argument.
    // `exit` removes the handlers of a module long before it is done.
    unsafe extern "C" {
        fn __register_atfork(
            prepare: Option<extern "C" fn()>,
            parent: Option<extern "C" fn()>,
            child: Option<extern "C" fn()>,
            module: *mut std::ffi::c_void,
        ) -> std::ffi::c_int;
    }
    // SAFETY: as for the caller; every glibc since 2.3.2 has the function.
    unsafe { __register_atfork(None, None, Some(child), std::ptr::null_mut()) };
}

#[cfg(not(target_env = "gnu"))]
pub(super) unsafe fn register(child: extern "C" fn()) {
    // SAFETY: as for the caller.
    unsafe { libc::pthread_atfork(None, None, Some(child)) };
}

/// Announces that this thread is about to call `exit`.
pub(super) extern "C" fn begin() {
    EXITING.store(this_thread(), Ordering::SeqCst);
}

/// The hooks may fork, because their thread holds none of the locks at that time.
extern "C" fn in_copy() {
    let exiting = EXITING.load(Ordering::SeqCst);
    if exiting != 0 && exiting != this_thread() {
        // SAFETY: no memory is passed.
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    }
}

/// Returns a number of this thread, which is the same in a process that the thread forks.
fn this_thread() -> usize {
    // SAFETY: no memory is passed.
    unsafe { libc::pthread_self() as usize }
}
