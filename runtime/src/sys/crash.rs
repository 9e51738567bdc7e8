//! The record that a crashing worker leaves, with the addresses of its stack frames.
//!
//! A handler of the signals of crashes fills the record, which is in memory that the caller maps, and lets the process end by the
//! same signal. It calls only functions that may be called in a handler, and the unwinder of the C compiler. The unwinder
//! allocates nothing, and takes no lock since glibc 2.35, but it reads memory that the program may have damaged. Therefore
//! everything else is recorded before, a fault of the unwinder ends the process by the original signal, and so does a timer if the
//! unwinder does not return.
//!
//! The caller turns addresses into names, since it has the same executable. It needs to know where files were mapped, which the handler
//! copies from `/proc/self/maps` for the addresses in question.

#![allow(unsafe_code, reason = "signal actions, and the stack that is unwound")]

use std::ffi::{c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{
    AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
};

use super::context::{read_word, registers, set_registers};
use super::generation::generation;
use super::process;
use super::signals::alternate_stack;
#[cfg(all(target_env = "musl", target_arch = "x86_64"))]
use super::undescribed::unwind_interrupted;
use super::unwind::unwind;
#[cfg(not(all(target_env = "musl", target_arch = "x86_64")))]
use super::unwind::unwind_interrupted;

/// The maximum number of recorded frames.
const FRAMES: usize = 64;

/// The maximum length of the recorded mappings, in bytes.
const MAPS: usize = 8 << 10;

/// The time in seconds after which the process ends without its frames.
const UNWIND_SECONDS: u32 = 1;

/// The signals of crashes.
const CRASHES: [c_int; 5] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT, libc::SIGFPE, libc::SIGILL];

/// The record of a crash of a worker, which may be in memory that the caller shares.
///
/// `signal` is written before the frames are: while it is 0, nothing was recorded.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct FaultRecord {
    /// One of [`CRASHES`].
    signal: AtomicU32,
    /// 1 if the address that was touched lies just past the end of the stack.
    overflow: AtomicU32,
    /// The number of frames.
    count: AtomicU32,
    /// The length of `maps`.
    maps_len: AtomicU32,
    /// The address of the instruction of each frame.
    frames: [AtomicU64; FRAMES],
    /// The lines of `/proc/self/maps` about these addresses.
    maps: [AtomicU8; MAPS],
}

impl Default for FaultRecord {
    fn default() -> Self {
        FaultRecord {
            signal: AtomicU32::new(0),
            overflow: AtomicU32::new(0),
            count: AtomicU32::new(0),
            maps_len: AtomicU32::new(0),
            frames: [const { AtomicU64::new(0) }; FRAMES],
            maps: [const { AtomicU8::new(0) }; MAPS],
        }
    }
}

impl FaultRecord {
    /// Returns whether the process, which has ended by this signal, has overflowed its stack.
    pub(crate) fn is_overflow(&self, signal: i32) -> bool {
        self.is_of(signal) && self.overflow.load(Ordering::Relaxed) != 0
    }

    /// Returns the addresses of the frames of the process, which has ended by this signal, and the lines about its
    /// mappings.
    pub(crate) fn frames(&self, signal: i32) -> Option<(Vec<u64>, String)> {
        if !self.is_of(signal) {
            return None;
        }
        // The worker may have written anything.
        let count = (self.count.load(Ordering::Acquire) as usize).min(FRAMES);
        let len = (self.maps_len.load(Ordering::Acquire) as usize).min(MAPS);
        let frames: Vec<u64> =
            self.frames[..count].iter().map(|frame| frame.load(Ordering::Relaxed)).collect();
        let maps: Vec<u8> =
            self.maps[..len].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
        (count > 0).then(|| (frames, String::from_utf8_lossy(&maps).into_owned()))
    }

    fn is_of(&self, signal: i32) -> bool {
        i64::from(self.signal.load(Ordering::Acquire)) == i64::from(signal)
    }
}

/// The process that called [`watch_faults`]: one forked from it has no record.
static WATCHED: AtomicU64 = AtomicU64::new(0);
static RECORD: AtomicPtr<FaultRecord> = AtomicPtr::new(ptr::null_mut());
/// The lowest address of the stack of the thread that called [`watch_faults`].
static STACK_END: AtomicUsize = AtomicUsize::new(0);
/// The actions before, in the order of [`CRASHES`].
static BEFORE: [AtomicPtr<libc::sigaction>; CRASHES.len()] =
    [const { AtomicPtr::new(ptr::null_mut()) }; CRASHES.len()];
/// The thread whose crash is being recorded, and its signal.
static CRASHING: AtomicI32 = AtomicI32::new(0);
static CRASH_SIGNAL: AtomicI32 = AtomicI32::new(0);
/// The number of faults of the handler itself.
static AGAIN: AtomicU32 = AtomicU32::new(0);

