//! Stack frames in a program with musl, whose functions have no description for the unwinder.
//!
//! On x86-64 this matters in two places.
//!
//! - A handler returns to a function of the C library. The unwinder knows neither this function nor its instructions,
//!   and would stop there. [`call_as_interrupted`] describes the interrupted code in its place.
//! - The unwinder stops at a function of the C library that was interrupted, such as `abort`, or that has called the
//!   program, such as `qsort`. The caller of this function is searched for on the stack.

#![allow(unsafe_code, reason = "a frame that is described to the unwinder by hand")]

use std::ffi::c_void;

use super::context::read_word;
use super::unwind::{StackFrame, from_instruction, unwind};

/// The size of a word in bytes.
const WORD: usize = size_of::<usize>();

/// The first words of the structure of the kernel, `ucontext_t`, as far as the registers that the unwinder needs.
#[derive(Clone, Copy)]
struct Registers([usize; 22]);

impl Registers {
    const RBP: usize = 15;
    const RSP: usize = 20;
    const RIP: usize = 21;
}

/// Calls `each` with the frames of the code that a signal has interrupted, until it returns false. The frames of
/// functions without a description are left out.
///
/// # Safety
///
/// `context` is what the kernel passed to the handler.
pub(super) unsafe fn unwind_interrupted<F: FnMut(StackFrame) -> bool>(
    context: *mut c_void,
    mut each: F,
) {
    // SAFETY: by the contract of this function.
    let mut registers = unsafe { *context.cast::<Registers>() };
    let (mut sp, mut is_wanted) = (registers.0[Registers::RSP], true);
    let mut go_on = |frame: StackFrame| {
        sp = frame.sp;
        is_wanted = each(frame);
        is_wanted
    };
    unwind_described(&registers, &mut go_on);
    while is_wanted && let Some(caller) = caller_on_stack(&registers, sp) {
        registers = caller;
        unwind_described(&registers, &mut |frame: StackFrame| {
            sp = frame.sp;
            // The first frame is that of the caller, which is behind a call.
            let returns_to = frame.address + usize::from(frame.is_exact);
            is_wanted = each(StackFrame { address: returns_to, is_exact: false, ..frame });
            is_wanted
        });
    }
}

/// The number of words in which a caller is searched for.
const CALLER_WITHIN: usize = 1024;

/// The number of words in which the frame pointer of the caller is searched for.
const POINTER_WITHIN: usize = 64;

/// The number of frames that the unwinder must find from a word of the stack on. Words that remain from earlier calls
/// look like return addresses as well, but rarely have such frames above them.
const CREDIBLE: usize = 3;

/// Searches the stack from `sp` on for the return address of a call of a function without a description. Returns the
/// registers of the caller, as if the call were interrupted in its last byte.
fn caller_on_stack(before: &Registers, sp: usize) -> Option<Registers> {
    for at in (0..CALLER_WITHIN).map(|word| sp + word * WORD) {
        let address = read_word(at)?;
        if called_before(address).is_none_or(is_described) {
            continue;
        }
        let mut caller = *before;
        caller.0[Registers::RIP] = address - 1;
        caller.0[Registers::RSP] = at + WORD;
        if is_credible(&caller) {
            return Some(caller);
        }
        // The caller may need its frame pointer, a register that the C library has used otherwise. It points to a word
        // below the return address of the caller.
        for pointer in (1..POINTER_WITHIN).map(|word| at + word * WORD) {
            caller.0[Registers::RBP] = pointer;
            let returns_to = read_word(pointer + WORD)?;
            if called_before(returns_to).is_some() && is_credible(&caller) {
                return Some(caller);
            }
        }
    }
    None
}

fn is_credible(registers: &Registers) -> bool {
    let mut found = 0;
    unwind_described(registers, &mut |_| {
        found += 1;
        found < CREDIBLE
    });
    found == CREDIBLE
}

/// Returns the function that the instruction before an address calls, if it is a call.
fn called_before(address: usize) -> Option<usize> {
    let [_, _, call, operand, distance @ ..] = read_word(address.checked_sub(WORD)?)?.to_le_bytes();
    let target = address.wrapping_add(i32::from_le_bytes(distance) as isize as usize);
    match (call, operand) {
        // `call target`
        (_, 0xe8) => Some(target),
        // `call [rip + distance]`
        (0xff, 0x15) => read_word(target),
        _ => None,
    }
}

fn is_described(function: usize) -> bool {
    unsafe extern "C" {
        fn _Unwind_FindEnclosingFunction(address: usize) -> *const c_void;
    }
    // SAFETY: the unwinder looks the address up in its tables. It may take it for one behind a call.
    unsafe { !_Unwind_FindEnclosingFunction(function + 1).is_null() }
}

