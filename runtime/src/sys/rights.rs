//! The rights of a thread of this process, as far as the kernel reports them.
//!
//! Credentials, namespaces and filters belong to a thread, not to a process. The function `setuid` of the
//! C library changes all threads, while `prctl` and `unshare` change only the calling thread.

#![allow(unsafe_code, reason = "prctl, capget, capset and statx")]

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use nix::fcntl::{AT_FDCWD, OFlag, open, openat, readlinkat};
use nix::sched::{CloneFlags, setns};
use nix::sys::stat::{Mode, stat};

/// The namespaces in which a thread starts processes, named as in `/proc`.
const NAMESPACES: [&str; 8] = [
    "ns/pid_for_children",
    "ns/time_for_children",
    "ns/cgroup",
    "ns/ipc",
    "ns/mnt",
    "ns/net",
    "ns/user",
    "ns/uts",
];

/// The namespaces that a thread can enter on its own, if it is permitted to.
const ENTERED: [(&str, CloneFlags); 4] = [
    ("cgroup", CloneFlags::CLONE_NEWCGROUP),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("net", CloneFlags::CLONE_NEWNET),
    ("uts", CloneFlags::CLONE_NEWUTS),
];

/// The rights of a thread. Rights that cannot be read are `None`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rights {
    /// User, group and supplementary group ids.
    ids: Option<Vec<u8>>,
    capabilities: Option<Vec<u8>>,
    /// `no_new_privs` and seccomp filters.
    filters: Option<Vec<u8>>,
    /// The rights of the calling thread only.
    securebits: Option<i32>,
    /// The names of the [`NAMESPACES`], which contain their numbers.
    namespaces: [Option<OsString>; NAMESPACES.len()],
    /// Device, inode and mount of the root directory.
    root: Option<(u64, u64, u64)>,
    cgroup: Option<Vec<u8>>,
    /// The label of a security module.
    label: Option<Vec<u8>>,
}

/// The rights of a thread, and its umask, which is read from the same file.
pub(crate) struct PresentRights {
    pub(crate) rights: Rights,
    pub(crate) umask: Option<u32>,
}

impl Rights {
    /// Returns the rights of the calling thread.
    pub(crate) fn own() -> PresentRights {
        let mut present = read("/proc/thread-self", "/").unwrap_or_else(|| PresentRights {
            rights: Rights {
                ids: Some(ids().into_bytes()),
                capabilities: capabilities().map(|sets| format!("{sets:?}").into_bytes()),
                filters: Some(vec![u8::from(no_new_privs())]),
                root: root(AT_FDCWD, "/"),
                ..Rights::default()
            },
            umask: None,
        });
        // SAFETY: no memory is passed.
        present.rights.securebits = Some(unsafe { libc::prctl(libc::PR_GET_SECUREBITS) });
        present
    }

    /// Returns the rights of another thread of this process, with its id as in `/proc`, except for the
    /// securebits, which only a thread itself can read. Returns `None` if the thread has ended or cannot
    /// be read.
    pub(crate) fn of(thread: i32, securebits: Option<i32>) -> Option<PresentRights> {
        let place = format!("/proc/self/task/{thread}");
        let mut present = read(&place, "root")?;
        present.rights.securebits = securebits;
        Some(present)
    }

    pub(crate) fn securebits(&self) -> Option<i32> {
        self.securebits
    }

    /// Returns the names of the rights that differ between these rights, which were read before, and
    /// `now`.
    pub(crate) fn difference(&self, now: &Rights) -> Vec<&'static str> {
        // A new PID namespace cannot be read before it has its first process.
        let (first, others) = (&self.namespaces[0], &self.namespaces[1..]);
        let pids = first.is_none() || *first == now.namespaces[0];
        let same = [
            ("user and group ids", self.ids == now.ids),
            ("capabilities", self.capabilities == now.capabilities),
            ("no_new_privs or seccomp filters", self.filters == now.filters),
            ("securebits", self.securebits == now.securebits),
            ("namespaces", pids && *others == now.namespaces[1..]),
            ("root directory", self.root == now.root),
            ("control group", self.cgroup == now.cgroup),
            ("security label", self.label == now.label),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }

