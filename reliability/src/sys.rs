//! The few system calls of the commands.

#![allow(unsafe_code, reason = "signals, limits and mappings")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Returns the bytes of the heaps of all threads that are in use, and those that are free.
pub(crate) fn heap() -> (usize, usize) {
    // SAFETY: the function takes no arguments and returns numbers.
    let info = unsafe { libc::mallinfo2() };
    (info.uordblks + info.hblkhd, info.fordblks)
}

/// Sends a signal to a process.
pub(crate) fn kill(pid: u32, signal: i32) {
    // 0 would send the signal to the group of this process.
    assert_ne!(pid, 0);
    // SAFETY: takes integers.
    unsafe { libc::kill(pid as i32, signal) };
}

/// Sends a signal to a process group.
pub(crate) fn kill_group(pid: u32, signal: i32) {
    // SAFETY: takes integers.
    unsafe { libc::kill(-(pid as i32), signal) };
}

/// Sends a signal to this process.
pub(crate) fn raise(signal: i32) {
    // SAFETY: takes an integer.
    unsafe { libc::raise(signal) };
}

/// Writes to the address 16, which is not mapped.
pub(crate) fn segfault() {
    // SAFETY: the access is meant to fail, and the process ends by it.
    unsafe { std::ptr::without_provenance_mut::<u64>(16).write_volatile(1) };
}

/// Blocks all signals that can be blocked, so that only SIGKILL ends the process.
pub(crate) fn block_signals() {
    // SAFETY: the set is initialised by the first call.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
}

/// Makes this process adopt the orphans of its descendants, so that they can be counted.
pub(crate) fn adopt_orphans() {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Reaps a child, if one has ended.
pub(crate) fn reap_any() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) > 0 }
}

pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, value: u64) {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: a valid structure.
    unsafe { libc::setrlimit(resource, &limit) };
}

/// Maps a file as words that are shared with all processes that map it.
pub(crate) fn map_words(file: &File, count: usize) -> io::Result<&'static [AtomicU64]> {
    let (prot, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED);
    // SAFETY: this is a new mapping at an address that the kernel chooses.
    let start =
        unsafe { libc::mmap(std::ptr::null_mut(), count * 8, prot, flags, file.as_raw_fd(), 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is aligned, has this length, is never unmapped, and is only changed through atomics.
    Ok(unsafe { std::slice::from_raw_parts(start.cast(), count) })
}

/// Writes a word of shared memory.
pub(crate) fn scribble(at: usize, word: u64) {
    // SAFETY: the caller has found the address among the mappings of this process. The test consists in writing
    // to memory that belongs to the library.
    unsafe { std::ptr::with_exposed_provenance_mut::<u64>(at).write_volatile(word) };
}

/// Sets a soft limit, which can be raised again.
pub(crate) fn set_soft_limit(resource: libc::__rlimit_resource_t, value: u64) {
    // SAFETY: the structures are valid.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        libc::getrlimit(resource, &mut limit);
        limit.rlim_cur = value.min(limit.rlim_max);
        libc::setrlimit(resource, &limit);
    }
}

/// Returns the size of the address space of this process in bytes.
pub(crate) fn address_space() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').next().and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

/// Changes from root to another user, because some limits do not apply to root.
pub(crate) fn become_nobody() -> bool {
    // SAFETY: the functions take integers. The process stays dumpable, because its executable may be in a folder
    // that only root can read, and then has to be executed again through `/proc/self/exe`.
    unsafe {
        if libc::getuid() != 0 {
            return true;
        }
        let done = libc::setgid(64_321) == 0 && libc::setuid(64_321) == 0;
        libc::prctl(libc::PR_SET_DUMPABLE, 1);
        done
    }
}

/// Mounts an empty file system over `/proc`, for this process and its children.
pub(crate) fn hide_proc() -> bool {
    let none = std::ptr::null();
    // SAFETY: the strings end in NUL.
    unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast())
                == 0
            && libc::mount(c"none".as_ptr(), c"/proc".as_ptr(), c"tmpfs".as_ptr(), 0, none.cast())
                == 0
    }
}

