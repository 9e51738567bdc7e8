//! Signals in a worker, and the fault record.

#![allow(unsafe_code, reason = "signal actions, and the stack they run on")]

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

#[cfg(feature = "fault-points")]
pub(crate) use libc::SIGSTOP;
pub(crate) use libc::{SIGABRT, SIGHUP, SIGINT, SIGKILL, SIGQUIT, SIGSEGV, SIGTERM};

use super::generation::generation;
use super::process;

/// The record of a fault in a worker, which may be in memory that the caller shares.
///
/// `signal` is written last: while it is 0, nothing was recorded.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct FaultRecord {
    /// SIGSEGV or SIGBUS.
    pub(crate) signal: AtomicU32,
    /// The `si_code` of the signal.
    pub(crate) code: AtomicI32,
    /// The address that was touched.
    pub(crate) address: AtomicU64,
    /// 1 if it lies just past the end of the stack.
    pub(crate) overflow: AtomicU32,
}

/// The name of a signal, for the signals that end processes.
pub(crate) fn name(signal: i32) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(signal).ok().map(nix::sys::signal::Signal::as_str)
}

/// Sends a signal to this thread.
#[cfg(feature = "fault-points")]
pub(crate) fn raise(signal: i32) {
    // SAFETY: no memory is passed.
    unsafe { libc::raise(signal) };
}

/// Ignores SIGINT and SIGPIPE, and lets every signal through.
pub(crate) fn settle() {
    // SAFETY: plain dispositions; the set is initialised before it is used.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

/// Gives every signal its default action, but for what [`settle`] says.
pub(crate) fn reset() {
    for signal in 1..=64 {
        // SAFETY: numbers that cannot be changed are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    settle();
}

/// Every signal held back from this thread, until dropped.
pub(crate) struct Blocked(libc::sigset_t);

/// Holds back every signal: those that arrive while a process forks would run the
/// caller's handlers in the child.
pub(crate) fn block() -> Blocked {
    // SAFETY: both sets are initialised by the calls.
    unsafe {
        let (mut all, mut before): (libc::sigset_t, libc::sigset_t) = mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        Blocked(before)
    }
}

impl Drop for Blocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled by `block`.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}

/// Room for a handler on a stack of its own; larger than any register state.
const ROOM: usize = 128 << 10;

/// Gives the calling thread a stack for signal handlers, for good.
pub(crate) fn alternate_stack() {
    // SAFETY: a fresh mapping, kept for the life of the process, whose first page
    // stays a guard.
    unsafe {
        let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let base = libc::mmap(ptr::null_mut(), page + ROOM, libc::PROT_NONE, flags, -1, 0);
        if base == libc::MAP_FAILED {
            return;
        }
        let stack = base.byte_add(page);
        libc::mprotect(stack, ROOM, libc::PROT_READ | libc::PROT_WRITE);
        let stack = libc::stack_t { ss_sp: stack, ss_flags: 0, ss_size: ROOM };
        libc::sigaltstack(&stack, ptr::null_mut());
    }
}

/// The process that called [`watch_faults`]: one forked from it has no record.
static WATCHED: AtomicU64 = AtomicU64::new(0);
static RECORD: AtomicPtr<FaultRecord> = AtomicPtr::new(ptr::null_mut());
/// The lowest address of the stack of the thread that called [`watch_faults`].
static STACK_END: AtomicUsize = AtomicUsize::new(0);

/// From here on a fault of this process fills `record` before the process dies of
/// it, as it would have, without a word.
pub(crate) fn watch_faults(record: &'static FaultRecord) {
    WATCHED.store(generation(), Ordering::Relaxed);
    RECORD.store(ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
    STACK_END.store(stack_end().unwrap_or(0), Ordering::Relaxed);
    alternate_stack();
    // SAFETY: the handler has the signature SA_SIGINFO asks for, and only does what
    // is allowed in one.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = fault as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGSEGV, &action, ptr::null_mut());
        libc::sigaction(libc::SIGBUS, &action, ptr::null_mut());
    }
}

fn stack_end() -> Option<usize> {
    // SAFETY: the attributes are filled by the first call and destroyed at the end.
    unsafe {
        let mut attributes: libc::pthread_attr_t = mem::zeroed();
        if libc::pthread_getattr_np(libc::pthread_self(), &mut attributes) != 0 {
            return None;
        }
        let (mut end, mut size) = (ptr::null_mut(), 0);
        let done = libc::pthread_attr_getstack(&attributes, &mut end, &mut size);
        libc::pthread_attr_destroy(&mut attributes);
        (done == 0).then_some(end as usize)
    }
}

/// How far below the end of the stack counts as its overflow: what the kernel keeps
/// free there by default.
const GAP: usize = 1 << 20;
/// How far from the stack pointer a fault counts as the stack's, on any thread.
const NEAR: usize = 64 << 10;

extern "C" fn fault(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes both; the record lives as long as the process.
    unsafe {
        let code = (*info).si_code;
        // Sent by a process, not raised by an access: there is no address.
        let sent = code <= 0;
        let is_original = WATCHED.load(Ordering::Relaxed) == generation();
        let record = RECORD.load(Ordering::Relaxed);
        if let Some(record) = record.as_ref().filter(|_| is_original) {
            let address = if sent { 0 } else { (*info).si_addr() as usize };
            let end = STACK_END.load(Ordering::Relaxed);
            let sp = stack_pointer(context);
            let past_end = end != 0 && (end.saturating_sub(GAP)..end).contains(&address);
            let near = sp != 0 && address.abs_diff(sp) < NEAR;
            record.code.store(code, Ordering::Relaxed);
            record.address.store(address as u64, Ordering::Relaxed);
            let overflow = !sent && (past_end || near);
            record.overflow.store(u32::from(overflow), Ordering::Relaxed);
            record.signal.store(signal as u32, Ordering::Release);
        }
        // Returning repeats the access, which now ends the process by this signal.
        libc::signal(signal, libc::SIG_DFL);
        if sent && libc::raise(signal) != 0 {
            process::exit_now(128 + signal);
        }
    }
}

/// Where the stack was when the signal came.
///
/// # Safety
///
/// `context` is what the kernel passed to a handler.
#[allow(clippy::needless_return, reason = "one return per architecture")]
unsafe fn stack_pointer(context: *mut c_void) -> usize {
    let _context = context.cast::<libc::ucontext_t>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by the contract of this function.
    return unsafe { (*_context).uc_mcontext.gregs[libc::REG_RSP as usize] as usize };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: by the contract of this function.
    return unsafe { (*_context).uc_mcontext.sp as usize };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return 0;
}
