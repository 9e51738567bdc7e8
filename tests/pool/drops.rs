//! The time at which the values of initializers and preloads are dropped, and the process that drops
//! them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::unistd::ForkResult;
use procession_tests::{EVERY, PROCESSES, SERVED, StartMethod, conformance, processes, wait};
use runtime::{ErrorKind, Pool, PoolBuilder, State, StateMut, initializer, worker};

conformance! {
    EVERY => [
        what_an_initializer_made_is_dropped_by_its_worker,
        what_a_preload_made_is_dropped_by_whoever_made_it,
        a_preload_that_is_changed_and_lost_is_not_dropped_by_its_worker,
    ];
    PROCESSES => [
        a_killed_worker_drops_nothing,
        a_copy_of_a_worker_drops_nothing,
        a_drop_that_does_not_end_holds_up_no_end_of_a_preload,
    ];
    SERVED => [a_worker_that_exits_drops_nothing_of_a_preload];
}

/// Records in a file which process has dropped it.
struct Note {
    dir: PathBuf,
    made_by: u32,
}

impl Drop for Note {
    fn drop(&mut self) {
        let name = format!("{}-{:?}", std::process::id(), std::thread::current().id());
        fs::write(self.dir.join(name), self.made_by.to_string()).unwrap();
    }
}

#[initializer]
fn note(dir: PathBuf) -> Note {
    Note { dir, made_by: std::process::id() }
}

#[worker]
fn made_by(note: State<Note>, _: u32) -> u32 {
    note.made_by
}

#[worker]
fn exit(_note: State<Note>) {
    std::process::exit(0)
}

#[worker]
fn change_and_panic(mut note: StateMut<Note>) {
    note.made_by += 0;
    panic!("half way")
}

#[worker]
fn change_and_lose(note: StateMut<Note>) {
    // Dropped on another thread, from which it cannot be returned to its worker.
    std::thread::scope(|scope| {
        let note = note;
        scope.spawn(move || drop(note));
    });
}

#[worker]
#[allow(unsafe_code, reason = "a copy of a worker")]
fn fork_and_exit() {
    // SAFETY: the copy ends immediately.
    match unsafe { nix::unistd::fork() }.unwrap() {
        ForkResult::Child => std::process::exit(0),
        ForkResult::Parent { child } => drop(waitpid(child, None)),
    }
}

struct Endless;

impl Drop for Endless {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

#[initializer]
fn endless() -> Endless {
    Endless
}

#[worker]
fn ping(_: State<Endless>) -> bool {
    true
}

fn builder(method: StartMethod) -> PoolBuilder {
    Pool::builder().start_method(method).workers(2)
}

/// Returns the processes that have dropped values, and the processes that had created these values.
fn notes(dir: &tempfile::TempDir) -> Vec<(u32, u32)> {
    let entries = fs::read_dir(dir.path()).unwrap().map(Result::unwrap);
    let read = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        let made_by = fs::read_to_string(entry.path()).unwrap();
        (name.split('-').next().unwrap().parse().unwrap(), made_by.parse().unwrap())
    };
    entries.map(read).collect()
}

fn what_an_initializer_made_is_dropped_by_its_worker(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let builder = builder(method).initializer(note, dir.path().to_owned());
    let pool = builder.max_tasks_per_worker(10).build().unwrap();
    let made: BTreeSet<u32> = pool.map(made_by, 0..60).unwrap().into_iter().collect();
    pool.join();
    let notes = notes(&dir);
    assert!(notes.len() >= 6, "{notes:?}");
    assert!(notes.iter().all(|(dropped, made)| dropped == made), "{notes:?}");
    assert!(made.iter().all(|made| notes.iter().any(|(dropped, _)| dropped == made)));
}

fn what_a_preload_made_is_dropped_by_whoever_made_it(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let builder = builder(method).preload(note, dir.path().to_owned());
    let pool = builder.max_tasks_per_worker(10).build().unwrap();
    let made: BTreeSet<u32> = pool.map(made_by, 0..60).unwrap().into_iter().collect();
    let shared = method != StartMethod::Spawn;
    if shared {
        // Several workers have left, because the first two ran at most 20 of the tasks.
        wait::for_it("others are there", || pool.workers().iter().any(|worker| worker.id() > 1));
        assert_eq!(notes(&dir), []);
    }
    drop(pool);
    let notes = notes(&dir);
    assert!(notes.iter().all(|(dropped, made)| dropped == made), "{notes:?}");
    assert!(made.iter().all(|made| notes.iter().any(|(dropped, _)| dropped == made)), "{notes:?}");
    assert_eq!(notes.len() == 1, shared, "{notes:?}");
}

fn a_preload_that_is_changed_and_lost_is_not_dropped_by_its_worker(method: StartMethod) {
    if method == StartMethod::Thread {
        // The value is shared, so that a task cannot have it exclusively.
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method).preload(note, dir.path().to_owned()).build().unwrap();
    let error = pool.apply(change_and_panic, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    pool.broadcast(change_and_lose, ()).into_iter().for_each(|outcome| outcome.unwrap());
    drop(pool);
    let notes = notes(&dir);
    assert!(notes.iter().all(|(dropped, made)| dropped == made), "{notes:?}");
    assert!(!notes.is_empty());
}

fn a_worker_that_exits_drops_nothing_of_a_preload(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method).preload(note, dir.path().to_owned()).build().unwrap();
    assert_eq!(pool.apply(exit, ()).unwrap_err().exit_code(), Some(0));
    assert_eq!(notes(&dir), []);
    drop(pool);
    assert_eq!(notes(&dir).len(), 1);
}

fn a_killed_worker_drops_nothing(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method).initializer(note, dir.path().to_owned()).build().unwrap();
    let pid = pool.workers()[0].pid();
    processes::signal(pid, Signal::SIGKILL);
    wait::for_it("it is gone", || !processes::is_alive(pid));
    assert_eq!(pool.map(made_by, 0..10).unwrap().len(), 10);
    pool.terminate();
    assert_eq!(notes(&dir), []);
}

fn a_copy_of_a_worker_drops_nothing(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let pool = builder(method).initializer(note, dir.path().to_owned()).build().unwrap();
    pool.broadcast(fork_and_exit, ()).into_iter().for_each(|outcome| outcome.unwrap());
    assert_eq!(notes(&dir), []);
    pool.join();
    assert_eq!(notes(&dir).len(), 2);
}

/// The test fails if a process is left.
fn a_drop_that_does_not_end_holds_up_no_end_of_a_preload(method: StartMethod) {
    if method == StartMethod::Spawn {
        // With `Spawn` the value belongs to a worker.
        return;
    }
    let pool = builder(method).preload(endless, ()).build().unwrap();
    assert!(pool.apply(ping, ()).unwrap());
    drop(pool);
}
