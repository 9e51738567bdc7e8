//! The registers and the memory of code that a signal has interrupted.

#![allow(unsafe_code, reason = "structures of the kernel")]

use std::ffi::c_void;

/// Reads a word of this process, or returns `None` if there is no memory.
pub(super) fn read_word(address: usize) -> Option<usize> {
    let mut word = 0_usize;
    let to = libc::iovec { iov_base: (&raw mut word).cast(), iov_len: size_of::<usize>() };
    let from = libc::iovec { iov_base: address as *mut c_void, iov_len: size_of::<usize>() };
    // SAFETY: the kernel checks the address that is read, and writes one word.
    let read = unsafe { libc::process_vm_readv(libc::getpid(), &to, 1, &from, 1, 0) };
    (read == size_of::<usize>() as isize).then_some(word)
}

/// Returns the instruction and the stack pointer when the signal came.
///
/// # Safety
///
/// `context` is what the kernel passed to a handler.
#[allow(clippy::needless_return, reason = "one return per architecture")]
pub(super) unsafe fn registers(context: *mut c_void) -> (usize, usize) {
    let _context = context.cast::<libc::ucontext_t>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by the contract of this function.
    return unsafe {
        let registers = &(*_context).uc_mcontext.gregs;
        (registers[libc::REG_RIP as usize] as usize, registers[libc::REG_RSP as usize] as usize)
    };
    #[cfg(target_arch = "aarch64")]
    // SAFETY: by the contract of this function.
    return unsafe {
        let machine = &(*_context).uc_mcontext;
        (machine.pc as usize, machine.sp as usize)
    };
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return (0, 0);
}

/// Changes where the interrupted code goes on, and where the unwinder begins.
///
/// # Safety
///
/// `context` is what the kernel passed to a handler. Before the handler returns, the registers must be as they were.
pub(super) unsafe fn set_registers(context: *mut c_void, instruction: usize, sp: usize) {
    let _context = context.cast::<libc::ucontext_t>();
    #[cfg(target_arch = "x86_64")]
    // SAFETY: by the contract of this function.
    unsafe {
        let registers = &mut (*_context).uc_mcontext.gregs;
        registers[libc::REG_RIP as usize] = instruction as i64;
        registers[libc::REG_RSP as usize] = sp as i64;
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: by the contract of this function.
    unsafe {
        (*_context).uc_mcontext.pc = instruction as u64;
        (*_context).uc_mcontext.sp = sp as u64;
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = (instruction, sp);
}