/// From here on a crash of this process fills `record` before the process ends by it. A handler that was there before runs
/// afterwards.
pub(crate) fn watch_faults(record: &'static FaultRecord) {
    WATCHED.store(generation(), Ordering::Relaxed);
    RECORD.store(ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
    STACK_END.store(stack_end().unwrap_or(0), Ordering::Relaxed);
    alternate_stack();
    // The unwinder initializes itself here, and not in the handler.
    unwind(|_| false);
    for (signal, before) in CRASHES.into_iter().zip(&BEFORE) {
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and does what is described above.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = fault as *const () as usize;
            // The handler sees its own faults as well.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            libc::sigemptyset(&mut action.sa_mask);
            let old = Box::into_raw(Box::new(mem::zeroed()));
            if libc::sigaction(signal, &action, old) == 0 {
                // Leaked: a handler may read it at any time.
                before.store(old, Ordering::Release);
            }
        }
    }
}

/// Makes crashes fill another record, of the same process (rule N7).
#[cfg(feature = "tokio")]
pub(crate) fn switch_record(record: &'static FaultRecord) {
    RECORD.store(ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
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
        // Sent by a process, not raised by an access: there is no address.
        let sent = (*info).si_code <= 0;
        let is_original = WATCHED.load(Ordering::Relaxed) == generation();
        let record = RECORD.load(Ordering::Relaxed);
        let record = record.as_ref().filter(|record| is_original && is_first(record, signal));
        if let Some(record) = record.filter(|record| !is_ending(record, signal)) {
            let touches = !sent && (signal == libc::SIGSEGV || signal == libc::SIGBUS);
            let address = if touches { (*info).si_addr() as usize } else { 0 };
            let (_, sp) = registers(context);
            let end = STACK_END.load(Ordering::Relaxed);
            let past_end = end != 0 && (end.saturating_sub(GAP)..end).contains(&address);
            let near = sp != 0 && address.abs_diff(sp) < NEAR;
            let overflow = touches && (past_end || near);
            record.count.store(0, Ordering::Relaxed);
            record.overflow.store(u32::from(overflow), Ordering::Relaxed);
            record.signal.store(signal as u32, Ordering::Release);
            let before = begin_guard();
            record_frames(record, context);
            end_guard(before);
        }
        // Returning repeats the instruction, which now has the action that it had before.
        restore(signal);
        if record.is_some() {
            // Only now, so that a thread with the same signal finds that it has its action again.
            CRASHING.store(0, Ordering::Release);
        }
        if sent && libc::raise(signal) != 0 {
            process::exit_now(128 + signal);
        }
    }
}

/// Gives a signal the action that it had before [`watch_faults`].
unsafe fn restore(signal: c_int) {
    let at = CRASHES.iter().position(|crash| *crash == signal);
    let before = at.map_or(ptr::null_mut(), |at| BEFORE[at].load(Ordering::Acquire));
    // SAFETY: an action that `sigaction` has filled and nobody changes, or the default.
    unsafe {
        if before.is_null() || libc::sigaction(signal, before, ptr::null_mut()) != 0 {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Returns whether the calling thread has to record its crash. If another thread is recording one, waits for it. If
/// this handler itself crashes, the process ends by the signal of the first crash, and the record so far remains.
fn is_first(record: &FaultRecord, signal: c_int) -> bool {
    // SAFETY: system calls without memory.
    let own = unsafe { libc::gettid() };
    loop {
        match CRASHING.compare_exchange(0, own, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                CRASH_SIGNAL.store(signal, Ordering::Release);
                return true;
            }
            Err(other) if other == own => {
                if AGAIN.fetch_add(1, Ordering::Relaxed) == 0 {
                    record_maps(record);
                }
                end_by(CRASH_SIGNAL.load(Ordering::Acquire))
            }
            Err(_) => {
                // SAFETY: a system call without memory.
                unsafe { libc::sched_yield() };
            }
        }
    }
}

/// The time for which a thread waits until the crash of another thread has ended the process.
const ENDS_WITHIN: libc::timespec = libc::timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Returns whether the process is about to end by a crash that another thread has recorded, and whose record must
/// remain. A handler of the program may have recovered from that crash. In this case it also handles this crash if
/// the signal is the same.
fn is_ending(record: &FaultRecord, signal: c_int) -> bool {
    let recorded = record.signal.load(Ordering::Acquire);
    if recorded != 0 && recorded != signal as u32 {
        // SAFETY: a system call that may be made in a handler and does not use the second argument.
        unsafe { libc::nanosleep(&ENDS_WITHIN, ptr::null_mut()) };
    }
    recorded == signal as u32
}

/// Ends the process by a signal.
fn end_by(signal: c_int) -> ! {
    // SAFETY: functions that a handler may call; the set is filled before it is used.
    unsafe {
        libc::signal(signal, libc::SIG_DFL);
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, signal);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, ptr::null_mut());
        libc::kill(libc::getpid(), signal);
    }
    process::exit_now(128 + signal)
}