/// Makes a system call fail with an error, in this process and its children.
pub(crate) fn refuse(syscall: i64, errno: i32) -> bool {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    let mut filter = [
        // The number of the call is the first word of the data that the filter reads.
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        libc::sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, syscall as u32)
        },
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno as u32),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its statements exist during the call.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    }
}

pub(crate) fn is_root() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::geteuid() == 0 }
}

/// Sets a umask and a limit of open files that no other process here has.
pub(crate) fn lower_limits() {
    // SAFETY: takes an integer.
    unsafe { libc::umask(0o067) };
    set_limit(libc::RLIMIT_NOFILE, 321);
}

/// Changes from root to another user. Afterwards this process is not dumpable.
pub(crate) fn become_another() -> bool {
    // SAFETY: the functions take an empty list and integers.
    unsafe {
        libc::setgroups(0, std::ptr::null()) == 0
            && libc::setgid(64_321) == 0
            && libc::setuid(64_321) == 0
    }
}

/// Makes this process dumpable again, so that it can read its files in `/proc`.
pub(crate) fn show() {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
}

pub(crate) fn no_new_privs() -> bool {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 }
}

/// A file that exists only after [`enter_another_root`].
pub(crate) const INSIDE: &str = "/mnt/procession-inside";

pub(crate) fn is_inside() -> bool {
    std::path::Path::new(INSIDE).exists()
}

/// Moves the calling thread into a mount namespace whose root is a copy of the current root with an additional
/// file, [`INSIDE`].
pub(crate) fn enter_another_root() -> bool {
    let none = std::ptr::null();
    // SAFETY: the strings end in NUL.
    let mounted = unsafe {
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast())
                == 0
            && libc::mount(c"none".as_ptr(), c"/opt".as_ptr(), c"tmpfs".as_ptr(), 0, none.cast())
                == 0
            && libc::mkdir(c"/opt/root".as_ptr(), 0o755) == 0
            && libc::mount(
                c"/".as_ptr(),
                c"/opt/root".as_ptr(),
                none,
                libc::MS_BIND | libc::MS_REC,
                none.cast(),
            ) == 0
            && libc::mount(
                c"none".as_ptr(),
                c"/opt/root/mnt".as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                none.cast(),
            ) == 0
    };
    let made = std::fs::write("/opt/root/mnt/procession-inside", "").is_ok();
    // SAFETY: the strings end in NUL.
    mounted
        && made
        && unsafe { libc::chroot(c"/opt/root".as_ptr()) == 0 && libc::chdir(c"/".as_ptr()) == 0 }
}

/// The way in which a process is forked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum By {
    /// By `fork` of the C library.
    Library,
    /// By the system call `clone`. The handlers of the C library do not run.
    Kernel,
    /// By `clone`. The new process is a child of the parent of this process.
    Sibling,
    /// By `clone` into a new PID namespace, in which the pid of the process is 1; needs root.
    Namespace,
}

/// An allocator that no thread uses during a raw `clone`. Otherwise a lock of the C library might be held in the
/// new process, in which the thread that holds it does not exist.
struct GatedAllocator;

#[global_allocator]
static ALLOCATOR: GatedAllocator = GatedAllocator;

/// The threads that are in the allocator, and whether more may enter.
static IN_ALLOCATOR: AtomicUsize = AtomicUsize::new(0);
static IS_CLOSED: AtomicBool = AtomicBool::new(false);

/// Runs a function of the allocator when the gate is open.
fn inside<R>(run: impl FnOnce() -> R) -> R {
    IN_ALLOCATOR.fetch_add(1, Ordering::SeqCst);
    while IS_CLOSED.load(Ordering::SeqCst) {
        IN_ALLOCATOR.fetch_sub(1, Ordering::SeqCst);
        std::thread::yield_now();
        IN_ALLOCATOR.fetch_add(1, Ordering::SeqCst);
    }
    let outcome = run();
    IN_ALLOCATOR.fetch_sub(1, Ordering::SeqCst);
    outcome
}

/// Closes the allocator until it is dropped.
struct ClosedAllocator;

impl ClosedAllocator {
    fn close() -> Self {
        while IS_CLOSED.swap(true, Ordering::SeqCst) {
            std::thread::yield_now();
        }
        while IN_ALLOCATOR.load(Ordering::SeqCst) > 0 {
            std::thread::yield_now();
        }
        ClosedAllocator
    }
}