    /// Makes the calling thread give up the rights that another thread of this process has given up, and
    /// enter its namespaces, as far as this is possible for a thread.
    pub(crate) fn adopt(thread: i32) {
        for (name, kind) in ENTERED {
            let place = format!("/proc/self/task/{thread}/ns/{name}");
            if stat(place.as_str()).map(|s| s.st_ino)
                != stat(format!("/proc/thread-self/ns/{name}").as_str()).map(|s| s.st_ino)
                && let Ok(space) = File::open(place)
            {
                // If this is refused, the difference remains, and the caller reads it.
                let _ = setns(space.as_fd(), kind);
            }
        }
        let Ok(status) = contents(AT_FDCWD, &format!("/proc/self/task/{thread}/status")) else {
            return;
        };
        let value = |name: &str, radix: u32| {
            let line = lines(&status).find_map(|line| line.strip_prefix(name.as_bytes()))?;
            u64::from_str_radix(str::from_utf8(line).ok()?.trim(), radix).ok()
        };
        if let Some(bounding) = value("CapBnd:", 16) {
            for capability in (0..64).filter(|bit| bounding >> bit & 1 == 0) {
                // SAFETY: no memory is passed, and the kernel refuses invalid capabilities.
                unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            }
        }
        if let [Some(effective), Some(permitted), Some(inheritable)] =
            ["CapEff:", "CapPrm:", "CapInh:"].map(|name| value(name, 16))
        {
            set_capabilities([effective, permitted, inheritable]);
        }
        if value("NoNewPrivs:", 10) == Some(1) {
            // SAFETY: no memory is passed.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
        }
    }
}

/// Returns the information in `/proc` about a thread.
///
/// All paths but that of `root` begin at the directory of the thread. To walk to it again for each of a dozen files would
/// take as long as to read them, and a pool reads them for each worker that it starts.
fn read(place: &str, root_of: &str) -> Option<PresentRights> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let place = open(place, flags, Mode::empty()).ok()?;
    let status = contents(&place, "status").ok()?;
    let (mut ids, mut capabilities, mut filters) = (Vec::new(), Vec::new(), Vec::new());
    let mut umask = None;
    for line in lines(&status) {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        match name {
            b"Uid" | b"Gid" | b"Groups" => ids.extend(line),
            b"NoNewPrivs" | b"Seccomp" | b"Seccomp_filters" => filters.extend(line),
            b"Umask" => {
                let digits = str::from_utf8(&line[name.len() + 1..]).unwrap_or_default();
                umask = u32::from_str_radix(digits.trim(), 8).ok();
            }
            _ if name.starts_with(b"Cap") => capabilities.extend(line),
            _ => {}
        }
    }
    // The kernel makes an inode for each call of `stat`, which takes three times as long.
    let space = |name: &str| readlinkat(&place, name).ok();
    let rights = Rights {
        ids: Some(ids),
        capabilities: Some(capabilities),
        filters: Some(filters),
        securebits: None,
        namespaces: NAMESPACES.map(space),
        root: root(place.as_fd(), root_of),
        cgroup: contents(&place, "cgroup").ok(),
        label: contents(&place, "attr/current").ok(),
    };
    Some(PresentRights { rights, umask })
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split_inclusive(|&byte| byte == b'\n')
}

/// Reads a file of `/proc`, whose size is not known in advance.
fn contents(place: impl AsFd, path: &str) -> io::Result<Vec<u8>> {
    let mut file = File::from(openat(place, path, OFlag::O_CLOEXEC, Mode::empty())?);
    let mut bytes = vec![0; 4096];
    let mut end = 0;
    loop {
        match file.read(&mut bytes[end..])? {
            0 => break,
            read => end += read,
        }
        if end == bytes.len() {
            bytes.resize(2 * end, 0);
        }
    }
    bytes.truncate(end);
    Ok(bytes)
}

