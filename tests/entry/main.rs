//! A process cannot be made to serve by a process that did not start it, and cannot be connected
//! to.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode, Output, Stdio};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use procession_tests::{ONCE, PROCESSES, StartMethod};
use procession_tests::{conformance, harness, pool, processes};

conformance! {
    ONCE => [
        a_marker_and_a_socket_of_the_parent_are_taken,
        a_marker_without_a_socket_is_ignored,
        a_marker_with_something_else_is_ignored,
        a_marker_with_a_socket_of_another_process_is_ignored,
        a_marker_of_another_place_is_ignored,
        a_socket_without_a_marker_is_ignored,
        a_socket_of_another_user_is_ignored,
    ];
    PROCESSES => [
        no_socket_has_a_name,
    ];
}

fn main() -> ExitCode {
    harness::main(tests())
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_marked");

/// Returns the marker with which a caller of this pid starts its workers.
fn marker(pid: u32) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("marker");
    let mut command = Command::new(PROGRAM);
    let output = command.arg("work").env("MARKER_FILE", &file).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "main\n", "{output:?}");
    let marker = std::fs::read_to_string(file).expect("a worker was started with a marker");
    let (_, rest) = marker.split_once('-').unwrap();
    format!("{pid}-{rest}")
}

/// Runs the program with `fd` as its descriptor 3, or without a descriptor 3.
fn run(marker: Option<&str>, fd: Option<OwnedFd>) -> Output {
    let script = if fd.is_some() { "exec \"$0\" 3<&0 </dev/null" } else { "exec \"$0\" 3<&-" };
    let mut command = Command::new("sh");
    command.args(["-c", script, PROGRAM]).stdin(fd.map_or_else(Stdio::null, Stdio::from));
    if let Some(marker) = marker {
        command.env("PROCESSION_CHILD", marker);
    }
    command.output().unwrap()
}

/// Asserts that the program runs as an ordinary program.
#[track_caller]
fn is_ordinary(marker: Option<&str>, fd: Option<OwnedFd>) {
    let output = run(marker, fd);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "main\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// Returns a socket pair of the kind that the library uses.
fn socket() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap()
}

/// Shows that the marker of these tests is valid.
fn a_marker_and_a_socket_of_the_parent_are_taken(_: StartMethod) {
    let (theirs, ours) = socket();
    // The worker has nothing to do, and exits.
    drop(ours);
    let output = run(Some(&marker(std::process::id())), Some(theirs));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
}

fn a_marker_without_a_socket_is_ignored(_: StartMethod) {
    is_ordinary(Some(&marker(std::process::id())), None);
}

fn a_marker_with_something_else_is_ignored(_: StartMethod) {
    let marker = marker(std::process::id());
    is_ordinary(Some(&marker), Some(File::open("/dev/null").unwrap().into()));
    is_ordinary(Some(&marker), Some(std::io::pipe().unwrap().0.into()));
    is_ordinary(Some(&marker), Some(UnixStream::pair().unwrap().0.into()));
    is_ordinary(Some(&marker), Some(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()));
}

fn a_marker_with_a_socket_of_another_process_is_ignored(_: StartMethod) {
    // The marker contains the pid of a caller that has ended.
    let mut gone = Command::new("true").spawn().unwrap();
    let marker = marker(gone.id());
    gone.wait().unwrap();
    is_ordinary(Some(&marker), Some(socket().0));
}

fn a_marker_of_another_place_is_ignored(_: StartMethod) {
    let pid = std::process::id();
    for marker in [format!("{pid}-1-closed"), format!("{pid}-"), "1".to_owned(), String::new()] {
        is_ordinary(Some(&marker), Some(socket().0));
    }
}

fn a_socket_without_a_marker_is_ignored(_: StartMethod) {
    is_ordinary(None, Some(socket().0));
}

fn a_socket_of_another_user_is_ignored(_: StartMethod) {
    if !nix::unistd::geteuid().is_root() {
        println!("only root can be another user; nothing was tested");
        return;
    }
    // A copy that any user can execute.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("program");
    std::fs::copy(PROGRAM, &program).unwrap();
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new("sh");
    command.arg("-c").arg("exec \"$0\" 3<&0 </dev/null").arg(&program);
    let command = command.env("PROCESSION_CHILD", marker(std::process::id()));
    let output = command.stdin(socket().0).uid(65534).gid(65534).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "main\n");
}

/// Returns the inodes of the sockets of a process.
fn sockets(pid: u32) -> HashSet<String> {
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let links = fds.filter_map(|fd| std::fs::read_link(fd.path()).ok());
    let inode = |link: std::path::PathBuf| {
        let text = link.to_string_lossy().into_owned();
        Some(text.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned())
    };
    links.filter_map(inode).collect()
}

fn no_socket_has_a_name(method: StartMethod) {
    let before = sockets(std::process::id());
    let pool = pool(method, 2);
    let below: Vec<u32> =
        processes::descendants(std::process::id()).iter().map(|entry| entry.pid).collect();
    assert!(below.len() >= 2, "{below:?}");
    let pids = below.into_iter().chain([std::process::id()]);
    let own: HashSet<String> =
        pids.flat_map(sockets).filter(|inode| !before.contains(inode)).collect();
    assert!(!own.is_empty());
    // Num, RefCount, Protocol, Flags, Type, St, Inode, and the path or `@name`, if there is one.
    let table = std::fs::read_to_string("/proc/self/net/unix").unwrap();
    for inode in &own {
        let line = table.lines().find(|line| line.split_whitespace().nth(6) == Some(inode));
        let line = line.unwrap_or_else(|| panic!("socket {inode} is not of the local kind"));
        assert_eq!(line.split_whitespace().nth(7), None, "{line}");
    }
    drop(pool);
}
