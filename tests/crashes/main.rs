//! Backtraces of workers that crash.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use procession_tests::{PROCESSES, StartMethod, conformance, pool};
use runtime::{Error, ErrorKind, Pool, initializer, worker};

conformance! {
    PROCESSES => [
        each_signal_of_a_crash_brings_a_backtrace,
        an_overflow_brings_a_backtrace,
        a_crash_in_another_thread_brings_a_backtrace,
        a_jump_to_nowhere_names_its_caller,
        native_code_is_in_the_backtrace,
        a_crash_in_an_initializer_brings_a_backtrace,
        a_damaged_stack_ends_by_its_signal,
        a_crash_inside_the_allocator_ends_by_its_signal,
        two_threads_may_crash_at_once,
        a_handler_of_the_program_comes_first,
        a_handler_that_recovers_goes_on,
        a_killed_worker_has_no_backtrace,
        a_signal_from_outside_is_the_exit_signal,
        children_of_a_task_crash_for_themselves,
        the_next_worker_records_its_own_crash,
    ];
}

fn main() -> ExitCode {
    procession_tests::harness::main(tests())
}

/// Checks that the error is that of a crash by this signal, and returns its frames.
fn frames(error: &Error, signal: Signal) -> String {
    assert_eq!(error.kind(), ErrorKind::Signaled, "{error}");
    assert_eq!(error.signal(), Some(signal as i32), "{error}");
    error.backtrace().expect("it crashed").to_owned()
}

/// Whether a function of this file is among the frames. Of an inlined one the path is not known.
fn has(frames: &str, name: &str) -> bool {
    let symbols = frames.lines().filter_map(|line| Some(line.split_once(": ")?.1));
    symbols.into_iter().any(|symbol| symbol.rsplit("::").next() == Some(name))
}

#[inline(never)]
fn crash_here(signal: i32) {
    match black_box(signal) {
        libc_signals::SEGV => touch(8),
        libc_signals::BUS => touch_past_the_end(),
        libc_signals::ABRT => std::process::abort(),
        libc_signals::FPE => divide_by_zero(),
        _ => no_instruction(),
    }
    black_box(signal);
}

mod libc_signals {
    pub(super) const ILL: i32 = 4;
    pub(super) const ABRT: i32 = 6;
    pub(super) const BUS: i32 = 7;
    pub(super) const FPE: i32 = 8;
    pub(super) const SEGV: i32 = 11;
}

#[allow(unsafe_code, reason = "crashes")]
#[inline(never)]
fn touch(address: usize) {
    // SAFETY: none; the process ends here.
    unsafe { black_box(address as *mut u8).write_volatile(1) };
}

#[allow(unsafe_code, reason = "crashes")]
#[inline(never)]
fn touch_past_the_end() {
    use nix::sys::mman::{MapFlags, ProtFlags, mmap};
    let file = tempfile::tempfile().unwrap();
    let (len, prot) = (4096.try_into().unwrap(), ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
    // SAFETY: a new mapping of an empty file; what is there cannot be touched, which ends the process.
    unsafe {
        let start = mmap(None, len, prot, MapFlags::MAP_SHARED, &file, 0).unwrap();
        start.cast::<u8>().as_ptr().write_volatile(1);
    }
}

#[allow(unsafe_code, reason = "crashes")]
#[inline(never)]
fn divide_by_zero() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: none; the process ends here.
    unsafe {
        std::arch::asm!("xor edx, edx", "xor ecx, ecx", "div ecx", out("eax") _, out("ecx") _, out("edx") _);
    }
    #[cfg(not(target_arch = "x86_64"))]
    raise(Signal::SIGFPE).unwrap();
}

#[allow(unsafe_code, reason = "crashes")]
#[inline(never)]
fn no_instruction() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: none; the process ends here.
    unsafe {
        std::arch::asm!("ud2");
    }
    #[cfg(not(target_arch = "x86_64"))]
    raise(Signal::SIGILL).unwrap();
}

#[worker]
fn crash(signal: i32) {
    crash_here(signal);
}

fn each_signal_of_a_crash_brings_a_backtrace(method: StartMethod) {
    let pool = pool(method, 1);
    let crashes = [
        (Signal::SIGSEGV, libc_signals::SEGV, "touch"),
        (Signal::SIGBUS, libc_signals::BUS, "touch_past_the_end"),
        (Signal::SIGABRT, libc_signals::ABRT, "crash_here"),
        (Signal::SIGFPE, libc_signals::FPE, "divide_by_zero"),
        (Signal::SIGILL, libc_signals::ILL, "no_instruction"),
    ];
    for (signal, number, top) in crashes {
        let error = pool.apply(crash, number).unwrap_err();
        let all = frames(&error, signal);
        for name in [top, "crash_here", "crash"] {
            assert!(has(&all, name), "{signal}: no {name} in\n{all}");
        }
        assert!(all.contains("crashes/main.rs:"), "{all}");
        let debug = format!("{error:?}");
        let (_, shown) = debug.split_once("\nbacktrace of the worker").unwrap();
        assert!(shown.contains("crash_here") && !shown.contains("start_worker"), "{debug}");
        assert!(!error.to_string().contains("crash_here"), "{error}");
    }
}

