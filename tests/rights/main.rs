//! Workers have no more rights than their caller. A caller that has given up rights gets no worker that
//! still has them, and can still end the workers that it had.
//!
//! These tests need root. The process of each test gives up its rights.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, chroot, geteuid, setgid, setgroups, setuid};
use procession_tests::tasks::nap;
use procession_tests::{
    EXECUTED, PROCESSES, SERVED, StartMethod, conformance, harness, pool, processes, wait,
};
use runtime::{ErrorKind, Pool, Process, State, initializer, worker};

conformance! {
    PROCESSES => [
        a_new_pool_has_the_rights_of_now,
        umask_and_limits_follow_at_each_birth,
        a_limit_of_memory_does_not_raise_that_of_the_caller,
        a_timeout_holds_after_rights_were_given_up,
        a_pool_can_be_dropped_and_terminated_after_rights_were_given_up,
        a_process_can_be_killed_after_rights_were_given_up,
        nobody_outlives_a_caller_that_gave_up_its_rights,
        a_new_root_is_followed,
    ];
    EXECUTED => [
        a_replacement_has_the_rights_of_now,
        what_one_thread_gave_up_is_followed,
        namespaces_are_followed,
        other_workers_go_on_when_rights_change,
    ];
    &[StartMethod::Fork] => [a_template_with_more_rights_refuses];
    SERVED => [a_process_is_asked_to_end_by_its_server, a_reforked_pool_follows_rights];
    &[StartMethod::ForkServer] => [servers_of_different_rights_are_apart];
}

fn main() -> ExitCode {
    harness::main(tests())
}

const NOBODY: u32 = 65_534;
const FIELDS: [&str; 12] = [
    "Uid:",
    "Gid:",
    "Groups:",
    "CapInh:",
    "CapPrm:",
    "CapEff:",
    "CapBnd:",
    "CapAmb:",
    "NoNewPrivs:",
    "Seccomp:",
    "Seccomp_filters:",
    "Umask:",
];

/// The rights of this thread, as the kernel reports them.
fn rights() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
    let lines = status.lines().filter(|line| FIELDS.iter().any(|field| line.starts_with(field)));
    let files = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let core = getrlimit(Resource::RLIMIT_CORE).unwrap();
    let spaces = ["uts", "ipc", "mnt", "net"].map(|space| {
        std::fs::read_link(format!("/proc/thread-self/ns/{space}")).unwrap().display().to_string()
    });
    let limits = [format!("files {files:?}"), format!("core {core:?}")];
    lines.map(str::to_owned).chain(limits).chain(spaces).collect()
}

#[worker]
fn rights_of_worker(_: u64) -> Vec<String> {
    rights()
}

#[worker]
fn leave() {
    std::process::exit(3)
}

#[worker]
fn nap_with_a_sign(sign: PathBuf) {
    std::fs::write(sign, "").unwrap();
    std::thread::sleep(Duration::from_secs(600));
}

#[worker]
fn is_there(path: &str) -> bool {
    Path::new(path).exists()
}

#[worker]
fn pid(_: u64) -> u32 {
    std::process::id()
}

#[worker]
fn data_limit() -> (u64, u64) {
    getrlimit(Resource::RLIMIT_DATA).unwrap()
}

#[initializer]
fn preloaded() -> u64 {
    11
}

/// Returns whether this test can run here.
fn is_root() -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("skipped: only root can give rights up");
    }
    root
}

/// Gives up the remaining rights of root.
fn become_nobody() {
    lower_limits();
    setgroups(&[]).unwrap();
    setgid(Gid::from_raw(NOBODY)).unwrap();
    setuid(Uid::from_raw(NOBODY)).unwrap();
}

fn lower_limits() {
    umask(Mode::from_bits_truncate(0o077));
    setrlimit(Resource::RLIMIT_NOFILE, 300, 400).unwrap();
    setrlimit(Resource::RLIMIT_CORE, 0, 0).unwrap();
}

