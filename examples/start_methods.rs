//! cargo run --release --example start_methods
//!
//! The properties that workers inherit from the process that started them, observed under each start method.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Barrier, LazyLock, Mutex, OnceLock};
use std::{error::Error, process, thread};

use runtime::StartMethod::{self, Fork, ForkServer, Spawn, Thread};
use runtime::{Pool, StateMut, initializer, worker};

static CONSTANT: u32 = 42;
static MADE: OnceLock<String> = OnceLock::new();
static CHANGED: AtomicU32 = AtomicU32::new(0);
static TASKS: AtomicU32 = AtomicU32::new(0);
static LOADED_IN: LazyLock<u32> = LazyLock::new(process::id); // at first use, like an import
static LOCK: Mutex<()> = Mutex::new(());
static LOCKED: Barrier = Barrier::new(2);

/// The process in which the initializer ran, and the process in which each task ran.
struct Visits(Vec<u32>);

#[initializer]
fn initialize() -> Visits {
    Visits(vec![process::id()])
}

/// The process id of the worker, and the properties that it can observe.
#[worker]
fn look(mut visits: StateMut<Visits>, main: u32, address: usize) -> (u32, Vec<(String, bool)>) {
    let pid = process::id();
    visits.0.push(pid);
    let tasks_before = TASKS.fetch_add(1, Relaxed);
    let findings = [
        ("new process id", pid != main),
        ("statics and functions present", CONSTANT == 42),
        ("worker reused for several inputs", visits.0.len() > 2),
        ("static keeps what a task changed", tasks_before > 0),
        ("statics loaded anew", pid != main && *LOADED_IN == pid),
        ("addresses as in main", (&raw const LOCK).addr() == address),
        ("has what main made", MADE.get().is_some()),
        ("has what main changed", CHANGED.load(Relaxed) == 1),
        ("initializer ran in it", visits.0[0] == pid),
        ("lock held by a thread is held", LOCK.try_lock().is_err()),
    ];
    let findings = findings.map(|(what, yes)| (what.to_owned(), yes));
    (pid, findings.into())
}

fn start(method: StartMethod) -> runtime::Result<Pool> {
    let settings = Pool::builder().workers(2).initializer(initialize, ());
    settings.start_method(method).build()
}

fn main() -> Result<(), Box<dyn Error>> {
    let main = *LOADED_IN;
    MADE.get_or_init(|| "on the heap".to_owned());
    CHANGED.store(1, Relaxed);

    // All pools are built before this process has a second thread, which `Fork` requires.
    let pools = [ForkServer, Spawn, Fork, Thread].map(start);
    thread::Builder::new().name("holder".into()).spawn(|| {
        let _guard = LOCK.lock();
        LOCKED.wait();
        thread::park(); // and never unlocks it
    })?;
    LOCKED.wait();

    let mut columns = Vec::new();
    for pool in pools {
        let pool = pool?;
        let before = TASKS.load(Relaxed);
        let ask = || pool.broadcast(look, (main, (&raw const LOCK).addr()));
        ask(); // twice, so that every worker runs several inputs
        let answers: Vec<_> = ask().into_iter().collect::<Result<_, _>>()?;
        let pids: Vec<u32> = answers.iter().map(|answer| answer.0).collect();
        println!("{}: main is {main}, workers are {pids:?}", pool.start_method()?);
        let (_, mut column) = answers.into_iter().next().expect("two workers");
        let updated = TASKS.load(Relaxed) > before;
        column.insert(8, ("main sees what a task changed".to_owned(), updated));
        columns.push(column);
    }
    println!("{:32}  forkserver  spawn  fork  thread", "");
    for (row, (what, _)) in columns[0].iter().enumerate() {
        let cells = [0, 1, 2, 3].map(|method| columns[method][row].1);
        let [a, b, c, d] = cells.map(|yes| if yes { "yes" } else { "no" });
        println!("{what:32}  {a:10}  {b:5}  {c:4}  {d}");
    }

    // A copy of this process would not contain the thread, but its lock would be locked.
    println!("fork now: {}", start(Fork).expect_err("refused"));
    Ok(())
}
