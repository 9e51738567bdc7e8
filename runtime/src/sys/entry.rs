//! The entry of a worker or server that was executed again, before `main`.
//!
//! [`ENTRY`] is a constructor of the program. In a process that the library has not started it finds no
//! marker and returns. In a process that the library has started, it
//!
//! 1. verifies this: the marker names this constructor, and fd 3 is a socket whose pair was created by
//!    the parent, under the same user;
//! 2. removes the marker from the environment, ties the process to its parent, and sets up signals and
//!    standard streams like the standard library;
//! 3. runs the constructors that follow it, so that all tasks of the program are registered;
//! 4. serves, and ends the process without reaching `main`.
//!
//! The standard library prepares a process in `main`. In its place, this module ignores SIGPIPE and opens closed standard
//! streams, and [`crash`](super::crash) reports overflows of the stack. What remains are the arguments: glibc passes them
//! to a constructor of the standard library, but with musl `std::env::args` is empty in a process that serves. There
//! [`execute`] reads them from `/proc`.
//!
//! The caller first calls [`check`], which refuses to execute the program if the new process would not
//! reach this constructor.

#![allow(unsafe_code, reason = "a constructor, and the tables of the loaded program")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::hint::black_box;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::slice;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{execute, fds, process, signals, socket, threads};

/// The environment variable that marks a process as started by this library.
pub(crate) const MARKER: &CStr = c"PROCESSION_CHILD";

/// The descriptor of the socket to the caller.
const SOCKET: RawFd = 3;

// glibc passes the arguments of `main` to constructors, and some constructors use them. Other C libraries,
// such as musl, pass nothing, so that the registers of these arguments contain arbitrary values.
#[cfg(target_env = "gnu")]
type Constructor = extern "C" fn(c_int, *const *const c_char, *const *const c_char);
#[cfg(not(target_env = "gnu"))]
type Constructor = extern "C" fn();

// Miri calls constructors without arguments and starts no processes.
#[used]
#[cfg_attr(not(miri), unsafe(link_section = ".init_array"))]
static ENTRY: Constructor = enter;

/// Whether [`ENTRY`] has run in this process, so that it runs in the next one as well.
static RAN: AtomicBool = AtomicBool::new(false);

// The linker defines this symbol in an executable; elsewhere it is null.
std::arch::global_asm!(".weak __init_array_end", ".hidden __init_array_end");
unsafe extern "C" {
    static __init_array_end: c_char;
    /// The last part of the first argument. glibc and musl set it before they call constructors.
    static program_invocation_short_name: *const c_char;
}

#[cfg(target_env = "gnu")]
extern "C" fn enter(argc: c_int, argv: *const *const c_char, env: *const *const c_char) {
    serve_if_started(|constructor| constructor(argc, argv, env));
}

#[cfg(not(target_env = "gnu"))]
extern "C" fn enter() {
    serve_if_started(|constructor| constructor());
}

/// Serves in place of `main` if this library has started the process, and returns otherwise.
///
/// `call` calls a constructor as the C library does.
fn serve_if_started(call: impl Fn(Constructor)) {
    RAN.store(true, Ordering::Relaxed);
    // Both glibc and musl set `environ` before they call constructors.
    // SAFETY: the name is terminated by NUL, and no other thread of this program runs yet.
    let value = unsafe { libc::getenv(MARKER.as_ptr()) };
    if value.is_null() {
        #[cfg(feature = "cluster")]
        become_agent_if_asked(call);
        return;
    }
    // SAFETY: `getenv` has returned a string that is terminated by NUL.
    let marker = unsafe { CStr::from_ptr(value) };
    let Some(marker) = marker.to_str().ok().and_then(Marker::read) else {
        return;
    };
    if !marker.is_ours() {
        return;
    }
    // From here on `main` is not reached. Either this library started the process, or another program
    // has imitated it. A program with more rights than its parent does not serve in either case.
    if is_privileged() {
        process::exit_now(1);
    }
    // SAFETY: the string is a part of the environment of this process, and writable. It is overwritten
    // so that `/proc` does not show it either.
    unsafe {
        let name = MARKER.count_bytes() + 1;
        let length = name + libc::strlen(value);
        libc::unsetenv(MARKER.as_ptr());
        ptr::write_bytes(value.sub(name), 0, length);
    }
    let parent = process::parent();
    if !process::die_with_parent(parent) || !marker.parent_lives() {
        process::exit_now(0);
    }
    if !marker.closed {
        fds::close_from(SOCKET + 1);
    }
    // Processes that this one starts must not inherit the descriptor.
    // SAFETY: `fcntl` with integers only.
    unsafe { libc::fcntl(SOCKET, libc::F_SETFD, libc::FD_CLOEXEC) };
    fds::open_stdio();
    signals::settle();
    signals::alternate_stack();
    name_process();
    run_the_rest(call);
    // SAFETY: descriptor 3 belongs to this process for this purpose only.
    let socket = unsafe { OwnedFd::from_raw_fd(SOCKET) };
    Executed::goes_on(socket, marker.pid)
}