#[inline(never)]
fn deeper(depth: u64) -> u64 {
    let frame = black_box([depth; 64]);
    if depth == u64::MAX { 0 } else { deeper(depth + 1) + frame[63] }
}

#[worker]
fn overflow(depth: u64) -> u64 {
    deeper(depth)
}

fn an_overflow_brings_a_backtrace(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(overflow, 0).unwrap_err();
    let all = frames(&error, Signal::SIGSEGV);
    assert!(error.to_string().contains("its stack overflowed"), "{error}");
    assert!(all.matches("deeper").count() > 50, "{all}");
}

#[worker]
fn crash_in_thread(signal: i32) {
    std::thread::spawn(move || crash_here(signal)).join().unwrap();
}

fn a_crash_in_another_thread_brings_a_backtrace(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(crash_in_thread, libc_signals::SEGV).unwrap_err();
    let all = frames(&error, Signal::SIGSEGV);
    assert!(has(&all, "touch") && all.contains("crash_in_thread"), "{all}");
}

#[allow(unsafe_code, reason = "crashes")]
#[inline(never)]
fn jump(address: usize) {
    // SAFETY: none; the process ends here.
    let function: extern "C" fn() = unsafe { std::mem::transmute(black_box(address)) };
    function();
    black_box(address);
}

#[worker]
fn jump_to(address: usize) {
    jump(address);
}

fn a_jump_to_nowhere_names_its_caller(method: StartMethod) {
    let pool = pool(method, 1);
    let all = frames(&pool.apply(jump_to, 16).unwrap_err(), Signal::SIGSEGV);
    assert!(has(&all, "jump"), "{all}");
}

extern "C" fn compare(_: *const std::ffi::c_void, _: *const std::ffi::c_void) -> i32 {
    crash_here(libc_signals::SEGV);
    0
}

#[worker]
#[allow(unsafe_code, reason = "native code is what is tested")]
fn sort(mut numbers: Vec<u64>) -> Vec<u64> {
    type Compare = extern "C" fn(*const std::ffi::c_void, *const std::ffi::c_void) -> i32;
    unsafe extern "C" {
        fn qsort(base: *mut u64, count: usize, size: usize, compare: Compare);
    }
    // SAFETY: the numbers of the vector; the function ends the process.
    unsafe { qsort(numbers.as_mut_ptr(), numbers.len(), 8, compare) };
    numbers
}

/// The frames of the C library are between those of the comparison and of the task.
fn native_code_is_in_the_backtrace(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(sort, vec![3, 2, 1]).unwrap_err();
    let all = frames(&error, Signal::SIGSEGV);
    let place = |name: &str| all.find(name).unwrap_or_else(|| panic!("no {name} in\n{all}"));
    assert!(place("compare") < place("sort"), "{all}");
    // The functions of musl are left out, because the unwinder knows nothing about them.
    let is_told = all.contains("qsort") || all.contains("libc.so");
    assert_eq!(is_told, cfg!(target_env = "gnu"), "{all}");
}

#[initializer]
fn crash_early(signal: i32) -> u8 {
    crash_here(signal);
    0
}

fn a_crash_in_an_initializer_brings_a_backtrace(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(1);
    let error = builder.initializer(crash_early, libc_signals::SEGV).build().unwrap_err();
    assert_eq!((error.kind(), error.signal()), (ErrorKind::Initializer, Some(11)));
    assert!(error.backtrace().unwrap().contains("crash_early"), "{error:?}");
}

#[worker]
#[allow(unsafe_code, reason = "crashes")]
fn damage_stack(_: u8) {
    let mut here = [0_usize; 4];
    let start = here.as_mut_ptr();
    // SAFETY: none; overwrites the frames above this one, and ends the process.
    unsafe {
        for at in 0..200 {
            start.add(at).write_volatile(0x4141_4141_4141_4141);
        }
    }
    touch(8);
    black_box(here);
}

fn a_damaged_stack_ends_by_its_signal(method: StartMethod) {
    let pool = pool(method, 1);
    let begun = Instant::now();
    let error = pool.apply(damage_stack, 0).unwrap_err();
    assert_eq!((error.kind(), error.signal()), (ErrorKind::Signaled, Some(11)));
    assert!(begun.elapsed() < Duration::from_secs(20));
}

struct CrashingAllocator;