/// Calls `each` with the frames from the interrupted one on, until it returns false or a frame has no description.
fn unwind_described<F: FnMut(StackFrame) -> bool>(registers: &Registers, each: &mut F) {
    extern "C" fn run<F: FnMut(StackFrame) -> bool>(each: *mut c_void) {
        // SAFETY: the argument of `call_as_interrupted`, which is used only here.
        unwind(unsafe { &mut *each.cast::<F>() });
    }
    /// Names the type of a closure.
    fn run_of<F: FnMut(StackFrame) -> bool>(_: &F) -> extern "C" fn(*mut c_void) {
        run::<F>
    }
    let instruction = registers.0[Registers::RIP];
    let mut each = from_instruction(instruction, each);
    let mut each = |frame: StackFrame| match frame.address == instruction + 1 {
        true => each(StackFrame { address: instruction, is_exact: true, ..frame }),
        false => each(frame),
    };
    let run = run_of(&each);
    // SAFETY: `run` expects this argument.
    unsafe { call_as_interrupted(registers, (&raw mut each).cast(), run) };
}

/// Calls `function` with `argument`. For the unwinder, the caller of this function is the interrupted code, which has
/// these registers.
///
/// The unwinder takes the interrupted instruction for a call, and the byte after its first byte for the place to
/// which that call returns. It then looks up the interrupted instruction itself. If this frame were marked as that
/// of a signal, the unwinder of LLVM would use the description of the instruction before.
///
/// # Safety
///
/// `argument` is what `function` expects.
#[unsafe(naked)]
unsafe extern "C" fn call_as_interrupted(
    registers: &Registers,
    argument: *mut c_void,
    function: extern "C" fn(*mut c_void),
) {
    // The word at `rsp` is the address of the registers. From offset 40 on, they are r8 to r15, then rdi, rsi, rbp, rbx,
    // rdx, rax, rcx, rsp and rip. In the language of DWARF, `77 00 06 23 N` is the address of offset N
    // (`breg7 0; deref; plus_uconst N`), with N in 7 bits per byte. `0f` defines the stack pointer of the caller by such
    // an expression, `10 REGISTER` the place of a register, and `16 REGISTER` its value. `06` reads the word at an
    // address.
    std::arch::naked_asm!(
        ".cfi_startproc",
        "push rdi",
        ".cfi_escape 0x0f, 7, 0x77, 0, 0x06, 0x23, 0xa0, 0x01, 0x06", // rsp: offset 160, dereferenced
        ".cfi_escape 0x10, 0, 6, 0x77, 0, 0x06, 0x23, 0x90, 0x01",    // rax: 144
        ".cfi_escape 0x10, 1, 6, 0x77, 0, 0x06, 0x23, 0x88, 0x01",    // rdx: 136
        ".cfi_escape 0x10, 2, 6, 0x77, 0, 0x06, 0x23, 0x98, 0x01",    // rcx: 152
        ".cfi_escape 0x10, 3, 6, 0x77, 0, 0x06, 0x23, 0x80, 0x01",    // rbx: 128
        ".cfi_escape 0x10, 4, 5, 0x77, 0, 0x06, 0x23, 112",           // rsi
        ".cfi_escape 0x10, 5, 5, 0x77, 0, 0x06, 0x23, 104",           // rdi
        ".cfi_escape 0x10, 6, 5, 0x77, 0, 0x06, 0x23, 120",           // rbp
        ".cfi_escape 0x10, 8, 5, 0x77, 0, 0x06, 0x23, 40",            // r8
        ".cfi_escape 0x10, 9, 5, 0x77, 0, 0x06, 0x23, 48",
        ".cfi_escape 0x10, 10, 5, 0x77, 0, 0x06, 0x23, 56",
        ".cfi_escape 0x10, 11, 5, 0x77, 0, 0x06, 0x23, 64",
        ".cfi_escape 0x10, 12, 5, 0x77, 0, 0x06, 0x23, 72",
        ".cfi_escape 0x10, 13, 5, 0x77, 0, 0x06, 0x23, 80",
        ".cfi_escape 0x10, 14, 5, 0x77, 0, 0x06, 0x23, 88",
        ".cfi_escape 0x10, 15, 5, 0x77, 0, 0x06, 0x23, 96", // r15
        ".cfi_escape 0x16, 16, 9, 0x77, 0, 0x06, 0x23, 0xa8, 0x01, 0x06, 0x23, 1", // rip: 168, plus 1
        "mov rdi, rsi",
        "call rdx",
        "add rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}