/// The function with which an executed process continues.
///
/// This is a trait because the implementation is in a module above this one, which must not be named
/// here. A function in a table of the linker would not work: nothing refers to it, so the linker removes
/// it from optimized programs.
pub(crate) trait GoesOn {
    /// Serves, given the socket to the caller and the pid of the caller.
    fn goes_on(socket: OwnedFd, caller: u32) -> !;
}

/// The type of a process that was executed again.
pub(crate) struct Executed;

/// The environment variable that makes a process an agent of a cluster, with the address of the server.
#[cfg(feature = "cluster")]
pub(crate) const AGENT: &CStr = c"PROCESSION_AGENT";

/// The function with which an agent continues, in a module above this one.
#[cfg(feature = "cluster")]
pub(crate) trait BecomesAgent {
    /// Serves as an agent of the server at the address.
    fn become_agent(url: String) -> !;
}

/// Serves as an agent in place of `main` if the environment says so, and returns otherwise.
#[cfg(feature = "cluster")]
fn become_agent_if_asked(call: impl Fn(Constructor)) {
    // SAFETY: as in `serve_if_started`.
    let value = unsafe { libc::getenv(AGENT.as_ptr()) };
    if value.is_null() {
        return;
    }
    // SAFETY: `getenv` has returned a string that is terminated by NUL.
    let url = unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned();
    let is_in_program = image().is_some_and(|image| image.offset.is_some());
    if url.is_empty() || !is_in_program || (&raw const __init_array_end).is_null() {
        return;
    }
    if is_privileged() {
        // As for workers: such a program takes no orders.
        process::exit_now(1);
    }
    // The workers of the agent, and the programs that their tasks start, must not become agents, and the pools of the
    // agent are on this host.
    // SAFETY: the string is a part of the environment of this process, and writable. It is overwritten because the
    // address may contain a password, which `/proc` would show.
    unsafe {
        let name = AGENT.count_bytes() + 1;
        let length = name + libc::strlen(value);
        libc::unsetenv(AGENT.as_ptr());
        libc::unsetenv(c"PROCESSION_CLUSTER".as_ptr());
        ptr::write_bytes(value.sub(name), 0, length);
    }
    fds::open_stdio();
    signals::settle();
    run_the_rest(call);
    Executed::become_agent(url)
}

/// The contents of the marker.
struct Marker {
    /// The pid of the caller, as the caller sees it.
    pid: u32,
    /// The place of [`ENTRY`] in the program. A different copy of this library in the same program, and
    /// a different program, ignore the marker.
    offset: usize,
    /// Whether all descriptors from 4 on are closed already.
    closed: bool,
}

impl Marker {
    fn read(text: &str) -> Option<Marker> {
        let mut parts = text.split('-');
        let marker = Marker {
            pid: parts.next()?.parse().ok()?,
            offset: usize::from_str_radix(parts.next()?, 16).ok()?,
            closed: parts.next()? == "closed",
        };
        parts.next().is_none().then_some(marker)
    }

    /// Rule L1: the marker alone is not sufficient.
    fn is_ours(&self) -> bool {
        // SAFETY: no memory is passed.
        let user = unsafe { libc::geteuid() };
        let Some(image) = image() else { return false };
        image.offset == Some(self.offset)
            // The pid is 0 if the caller is outside of the PID namespace of this process.
            && socket::maker(SOCKET).is_some_and(|maker| {
                maker.uid == user && (maker.pid as u32 == self.pid || maker.pid == 0)
            })
    }

    fn parent_lives(&self) -> bool {
        let parent = process::parent();
        parent == self.pid || parent == 0
    }
}

/// Returns the marker for executing the program again, as `NAME=value`.
pub(crate) fn marker() -> String {
    let offset = image().and_then(|image| image.offset).unwrap_or(0);
    let closed = if execute::closes_fds() { "closed" } else { "open" };
    let (name, pid) = (MARKER.to_string_lossy(), std::process::id());
    format!("{name}={pid}-{offset:x}-{closed}")
}

/// Returns whether this program runs with other rights than its parent.
fn is_privileged() -> bool {
    // SAFETY: no memory is passed.
    unsafe {
        libc::getauxval(libc::AT_SECURE) != 0
            || libc::getuid() != libc::geteuid()
            || libc::getgid() != libc::getegid()
    }
}

/// Calls the constructors that follow [`ENTRY`].
fn run_the_rest(call: impl Fn(Constructor)) {
    let end = (&raw const __init_array_end).cast::<Constructor>();
    // `ENTRY` is one word of the table. If the compiler knew that the pointer refers to this word only,
    // it would remove the loop from optimized programs.
    let mut next = black_box(&raw const ENTRY).wrapping_add(1);
    while !end.is_null() && next < end {
        // SAFETY: `check` has verified in the parent, which is the same program, that `ENTRY` is in the
        // table of the executable, which extends to `end`. The linker may add words of all zeroes or all
        // ones as padding.
        let constructor = unsafe { next.cast::<usize>().read() };
        if constructor != 0 && constructor != usize::MAX {
            // SAFETY: every other word of the table is a constructor, which the C library calls in the
            // same way.
            call(unsafe { mem::transmute::<usize, Constructor>(constructor) });
        }
        next = next.wrapping_add(1);
    }
}