fn root(place: BorrowedFd<'_>, path: &str) -> Option<(u64, u64, u64)> {
    let path = CString::new(path).ok()?;
    let wanted = libc::STATX_INO | libc::STATX_MNT_ID;
    // SAFETY: all zeroes are a valid value; the path is terminated by NUL.
    let (done, found) = unsafe {
        let mut found: libc::statx = std::mem::zeroed();
        (libc::statx(place.as_raw_fd(), path.as_ptr(), 0, wanted, &mut found), found)
    };
    let device = u64::from(found.stx_dev_major) << 32 | u64::from(found.stx_dev_minor);
    (done == 0).then_some((device, found.stx_ino, found.stx_mnt_id))
}

/// Reads the ids by system calls, for systems without `/proc`.
fn ids() -> String {
    let (users, groups) = (nix::unistd::getresuid(), nix::unistd::getresgid());
    format!("{users:?} {groups:?} {:?}", nix::unistd::getgroups())
}

fn no_new_privs() -> bool {
    // SAFETY: no memory is passed.
    unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 }
}

/// The version, and the id of the thread; 0 is the calling thread.
#[repr(C)]
struct CapabilityHeader(u32, i32);

/// The version of the system call that supports 64 capabilities.
const VERSION: u32 = 0x2008_0522;

/// Returns the effective, permitted and inheritable capabilities, each in a lower and an upper half.
fn capabilities() -> Option<[u32; 6]> {
    let (mut header, mut sets) = (CapabilityHeader(VERSION, 0), [0_u32; 6]);
    // SAFETY: both have the layout of this version.
    let done = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    (done == 0).then_some(sets)
}

/// Sets the effective, permitted and inheritable capabilities. The kernel refuses to add any.
fn set_capabilities(sets: [u64; 3]) {
    let mut header = CapabilityHeader(VERSION, 0);
    let (low, high) = (sets.map(|set| set as u32), sets.map(|set| (set >> 32) as u32));
    let words = [low, high].concat();
    // SAFETY: both have the layout of this version.
    unsafe { libc::syscall(libc::SYS_capset, &raw mut header, words.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "has no /proc")]
    fn a_thread_has_the_rights_of_the_one_that_started_it() {
        let own = Rights::own();
        assert!(own.umask.is_some());
        let thread = crate::sys::threads::current();
        let bits = own.rights.securebits();
        let look = move || (Rights::of(thread, bits).unwrap(), Rights::own());
        let (seen, its) = std::thread::spawn(look).join().unwrap();
        assert_eq!(own.rights.difference(&seen.rights), [""; 0]);
        assert_eq!(own.rights.difference(&its.rights), [""; 0]);
        assert_eq!((own.umask, own.umask), (seen.umask, its.umask));
        assert!(Rights::of(i32::MAX, None).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "has no /proc")]
    fn what_a_thread_gives_up_is_named_and_can_be_adopted() {
        let give_up = || {
            let before = Rights::own().rights;
            // SAFETY: no memory is passed.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            before.difference(&Rights::own().rights)
        };
        let named = std::thread::spawn(give_up).join().unwrap();
        assert_eq!(named, ["no_new_privs or seccomp filters"]);
        // A thread that existed before has the right only after it has adopted it.
        let (sender, receiver) = std::sync::mpsc::channel();
        let (end, ending) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || {
            // SAFETY: no memory is passed.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            sender.send(crate::sys::threads::current()).unwrap();
            let _ = ending.recv();
        });
        let thread = receiver.recv().unwrap();
        let adopted = std::thread::spawn(move || {
            let before = no_new_privs();
            Rights::adopt(thread);
            (before, no_new_privs())
        });
        assert_eq!(adopted.join().unwrap(), (false, true));
        drop(end);
        other.join().unwrap();
    }
}