extern "C" fn time_is_over(_: c_int) {
    end_by(CRASH_SIGNAL.load(Ordering::Acquire));
}

/// The state of the alarm clock before [`begin_guard`].
struct AlarmBefore {
    action: libc::sigaction,
    set: libc::sigset_t,
    seconds: u32,
}

/// From here on the process ends after a second.
unsafe fn begin_guard() -> AlarmBefore {
    // SAFETY: functions that a handler may call; all structures are filled before they are used.
    unsafe {
        let mut before: AlarmBefore = mem::zeroed();
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = time_is_over as *const () as usize;
        action.sa_flags = libc::SA_ONSTACK;
        libc::sigemptyset(&mut action.sa_mask);
        libc::sigaction(libc::SIGALRM, &action, &mut before.action);
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGALRM);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &set, &mut before.set);
        before.seconds = libc::alarm(UNWIND_SECONDS);
        before
    }
}

unsafe fn end_guard(before: AlarmBefore) {
    // SAFETY: as above, with what was there before.
    unsafe {
        libc::alarm(before.seconds);
        libc::sigaction(libc::SIGALRM, &before.action, ptr::null_mut());
        libc::pthread_sigmask(libc::SIG_SETMASK, &before.set, ptr::null_mut());
    }
}

/// Records the frames from the interrupted instruction on, and the mappings that they are in.
///
/// # Safety
///
/// `context` is what the kernel passed to the handler, whose frame is on this stack.
unsafe fn record_frames(record: &FaultRecord, context: *mut c_void) {
    let mut count = 0;
    let mut add = |address: usize| {
        if let Some(frame) = record.frames.get(count) {
            frame.store(address as u64, Ordering::Relaxed);
            count += 1;
            record.count.store(count as u32, Ordering::Release);
        }
        count < FRAMES
    };
    // SAFETY: by the contract of this function.
    let (instruction, sp) = unsafe { registers(context) };
    add(instruction);
    let mut start = instruction;
    if read_word(instruction).is_none()
        && let Some(caller) = read_word(sp)
    {
        // A call of something that is no function. The unwinder begins in the caller, as if that call had returned.
        // SAFETY: by the contract of this function.
        unsafe { set_registers(context, caller, sp + size_of::<usize>()) };
        start = caller;
        add(caller.wrapping_sub(1));
    }
    // SAFETY: by the contract of this function.
    unsafe {
        unwind_interrupted(context, |frame| {
            if frame.is_exact && frame.address == start {
                return true;
            }
            // Behind a call may be the next function.
            add(frame.address.wrapping_sub(usize::from(!frame.is_exact)))
        });
        set_registers(context, instruction, sp);
    }
    record_maps(record);
}

/// The length up to which a line about a mapping is read.
const MAP_LINE: usize = 512;

/// Copies the lines of `/proc/self/maps` about the recorded frames.
fn record_maps(record: &FaultRecord) {
    let count = record.count.load(Ordering::Relaxed) as usize;
    let is_recorded = |line: &[u8]| {
        let (Some((start, rest)), Some(frames)) = (hex(line), record.frames.get(..count)) else {
            return false;
        };
        let Some((end, _)) = hex(rest) else { return false };
        frames.iter().any(|frame| (start..end).contains(&frame.load(Ordering::Relaxed)))
    };
    let mut len = 0;
    let mut copy = |line: &[u8]| {
        if is_recorded(line) && len + line.len() < MAPS {
            for (byte, to) in line.iter().chain(b"\n").zip(&record.maps[len..]) {
                to.store(*byte, Ordering::Relaxed);
            }
            len += line.len() + 1;
            record.maps_len.store(len as u32, Ordering::Release);
        }
    };
    let (mut line, mut line_len, mut buffer) = ([0; MAP_LINE], 0, [0_u8; 1024]);
    // SAFETY: the path ends in NUL; the buffer is as long as is said; the descriptor is this function's own.
    unsafe {
        let fd = libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
        if fd < 0 {
            return;
        }
        loop {
            let read = libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len());
            let Some(read) = usize::try_from(read).ok().filter(|read| *read > 0) else { break };
            for &byte in buffer.iter().take(read) {
                if byte == b'\n' {
                    copy(line.get(..line_len).unwrap_or_default());
                    line_len = 0;
                } else if let Some(to) = line.get_mut(line_len) {
                    *to = byte;
                    line_len += 1;
                }
            }
        }
        libc::close(fd);
    }
}

/// Reads a hexadecimal number, and returns it with what follows the next byte.
fn hex(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let mut number = 0_u64;
    for &byte in text.get(..digits)? {
        let digit = (byte as char).to_digit(16)?;
        number = number.wrapping_mul(16).wrapping_add(u64::from(digit));
    }
    (digits > 0).then_some((number, text.get(digits + 1..).unwrap_or_default()))
}