/// Gives the process the name of the program. The kernel has named it `exe`, after the link that was
/// executed.
fn name_process() {
    // SAFETY: the C library has set the pointer, to a string that lives as long as the program. No other
    // thread that could change it runs yet.
    let name = unsafe {
        if program_invocation_short_name.is_null() {
            return;
        }
        CStr::from_ptr(program_invocation_short_name)
    };
    if !name.is_empty() {
        threads::set_name(name.to_bytes());
    }
}

/// Returns the reason why a second execution of this program would not reach [`ENTRY`].
pub(crate) fn check() -> Result<(), &'static str> {
    black_box(&ENTRY);
    if cfg!(miri) {
        return Err("Miri starts no processes; use StartMethod::Thread");
    }
    let Some(image) = image() else {
        return Err("the loaded program cannot be inspected; use StartMethod::Fork");
    };
    if image.offset.is_none() || (&raw const __init_array_end).is_null() {
        return Err("this code is in a dynamic library, not in the program itself, so that \
            executing the program again would run its `main`; use StartMethod::Fork or \
            StartMethod::Thread");
    }
    if !RAN.load(Ordering::Relaxed) {
        return Err("the constructors of this program did not run, so that executing it \
            again would run its `main`; use StartMethod::Fork");
    }
    // SAFETY: no memory is passed.
    if image.interpreted && unsafe { libc::getauxval(libc::AT_BASE) } == 0 {
        return Err("the program was started through the dynamic loader by hand, so that it \
            cannot be executed again; start it by its own name");
    }
    if is_privileged() {
        return Err("this program runs with raised rights (set-user-id, set-group-id or file \
            capabilities), with which it does not take orders from a parent; use \
            StartMethod::Fork");
    }
    if std::fs::metadata("/proc/self/exe").is_err() {
        return Err("/proc/self/exe is not there (is /proc mounted?), so that the program \
            cannot be executed again; mount it, or use StartMethod::Thread");
    }
    Ok(())
}

/// Returns a number that is equal in all processes of the same build of the program.
pub(crate) fn fingerprint() -> u64 {
    image().map_or(0, |image| image.hash)
}

/// The properties of the executable of this process.
struct Image {
    /// The offset of [`ENTRY`] in the executable, if it is there.
    offset: Option<usize>,
    /// Whether the executable names a dynamic loader.
    interpreted: bool,
    hash: u64,
}

fn image() -> Option<&'static Image> {
    static IMAGE: OnceLock<Option<Image>> = OnceLock::new();
    let look = || {
        let mut image = None;
        // SAFETY: the callback has the required type, and `data` is what it expects.
        unsafe { libc::dl_iterate_phdr(Some(look_at), (&raw mut image).cast()) };
        image
    };
    IMAGE.get_or_init(look).as_ref()
}

/// Handles the first of the loaded objects, which is the executable.
unsafe extern "C" fn look_at(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> c_int {
    let entry = &raw const ENTRY as usize;
    // SAFETY: the loader passes the headers of an object that remains loaded; `data` is the variable of
    // `image`.
    unsafe {
        let base = (*info).dlpi_addr as usize;
        let headers = if (*info).dlpi_phdr.is_null() {
            &[]
        } else {
            slice::from_raw_parts((*info).dlpi_phdr, usize::from((*info).dlpi_phnum))
        };
        let mut image = Image {
            offset: None,
            interpreted: false,
            hash: hash(0xcbf2_9ce4_8422_2325, env!("CARGO_PKG_VERSION").as_bytes()),
        };
        for header in headers {
            let start = base.wrapping_add(header.p_vaddr as usize);
            let length = header.p_memsz as usize;
            let place =
                [header.p_vaddr as usize, header.p_memsz as usize, header.p_filesz as usize];
            for word in place {
                image.hash = hash(image.hash, &word.to_le_bytes());
            }
            match header.p_type {
                libc::PT_LOAD if (start..start.wrapping_add(length)).contains(&entry) => {
                    image.offset = Some(entry.wrapping_sub(base));
                    image.hash = hash(image.hash, &entry.wrapping_sub(base).to_le_bytes());
                }
                libc::PT_INTERP => image.interpreted = true,
                // This section contains the build id, if the linker was told to add one.
                libc::PT_NOTE => {
                    image.hash =
                        hash(image.hash, slice::from_raw_parts(start as *const u8, length));
                }
                _ => {}
            }
        }
        *data.cast::<Option<Image>>() = Some(image);
    }
    1
}

/// FNV-1a.
fn hash(hash: u64, bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(hash, mix)
}