#[allow(unsafe_code, reason = "an allocator")]
// SAFETY: passes everything on.
unsafe impl std::alloc::GlobalAlloc for CrashingAllocator {
    unsafe fn alloc(&self, layout: std::alloc::Layout) -> *mut u8 {
        if layout.size() == CRASHING_SIZE {
            let _held = HELD.lock();
            crash_here(libc_signals::SEGV);
        }
        if HELD.is_poisoned() {
            return std::ptr::null_mut();
        }
        // SAFETY: passed on.
        unsafe { std::alloc::System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: std::alloc::Layout) {
        // SAFETY: passed on.
        unsafe { std::alloc::System.dealloc(pointer, layout) }
    }
}

const CRASHING_SIZE: usize = 123_457;
static HELD: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[global_allocator]
static ALLOCATOR: CrashingAllocator = CrashingAllocator;

#[worker]
fn allocate(size: usize) -> usize {
    black_box(Vec::<u8>::with_capacity(size)).capacity()
}

fn a_crash_inside_the_allocator_ends_by_its_signal(method: StartMethod) {
    let pool = pool(method, 1);
    let all = frames(&pool.apply(allocate, CRASHING_SIZE).unwrap_err(), Signal::SIGSEGV);
    assert!(has(&all, "allocate"), "{all}");
}

#[worker]
fn crash_twice(count: usize) {
    let start = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                start.wait();
                crash_here(libc_signals::SEGV);
            });
        }
    });
}

fn two_threads_may_crash_at_once(method: StartMethod) {
    let pool = pool(method, 1);
    for _ in 0..5 {
        let all = frames(&pool.apply(crash_twice, 4).unwrap_err(), Signal::SIGSEGV);
        assert!(has(&all, "touch"), "{all}");
    }
}

extern "C" fn exit_with_five(_: i32) {
    nix::unistd::write(std::io::stdout(), b"the handler of the program\n").unwrap();
    std::process::exit(5);
}

#[allow(unsafe_code, reason = "a handler")]
fn handle(signal: Signal, handler: extern "C" fn(i32)) {
    let action = SigAction::new(SigHandler::Handler(handler), SaFlags::SA_ONSTACK, SigSet::empty());
    // SAFETY: the handlers of these tests call what a handler may call, or end the process.
    unsafe { sigaction(signal, &action).unwrap() };
}

#[initializer]
fn own_handler() {
    handle(Signal::SIGSEGV, exit_with_five);
}

fn a_handler_of_the_program_comes_first(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.initializer(own_handler, ()).build().unwrap();
    let error = pool.apply(crash, libc_signals::SEGV).unwrap_err();
    assert_eq!((error.kind(), error.exit_code()), (ErrorKind::Exited, Some(5)));
    assert_eq!(error.backtrace(), None);
}

static RECOVERED: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);

extern "C" fn recover(_: i32) {
    RECOVERED.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
}

#[worker]
fn raise_and_recover(times: u32) -> u32 {
    handle(Signal::SIGABRT, recover);
    (0..times).for_each(|_| raise(Signal::SIGABRT).unwrap());
    RECOVERED.load(std::sync::atomic::Ordering::Relaxed)
}

fn a_handler_that_recovers_goes_on(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(raise_and_recover, 3).unwrap(), 3);
    assert_eq!(pool.apply(raise_and_recover, 2).unwrap(), 5);
}

#[worker]
fn end_by(signal: i32) {
    raise(Signal::try_from(signal).unwrap()).unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

fn a_killed_worker_has_no_backtrace(method: StartMethod) {
    let pool = pool(method, 1);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        let error = pool.apply(end_by, signal as i32).unwrap_err();
        assert_eq!((error.signal(), error.backtrace()), (Some(signal as i32), None));
    }
}

fn a_signal_from_outside_is_the_exit_signal(method: StartMethod) {
    let pool = pool(method, 1);
    for signal in [Signal::SIGABRT, Signal::SIGSEGV, Signal::SIGFPE, Signal::SIGILL, Signal::SIGBUS]
    {
        let error = pool.apply(end_by, signal as i32).unwrap_err();
        assert!(has(&frames(&error, signal), "end_by"), "{error:?}");
    }
}

#[worker]
#[allow(unsafe_code, reason = "forks")]
fn fork_and_crash(signal: i32) -> i32 {
    use nix::sys::wait::{WaitStatus, waitpid};
    // SAFETY: the child crashes at once.
    match unsafe { nix::unistd::fork() }.unwrap() {
        nix::unistd::ForkResult::Child => {
            crash_here(signal);
            std::process::exit(0)
        }
        nix::unistd::ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Signaled(_, signal, _) => signal as i32,
            other => panic!("{other:?}"),
        },
    }
}

fn children_of_a_task_crash_for_themselves(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(fork_and_crash, libc_signals::SEGV).unwrap(), libc_signals::SEGV);
    let error = pool.apply(end_by, Signal::SIGSEGV as i32).unwrap_err();
    assert!(has(&frames(&error, Signal::SIGSEGV), "end_by"), "{error:?}");
}

fn the_next_worker_records_its_own_crash(method: StartMethod) {
    let pool = pool(method, 1);
    let first = pool.apply(crash, libc_signals::SEGV).unwrap_err();
    let second = pool.apply(overflow, 0).unwrap_err();
    assert!(!has(&frames(&first, Signal::SIGSEGV), "deeper"));
    assert!(!has(&frames(&second, Signal::SIGSEGV), "touch"));
}