impl Drop for ClosedAllocator {
    fn drop(&mut self) {
        IS_CLOSED.store(false, Ordering::SeqCst);
    }
}

// SAFETY: all calls are passed to the allocator of the system.
unsafe impl GlobalAlloc for GatedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the contract of this function.
        inside(|| unsafe { System.alloc(layout) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: by the contract of this function.
        inside(|| unsafe { System.dealloc(at, layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the contract of this function.
        inside(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: by the contract of this function.
        inside(|| unsafe { System.realloc(at, layout, size) })
    }
}

/// Forks this process. Returns the pid of the new process, and `None` in the new process.
pub(crate) fn fork(by: By) -> Option<u32> {
    let flags = match by {
        By::Library => {
            // SAFETY: the tests exercise the code that runs in the new process.
            return u32::try_from(unsafe { libc::fork() }).ok().filter(|pid| *pid != 0);
        }
        By::Kernel => 0,
        By::Sibling => libc::CLONE_PARENT,
        By::Namespace => libc::CLONE_NEWPID,
    };
    let closed = ClosedAllocator::close();
    // SAFETY: without an argument for the stack, the new process continues with a copy of this stack.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) };
    drop(closed);
    assert!(pid >= 0, "{}", io::Error::last_os_error());
    (pid != 0).then_some(pid as u32)
}

/// Waits for the end of a child. Returns its exit code, 1000 plus the signal that has ended it, or 9999 if there
/// is no such child.
pub(crate) fn wait_for(pid: u32) -> i32 {
    let mut status = 0;
    loop {
        // SAFETY: the integer exists during the call.
        match unsafe { libc::waitpid(pid as i32, &mut status, 0) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return 9999,
            _ if libc::WIFSIGNALED(status) => return 1000 + libc::WTERMSIG(status),
            _ => return libc::WEXITSTATUS(status),
        }
    }
}

/// A thread that the standard library does not know.
///
/// When one of its own threads starts or ends, the standard library takes a lock of the whole process. A copy of the process
/// that another thread makes at that moment has the lock taken for ever, and hangs when its only thread ends.
pub(crate) struct RawThread(libc::pthread_t);

type RunThread = Box<dyn FnOnce() + Send>;

impl RawThread {
    pub(crate) fn spawn(run: impl FnOnce() + Send + 'static) -> Self {
        extern "C" fn main(run: *mut libc::c_void) -> *mut libc::c_void {
            // SAFETY: `spawn` has made it for this thread alone.
            let run = unsafe { Box::from_raw(run.cast::<RunThread>()) };
            // The message of a panic is printed, and the thread ends like others.
            let _ = catch_unwind(AssertUnwindSafe(run));
            std::ptr::null_mut()
        }
        let run: Box<RunThread> = Box::new(Box::new(run));
        let mut thread = 0;
        // SAFETY: the number is written before the call returns, and `main` frees its argument.
        let failed = unsafe {
            libc::pthread_create(&mut thread, std::ptr::null(), main, Box::into_raw(run).cast())
        };
        assert_eq!(failed, 0, "a thread can be started");
        RawThread(thread)
    }

    pub(crate) fn join(self) {
        // SAFETY: the thread is neither joined nor detached elsewhere.
        unsafe { libc::pthread_join(self.0, std::ptr::null_mut()) };
    }

    pub(crate) fn detach(self) {
        // SAFETY: the thread is neither joined nor detached elsewhere.
        unsafe { libc::pthread_detach(self.0) };
    }
}

/// Ends this process without exit hooks.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: takes an integer.
    unsafe { libc::_exit(code) }
}

/// Registers a function that runs when this process exits.
pub(crate) fn at_exit(hook: extern "C" fn()) {
    // SAFETY: the function is never unloaded.
    unsafe { libc::atexit(hook) };
}

/// Returns the CPU time that this process has used, in nanoseconds.
pub(crate) fn cpu_time() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure exists during the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Returns the CPU time that this thread has used.
pub(crate) fn thread_time() -> std::time::Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure exists during the call.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(done, 0, "the clock of the thread cannot be read");
    std::time::Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