/// Permits the checks at the end of a test to inspect this process, which otherwise requires its former
/// rights.
fn show() {
    prctl::set_dumpable(true).unwrap();
}

fn is_exit(outcome: runtime::Result<()>) -> bool {
    outcome.is_err_and(|error| error.kind() == ErrorKind::Exited)
}

fn a_new_pool_has_the_rights_of_now(method: StartMethod) {
    if !is_root() {
        return;
    }
    let build = || pool(method, 2);
    let old = build();
    let before = rights();
    assert_eq!(old.apply(rights_of_worker, 0).unwrap(), before);
    become_nobody();
    let (new, now) = (build(), rights());
    assert_ne!(before, now);
    for rights in new.broadcast(rights_of_worker, 0) {
        assert_eq!(rights.unwrap(), now);
    }
    // The rights of the existing workers are unchanged.
    assert_eq!(old.apply(rights_of_worker, 0).unwrap(), before);
    drop(old);
    assert_eq!(new.apply(rights_of_worker, 0).unwrap(), now);
    drop(new);
    show();
}

fn a_replacement_has_the_rights_of_now(method: StartMethod) {
    if !is_root() {
        return;
    }
    let pool = pool(method, 2);
    become_nobody();
    let now = rights();
    for _ in 0..2 {
        for outcome in pool.broadcast(leave, ()) {
            assert!(is_exit(outcome));
        }
        let replaced = pool.map(rights_of_worker, 0..20).unwrap();
        assert!(replaced.iter().all(|rights| *rights == now), "{replaced:?}");
    }
    pool.resize(4).unwrap();
    wait::until(Duration::from_secs(10), || pool.workers().len() == 4);
    for outcome in pool.broadcast(rights_of_worker, 0) {
        assert_eq!(outcome.unwrap(), now);
    }
    drop(pool);
    show();
}

/// The existing workers stay, and their results arrive, even if their server gets no more orders.
fn other_workers_go_on_when_rights_change(method: StartMethod) {
    if !is_root() {
        return;
    }
    let pool = pool(method, 2);
    let before = pool.workers().iter().map(|worker| worker.pid()).collect::<Vec<_>>();
    let long = pool.submit(nap, 700);
    become_nobody();
    assert!(is_exit(pool.apply(leave, ())));
    for _ in 0..20 {
        assert!(!before.contains(&pool.apply(pid, 0).unwrap()));
    }
    assert_eq!(long.wait().unwrap(), 700);
    let pids = pool.broadcast(pid, 0).into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(pids.iter().filter(|pid| before.contains(pid)).count(), 1, "{pids:?} {before:?}");
    // The end of a worker of an older server is reported as usual.
    for outcome in pool.broadcast(leave, ()) {
        assert!(is_exit(outcome));
    }
    let now = rights();
    for outcome in pool.broadcast(rights_of_worker, 0) {
        assert_eq!(outcome.unwrap(), now);
    }
    drop(pool);
    show();
}

fn umask_and_limits_follow_at_each_birth(method: StartMethod) {
    let pool = pool(method, 1);
    lower_limits();
    let now = rights();
    assert!(is_exit(pool.apply(leave, ())));
    assert_eq!(pool.apply(rights_of_worker, 0).unwrap(), now);
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    umask(Mode::from_bits_truncate(0o022));
    let now = rights();
    assert!(is_exit(pool.apply(leave, ())));
    assert_eq!(pool.apply(rights_of_worker, 0).unwrap(), now);
}

fn a_limit_of_memory_does_not_raise_that_of_the_caller(method: StartMethod) {
    setrlimit(Resource::RLIMIT_DATA, 900 << 20, 1 << 30).unwrap();
    let build = |bytes| Pool::builder().workers(1).start_method(method).memory_limit(bytes).build();
    assert_eq!(build(2 << 30).unwrap().apply(data_limit, ()).unwrap(), (1 << 30, 1 << 30));
    assert_eq!(build(1 << 29).unwrap().apply(data_limit, ()).unwrap(), (1 << 29, 1 << 29));
}

