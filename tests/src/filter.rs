//! Filters of system calls (seccomp), assembled from rules.

#![allow(unsafe_code, reason = "prctl with a program for the kernel")]

use libc::{c_long, sock_filter, sock_fprog};

/// Namespaces as flags of `clone` (`CLONE_NEWNS` to `CLONE_NEWNET`); Docker's profile has the same number.
const NAMESPACES: u32 = 0x7E02_0000;

/// What the kernel does with a call.
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSE: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
/// The C library then uses `clone`, whose flags a filter can see.
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// The last call that the profile of 2023 knows, `futex_waitv`, except for a few that it allows; their
/// numbers are the same on every architecture.
const LAST_KNOWN: c_long = 449;

/// A program for the kernel. Every rule ends in an answer, or goes on to the next one.
pub struct Filter(Vec<sock_filter>);

impl Filter {
    fn new() -> Self {
        Filter(Vec::new())
    }

    fn push(&mut self, code: u32, if_true: u8, if_false: u8, k: u32) {
        self.0.push(sock_filter { code: code as u16, jt: if_true, jf: if_false, k });
    }

    /// Loads a word of `struct seccomp_data`: the number of the call, or the low half of an argument.
    fn load(&mut self, offset: u32) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    }

    fn load_argument(&mut self, index: u32) {
        self.load(16 + 8 * index);
    }

    fn answer(&mut self, answer: u32) {
        self.push(libc::BPF_RET | libc::BPF_K, 0, 0, answer);
    }

    /// Gives the answer for a call.
    fn rule(mut self, call: c_long, answer: u32) -> Self {
        self.load(0);
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, call as u32);
        self.answer(answer);
        self
    }

    fn refuse(self, calls: &[c_long]) -> Self {
        calls.iter().fold(self, |filter, &call| filter.rule(call, REFUSE))
    }

    /// Refuses a call if its argument has one of the bits, or, with `every`, if it has all of them.
    fn refuse_bits(mut self, call: c_long, argument: u32, bits: u32, every: bool) -> Self {
        self.load(0);
        self.push(
            libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K,
            0,
            if every { 4 } else { 3 },
            call as u32,
        );
        self.load_argument(argument);
        if every {
            self.push(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, bits);
            self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, bits);
        } else {
            self.push(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 1, bits);
        }
        self.answer(REFUSE);
        self
    }

    /// Refuses every call with a number above this one.
    fn refuse_above(mut self, call: c_long) -> Self {
        self.load(0);
        self.push(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, 0, 1, call as u32);
        self.answer(REFUSE);
        self
    }

    /// Refuses what creates or enters a namespace.
    pub fn no_namespaces() -> Self {
        Filter::new()
            .rule(libc::SYS_clone3, UNKNOWN)
            .refuse_bits(libc::SYS_clone, 0, NAMESPACES, false)
            .refuse(&[libc::SYS_unshare, libc::SYS_setns])
    }

    /// Refuses memory that can be written and executed, as systemd does.
    pub fn deny_write_execute() -> Self {
        let (write, execute) = (libc::PROT_WRITE as u32, libc::PROT_EXEC as u32);
        Filter::new()
            .refuse_bits(libc::SYS_mmap, 2, write | execute, true)
            .refuse_bits(libc::SYS_mprotect, 2, execute, false)
            .refuse_bits(libc::SYS_pkey_mprotect, 2, execute, false)
            .refuse_bits(libc::SYS_shmat, 2, libc::SHM_EXEC as u32, false)
    }

    /// Refuses what Docker's default profile refuses to a container without `CAP_SYS_ADMIN` and the other
    /// capabilities that containers lack by default.
    pub fn docker() -> Self {
        Filter::no_namespaces()
            // Calls that are newer than the profile, as an old Docker on a new kernel refuses them.
            .refuse_above(LAST_KNOWN)
            .refuse(&[
                libc::SYS_acct,
                libc::SYS_add_key,
                libc::SYS_bpf,
                libc::SYS_clock_settime,
                libc::SYS_delete_module,
                libc::SYS_fanotify_init,
                libc::SYS_finit_module,
                libc::SYS_fsconfig,
                libc::SYS_fsmount,
                libc::SYS_fsopen,
                libc::SYS_fspick,
                libc::SYS_get_mempolicy,
                libc::SYS_init_module,
                libc::SYS_io_uring_enter,
                libc::SYS_io_uring_register,
                libc::SYS_io_uring_setup,
                libc::SYS_kcmp,
                libc::SYS_kexec_file_load,
                libc::SYS_kexec_load,
                libc::SYS_keyctl,
            ])
            .refuse(&[
                libc::SYS_mbind,
                libc::SYS_migrate_pages,
                libc::SYS_mount,
                libc::SYS_mount_setattr,
                libc::SYS_move_mount,
                libc::SYS_move_pages,
                libc::SYS_open_by_handle_at,
                libc::SYS_open_tree,
                libc::SYS_perf_event_open,
                libc::SYS_pidfd_getfd,
                libc::SYS_pivot_root,
                libc::SYS_process_madvise,
                libc::SYS_quotactl,
                libc::SYS_quotactl_fd,
                libc::SYS_reboot,
                libc::SYS_request_key,
                libc::SYS_set_mempolicy,
                libc::SYS_setdomainname,
                libc::SYS_sethostname,
                libc::SYS_settimeofday,
            ])
            .refuse(&[
                libc::SYS_swapoff,
                libc::SYS_swapon,
                libc::SYS_syslog,
                libc::SYS_umount2,
                libc::SYS_userfaultfd,
                libc::SYS_vhangup,
            ])
            // Also what later versions of the profile, or versions for kernels before 4.8, refuse.
            .refuse(&[libc::SYS_process_vm_readv, libc::SYS_process_vm_writev, libc::SYS_ptrace])
    }

    /// Makes the kernel apply the filter to this thread and to all that it creates.
    ///
    /// # Errors
    ///
    /// Returns an error if this process may not.
    pub fn install(mut self) -> nix::Result<()> {
        self.answer(ALLOW);
        let program = sock_fprog { len: self.0.len() as u16, filter: self.0.as_mut_ptr() };
        if !nix::unistd::geteuid().is_root() {
            nix::sys::prctl::set_no_new_privs()?;
        }
        // SAFETY: the kernel copies the program, which `self` keeps during the call.
        let done = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER as libc::c_ulong,
                &raw const program,
            )
        };
        nix::Error::result(done).map(drop)
    }
}
