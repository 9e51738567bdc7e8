//! What containers and service managers take away from a program, by the same system calls.

use std::fmt;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getgid, getuid, setgid, setgroups, setuid};

use crate::filter::Filter;

const NONE: Option<&str> = None;

/// One thing that is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// The system calls that Docker's default profile refuses to a container without capabilities of
    /// its own.
    Docker,
    /// `PR_SET_NO_NEW_PRIVS`.
    NoNewPrivs,
    /// All file systems are read-only, also the directory for temporary files.
    ReadOnly,
    /// Nothing can be created in `/dev/shm`.
    NoShm,
    /// `/proc` is not mounted.
    NoProc,
    /// Root of a user namespace without any right outside of it.
    UserNamespace,
    /// systemd's `MemoryDenyWriteExecute=yes`.
    DenyWriteExecute,
    /// systemd's `RestrictNamespaces=yes`.
    NoNamespaces,
    /// systemd's `ProtectProc=invisible` and `ProcSubset=pid`.
    HiddenProc,
    /// The user `nobody`.
    Nobody,
    /// Process 1 of a PID namespace, which the parent has created for it.
    ProcessOne,
}

impl Confinement {
    /// All of them.
    pub const ALL: [Confinement; 11] = [
        Confinement::Docker,
        Confinement::NoNewPrivs,
        Confinement::ReadOnly,
        Confinement::NoShm,
        Confinement::NoProc,
        Confinement::UserNamespace,
        Confinement::DenyWriteExecute,
        Confinement::NoNamespaces,
        Confinement::HiddenProc,
        Confinement::Nobody,
        Confinement::ProcessOne,
    ];

    /// Applies it to the calling process, which has one thread.
    ///
    /// # Errors
    ///
    /// Returns an error if this process may not.
    pub fn apply(self) -> nix::Result<()> {
        match self {
            Confinement::Docker => Filter::docker().install(),
            Confinement::NoNewPrivs => prctl::set_no_new_privs(),
            Confinement::ReadOnly => {
                own_mounts()?;
                let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
                mount(NONE, "/", NONE, flags, NONE)?;
                // Directories for temporary files can be mounts of their own.
                let empty = MsFlags::MS_RDONLY;
                ["/tmp", "/var/tmp", "/dev/shm"].iter().try_for_each(|dir| {
                    match std::path::Path::new(dir).is_dir() {
                        true => mount(Some("none"), *dir, Some("tmpfs"), empty, NONE),
                        false => Ok(()),
                    }
                })
            }
            Confinement::NoShm => {
                own_mounts()?;
                mount(Some("none"), "/dev/shm", Some("tmpfs"), MsFlags::MS_RDONLY, NONE)
            }
            Confinement::NoProc => {
                own_mounts()?;
                umount2("/proc", MntFlags::MNT_DETACH)
            }
            Confinement::UserNamespace => {
                let (uid, gid) = (getuid(), getgid());
                unshare(CloneFlags::CLONE_NEWUSER)?;
                let write = |file: &str, text: &str| {
                    std::fs::write(format!("/proc/self/{file}"), text)
                        .map_err(|error| nix::Error::from_raw(error.raw_os_error().unwrap_or(0)))
                };
                write("setgroups", "deny")?;
                write("uid_map", &format!("0 {uid} 1"))?;
                write("gid_map", &format!("0 {gid} 1"))
            }
            Confinement::DenyWriteExecute => Filter::deny_write_execute().install(),
            Confinement::NoNamespaces => Filter::no_namespaces().install(),
            Confinement::HiddenProc => {
                own_mounts()?;
                let options = Some("hidepid=invisible,subset=pid");
                mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), options)
            }
            Confinement::Nobody => {
                setgroups(&[])?;
                setgid(Gid::from_raw(65_534))?;
                setuid(Uid::from_raw(65_534))
            }
            Confinement::ProcessOne => {
                own_mounts()?;
                mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), NONE)
            }
        }
    }

    /// Returns the one with this name.
    pub fn named(name: &str) -> Option<Self> {
        Confinement::ALL.into_iter().find(|confinement| confinement.to_string() == name)
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Makes later mounts those of this process alone.
///
/// # Errors
///
/// Returns an error if this process may not.
pub fn own_mounts() -> nix::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
}