fn a_template_with_more_rights_refuses(method: StartMethod) {
    if !is_root() {
        return;
    }
    let pool = pool(method, 1);
    become_nobody();
    assert!(is_exit(pool.apply(leave, ())));
    let error = pool.apply(rights_of_worker, 0).unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Start, "{text}");
    for part in ["rights", "template", "user", "build another pool", "StartMethod::ForkServer"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    drop(pool);
    show();
}

/// Returns its process.
#[initializer]
fn made_here() -> u32 {
    std::process::id()
}

#[worker]
fn is_made_here(maker: State<u32>) -> bool {
    *maker == std::process::id()
}

/// The template has the former rights. No worker is forked from it any more.
fn a_reforked_pool_follows_rights(method: StartMethod) {
    if !is_root() {
        return;
    }
    let builder = Pool::builder().start_method(method).workers(1);
    let pool = builder.initializer(made_here, ()).build().unwrap();
    let renewed = || wait::for_it("it is renewed", || !pool.apply(is_made_here, ()).unwrap());
    pool.refork().unwrap();
    renewed();
    become_nobody();
    let now = rights();
    if method == StartMethod::Fork {
        let error = pool.refork().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Start, "{error}");
        assert!(error.to_string().contains("rights"), "{error}");
    } else {
        assert!(is_exit(pool.apply(leave, ())));
        assert_eq!(pool.apply(rights_of_worker, 0).unwrap(), now);
        assert!(pool.apply(is_made_here, ()).unwrap(), "it ran the initializer");
        pool.refork().unwrap();
        renewed();
        assert_eq!(pool.apply(rights_of_worker, 0).unwrap(), now);
    }
    drop(pool);
    show();
}

/// A thread can give up rights for itself. The rights of the thread that built the pool count.
fn what_one_thread_gave_up_is_followed(method: StartMethod) {
    if !is_root() {
        return;
    }
    let pool = pool(method, 1);
    prctl::set_no_new_privs().unwrap();
    let now = rights();
    assert!(is_exit(pool.apply(leave, ())));
    assert_eq!(pool.apply(rights_of_worker, 0).unwrap(), now);
}

fn namespaces_are_followed(method: StartMethod) {
    if !is_root() {
        return;
    }
    let old = pool(method, 1);
    let spaces = CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET;
    unshare(spaces).unwrap();
    let (new, now) = (pool(method, 1), rights());
    assert_eq!(new.apply(rights_of_worker, 0).unwrap(), now);
    // The thread that starts the workers of the older pool is not in these namespaces.
    assert!(is_exit(old.apply(leave, ())));
    match old.apply(rights_of_worker, 0) {
        Ok(rights) => assert_eq!(rights, now),
        Err(error) => assert!(error.to_string().contains("namespaces"), "{error}"),
    }
}

fn a_new_root_is_followed(method: StartMethod) {
    if !is_root() {
        return;
    }
    let old = pool(method, 1);
    let dir = tempfile::tempdir().unwrap();
    let none: Option<&str> = None;
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("/"), dir.path(), none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
    mount(Some("none"), &dir.path().join("mnt"), Some("tmpfs"), MsFlags::empty(), none).unwrap();
    std::fs::write(dir.path().join("mnt/inside"), "").unwrap();
    assert!(!Path::new("/mnt/inside").exists());
    chroot(dir.path()).unwrap();
    std::env::set_current_dir("/").unwrap();
    let new = pool(method, 1);
    assert!(new.apply(is_there, "/mnt/inside").unwrap());
    let outcome = old.apply(leave, ());
    assert!(outcome.is_err());
    // The thread of the older pool is in the former namespace, and has the rights of root.
    match old.apply(is_there, "/mnt/inside") {
        Ok(there) => assert!(there),
        Err(error) => assert!(error.to_string().contains("build another pool"), "{error}"),
    }
    drop((old, new));
    let _ = std::mem::ManuallyDrop::new(dir);
}

