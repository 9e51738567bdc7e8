//! Executing this program again.

#![allow(unsafe_code, reason = "posix_spawn")]

use std::ffi::{CStr, CString, OsString, c_char, c_int};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use super::fds;

// A weak symbol, because glibc before 2.34 does not have it. In a static program the address of a
// missing function need not be null, so it is not used there.
#[cfg(all(target_env = "gnu", not(target_feature = "crt-static")))]
std::arch::global_asm!(".weak posix_spawn_file_actions_addclosefrom_np");

#[cfg(all(target_env = "gnu", not(target_feature = "crt-static")))]
fn close_from_action() -> Option<CloseFrom> {
    unsafe extern "C" {
        static posix_spawn_file_actions_addclosefrom_np: c_char;
    }
    let address = &raw const posix_spawn_file_actions_addclosefrom_np;
    // SAFETY: the pointer is null, or the function of this name and type.
    unsafe { mem::transmute::<*const c_char, Option<CloseFrom>>(address) }
}

#[cfg(not(all(target_env = "gnu", not(target_feature = "crt-static"))))]
fn close_from_action() -> Option<CloseFrom> {
    None
}

type CloseFrom = unsafe extern "C" fn(*mut libc::posix_spawn_file_actions_t, c_int) -> c_int;

/// Returns whether [`execute`] itself can close the descriptors that the program must not inherit.
pub(crate) fn closes_fds() -> bool {
    close_from_action().is_some()
}

/// Executes this program again. Its descriptors are the three standard streams, replaced by those in
/// `stdio`, and `socket` as number 3. Every signal has its default action, and SIGINT and SIGPIPE are
/// blocked until the process has chosen their actions.
pub(crate) fn execute(
    env: &[CString],
    stdio: [Option<BorrowedFd<'_>>; 3],
    socket: BorrowedFd<'_>,
) -> io::Result<u32> {
    let argv = arguments();
    let args = pointers(&argv);
    let env = pointers(env);
    // The sources are moved above the numbers that are overwritten, so that no copy destroys a source.
    let mut moves: Vec<(OwnedFd, c_int)> = Vec::new();
    for (target, source) in (0..).zip(stdio.into_iter().chain([Some(socket)])) {
        if let Some(source) = source {
            moves.push((fds::duplicate(source, 4)?, target));
        }
    }
    let check = |code: c_int| match code {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    };
    let mut actions = Actions::new()?;
    let mut attributes = Attributes::new()?;
    let mut pid = 0;
    // SAFETY: every pointer refers to a living, initialized value; the arrays of strings are terminated
    // by null.
    unsafe {
        for (source, target) in &moves {
            let source = source.as_raw_fd();
            check(libc::posix_spawn_file_actions_adddup2(&mut actions.0, source, *target))?;
        }
        if let Some(close_from) = close_from_action() {
            check(close_from(&mut actions.0, 4))?;
        }
        let mut set: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&mut set);
        check(libc::posix_spawnattr_setsigdefault(&mut attributes.0, &set))?;
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGINT);
        libc::sigaddset(&mut set, libc::SIGPIPE);
        check(libc::posix_spawnattr_setsigmask(&mut attributes.0, &set))?;
        let flags = libc::POSIX_SPAWN_SETSIGDEF | libc::POSIX_SPAWN_SETSIGMASK;
        check(libc::posix_spawnattr_setflags(&mut attributes.0, flags as _))?;
        let done = check(libc::posix_spawn(
            &mut pid,
            c"/proc/self/exe".as_ptr(),
            &actions.0,
            &attributes.0,
            args.as_ptr(),
            env.as_ptr(),
        ));
        done.map_err(super::control_group::too_many_processes)?;
    }
    Ok(pid as u32)
}

/// Returns the arguments of this process.
fn arguments() -> Vec<CString> {
    let arguments: Vec<CString> = std::env::args_os().map(c_string).collect();
    if !arguments.is_empty() {
        return arguments;
    }
    // With musl, the standard library learns the arguments in `main`, which a worker that was executed
    // again does not reach. The kernel has them in any case.
    let text = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let parts = text.split_inclusive(|&byte| byte == 0);
    parts.filter_map(|part| Some(CStr::from_bytes_until_nul(part).ok()?.to_owned())).collect()
}

/// Converts a string of the system into a C string, up to the first NUL.
pub(crate) fn c_string(text: OsString) -> CString {
    let mut bytes = text.into_vec();
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    CString::new(bytes).unwrap_or_default()
}

fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    let pointers = strings.iter().map(|s| CStr::as_ptr(s).cast_mut());
    pointers.chain([std::ptr::null_mut()]).collect()
}

struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        // SAFETY: all zeroes are a valid value to initialize.
        let mut actions = Actions(unsafe { mem::zeroed() });
        // SAFETY: as above.
        match unsafe { libc::posix_spawn_file_actions_init(&mut actions.0) } {
            0 => Ok(actions),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`.
        unsafe { libc::posix_spawn_file_actions_destroy(&mut self.0) };
    }
}

struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        // SAFETY: all zeroes are a valid value to initialize.
        let mut attributes = Attributes(unsafe { mem::zeroed() });
        // SAFETY: as above.
        match unsafe { libc::posix_spawnattr_init(&mut attributes.0) } {
            0 => Ok(attributes),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: initialized in `new`.
        unsafe { libc::posix_spawnattr_destroy(&mut self.0) };
    }
}
