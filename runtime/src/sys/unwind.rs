//! The stack frames of the calling thread, and of code that a signal has interrupted.

#![allow(unsafe_code, reason = "the unwinder, and a frame that is described to it by hand")]

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn _Unwind_Backtrace(
        each: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int;
    fn _Unwind_GetIPInfo(context: *mut c_void, is_exact: *mut c_int) -> usize;
    fn _Unwind_GetCFA(context: *mut c_void) -> usize;
}

/// A frame of a stack.
#[derive(Clone, Copy)]
pub(super) struct StackFrame {
    pub(super) address: usize,
    /// Whether the address is that of an instruction that was interrupted, and not one behind a call.
    pub(super) is_exact: bool,
    /// The stack pointer of the frame.
    #[cfg_attr(
        not(all(target_env = "musl", target_arch = "x86_64")),
        expect(dead_code, reason = "needed where functions have no description")
    )]
    pub(super) sp: usize,
}

/// Calls `each` with each frame of this thread, until it returns false.
pub(super) fn unwind<F: FnMut(StackFrame) -> bool>(mut each: F) {
    extern "C" fn step<F: FnMut(StackFrame) -> bool>(
        context: *mut c_void,
        each: *mut c_void,
    ) -> c_int {
        const GO_ON: c_int = 0;
        const STOP: c_int = 4;
        let mut is_exact = 0;
        // SAFETY: the unwinder passes its context, and the argument of `unwind`.
        let (address, sp, each) = unsafe {
            let address = _Unwind_GetIPInfo(context, &mut is_exact);
            (address, _Unwind_GetCFA(context), &mut *each.cast::<F>())
        };
        if each(StackFrame { address, is_exact: is_exact != 0, sp }) { GO_ON } else { STOP }
    }
    if cfg!(miri) {
        return;
    }
    // SAFETY: the function has the type that the unwinder expects, and does not unwind.
    unsafe { _Unwind_Backtrace(step::<F>, (&raw mut each).cast()) };
}

/// Calls `each` with the frames of the code that a signal has interrupted, until it returns false.
///
/// # Safety
///
/// `context` is what the kernel passed to the handler, whose frame is on this stack.
#[cfg(not(all(target_env = "musl", target_arch = "x86_64")))]
pub(super) unsafe fn unwind_interrupted<F: FnMut(StackFrame) -> bool>(
    context: *mut c_void,
    each: F,
) {
    // SAFETY: by the contract of this function.
    let (instruction, _) = unsafe { super::context::registers(context) };
    // A handler returns to a function of the C library, or of the kernel, which describes to the unwinder where the
    // registers of the interrupted code are, or which the unwinder knows.
    unwind(from_instruction(instruction, each));
}

/// The maximum number of frames of the handler itself.
const OWN_FRAMES: usize = 32;

/// Passes frames on to `each`, beginning with that of the interrupted instruction.
pub(super) fn from_instruction<F: FnMut(StackFrame) -> bool>(
    instruction: usize,
    mut each: F,
) -> impl FnMut(StackFrame) -> bool {
    let (mut passed, mut is_found) = (0, false);
    move |frame| {
        passed += 1;
        is_found = is_found || frame.is_exact && frame.address == instruction;
        if is_found { each(frame) } else { passed < OWN_FRAMES }
    }
}