fn a_timeout_holds_after_rights_were_given_up(method: StartMethod) {
    if !is_root() {
        return;
    }
    let pool = pool(method, 2);
    become_nobody();
    let begun = Instant::now();
    // With `Fork` no worker replaces the first one, and the pool may have given up.
    for _ in 0..if method == StartMethod::Fork { 1 } else { 3 } {
        let task = pool.task(nap).timeout(Duration::from_millis(200));
        let error = task.apply(40_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("200ms"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    match pool.apply(nap, 1) {
        Err(error) if method == StartMethod::Fork => {
            assert!(error.to_string().contains("rights"), "{error}");
        }
        outcome => assert_eq!(outcome.unwrap(), 1),
    }
    drop(pool);
    show();
}

fn a_pool_can_be_dropped_and_terminated_after_rights_were_given_up(method: StartMethod) {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pools = [pool(method, 1), pool(method, 1)];
    let handles: Vec<_> = pools
        .iter()
        .zip(["a", "b"])
        .map(|(pool, name)| pool.submit(nap_with_a_sign, dir.path().join(name)))
        .collect();
    let started = || ["a", "b"].iter().all(|name| dir.path().join(name).exists());
    assert!(wait::until(Duration::from_secs(20), started));
    // Removing it needs the rights that are given up.
    drop(dir);
    become_nobody();
    let begun = Instant::now();
    let [first, second] = pools;
    drop(first);
    second.terminate();
    drop(second);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    for handle in handles {
        assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Cancelled);
    }
    show();
}

fn a_process_can_be_killed_after_rights_were_given_up(method: StartMethod) {
    if !is_root() {
        return;
    }
    let child = Process::builder().start_method(method).spawn(nap, 50_000).unwrap();
    become_nobody();
    let begun = Instant::now();
    child.kill();
    let error = child.join().unwrap_err();
    assert_eq!(error.signal(), Some(9), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    show();
}

fn a_process_is_asked_to_end_by_its_server(method: StartMethod) {
    if !is_root() {
        return;
    }
    let child = Process::builder().start_method(method).spawn(nap, 50_000).unwrap();
    become_nobody();
    child.terminate();
    let error = child.join().unwrap_err();
    assert_eq!(error.signal(), Some(15), "{error}");
    show();
}

/// When a thread ends, the kernel sends the signal to its children with the rights of that thread.
/// Workers with more rights must end nevertheless.
fn nobody_outlives_a_caller_that_gave_up_its_rights(method: StartMethod) {
    if !is_root() {
        return;
    }
    let mut command = procession_tests::caller(env!("CARGO_BIN_EXE_caller"), "drops", method);
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line, "busy and idle\n");
    assert!(processes::descendants(child.id()).len() >= 2);
    let below: Vec<u32> = processes::descendants(child.id()).iter().map(|e| e.pid).collect();
    processes::signal(child.id(), Signal::SIGKILL);
    child.wait().unwrap();
    let gone = || below.iter().all(|&pid| !processes::is_alive(pid));
    assert!(wait::until(Duration::from_secs(5), gone));
}

fn servers_of_different_rights_are_apart(method: StartMethod) {
    if !is_root() {
        return;
    }
    let build = || {
        let builder = Pool::builder().workers(1).start_method(method);
        builder.preload(preloaded, ()).build().unwrap()
    };
    let parent = |pool: &Pool| {
        let pid = pool.workers()[0].pid();
        processes::entry(pid).unwrap().parent
    };
    let (first, second) = (build(), build());
    assert_eq!(parent(&first), parent(&second));
    become_nobody();
    let (third, fourth) = (build(), build());
    assert_eq!(parent(&third), parent(&fourth));
    assert_ne!(parent(&first), parent(&third));
    let (old, new) = (parent(&first), parent(&third));
    drop((first, second));
    assert!(wait::until(Duration::from_secs(5), || !processes::is_alive(old)));
    assert!(processes::is_alive(new));
    drop((third, fourth));
    show();
}
