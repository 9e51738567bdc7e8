//! A caller gives up rights while its pools work. Later workers have no more rights than the
//! caller, earlier ones continue and can still be ended, and nothing is left.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use runtime::{Error, ErrorKind, Pool, StartMethod, worker};

use crate::grid::Grid;
use crate::group::tell;
use crate::tasks::{double, nap};
use crate::{Options, sys, usage};

/// Each case runs in a separate process.
const CASES: [(&str, &str); 5] = [
    ("user", "setgroups, setgid, setuid under load"),
    ("limits", "umask and RLIMIT_NOFILE under load"),
    ("root", "another root directory under load"),
    ("thread", "no_new_privs of one thread under load"),
    ("killed", "SIGKILL after setuid, workers busy and idle"),
];

pub(crate) fn run(options: &Options<'_>) -> bool {
    if !sys::is_root() {
        println!("not tried: only root has rights to give up");
        return true;
    }
    let limit = Duration::from_secs(60);
    let applies = |_: &str, _| true;
    Grid { command: "rights", cases: &CASES, applies, word: "", limit }.run(options)
}

/// Returns the rights of the calling thread.
fn rights() -> String {
    let fields = ["Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Umask:"];
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap_or_default();
    let lines = status.lines().filter(|line| fields.iter().any(|field| line.starts_with(field)));
    lines.chain([files]).collect::<Vec<_>>().join(" | ")
}

/// Returns the rights, and whether the file exists that only the new root directory has.
#[worker]
fn rights_of_worker(_: u64) -> (String, bool) {
    (rights(), std::path::Path::new(sys::INSIDE).exists())
}

#[worker]
fn leave() {
    std::process::exit(3)
}

pub(crate) fn case(words: &[&str]) -> bool {
    match *words {
        ["child", name] => child(name),
        [name, "killed", _] => {
            sys::adopt_orphans();
            tell("killed", killed(name));
            true
        }
        [name, case, _] => crate::table::method(name).is_some_and(|method| {
            let before = usage::here();
            under_load(method, case);
            sys::show();
            let after = usage::here();
            let left = after.fds > before.fds || after.children > before.children;
            let left = left.then(|| format!("before {before}, after {after}"));
            tell("nothing is left", left.map_or(Ok(()), Err));
            true
        }),
        _ => false,
    }
}

fn build(method: StartMethod) -> Result<Pool, Error> {
    let builder = Pool::builder().workers(2).start_method(method);
    builder.build()
}

fn give_up(case: &str) -> bool {
    sys::lower_limits();
    match case {
        "user" => sys::become_another(),
        "limits" => true,
        "root" => sys::enter_another_root(),
        "thread" => sys::no_new_privs(),
        _ => false,
    }
}

fn under_load(method: StartMethod, case: &str) {
    let (old, other) = match (build(method), build(method)) {
        (Ok(old), Ok(other)) => (old, other),
        (old, other) => {
            let error = old.err().or(other.err()).map(|error| error.to_string());
            return tell("build", Err(error.unwrap_or_default()));
        }
    };
    let processes = method != StartMethod::Thread;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load: Vec<_> = [&old, &other, &other]
            .into_iter()
            .map(|pool| scope.spawn(|| work(pool, &over)))
            .collect();
        std::thread::sleep(Duration::from_millis(60));
        tell("given up", if give_up(case) { Ok(()) } else { Err("refused".to_owned()) });
        if processes {
            // Both existing workers, and one that replaces them.
            for outcome in old.broadcast(leave, ()).into_iter().chain([old.apply(leave, ())]) {
                tell("a worker exits", expect(&outcome, method, case, ErrorKind::Exited));
            }
        }
        std::thread::sleep(Duration::from_millis(60));
        over.store(true, Ordering::Relaxed);
        for thread in load {
            let outcome = thread.join().unwrap_or_else(|_| Err("it panicked".to_owned()));
            // A pool whose starts are refused has no workers any more.
            let excused = cannot_follow(method, case)
                && outcome.as_ref().is_err_and(|text| text.contains("rights"));
            tell("the load", if excused { Ok(()) } else { outcome });
        }
    });
    let now = rights();
    match build(method).and_then(|pool| pool.map(rights_of_worker, 0..8)) {
        Ok(all) => {
            let odd = all
                .into_iter()
                .find(|(own, inside)| processes && *own != now || *inside != sys::is_inside());
            tell("a new pool", odd.map_or(Ok(()), |odd| Err(format!("{odd:?}, not {now}"))));
        }
        Err(error) => tell("a new pool", Err(error.to_string())),
    }
    if processes {
        // The second pool has workers that were started before.
        let begun = Instant::now();
        let outcome = other.task(nap).timeout(Duration::from_millis(100)).apply((40_000, 1));
        let timely = expect(&outcome.map(|_| ()), method, "limits", ErrorKind::TimedOut);
        let late = begun.elapsed() > Duration::from_secs(8);
        tell("a limit of time", if late { Err(format!("{:?}", begun.elapsed())) } else { timely });
        match old.map(rights_of_worker, 0..8) {
            Ok(all) => {
                let odd = all.into_iter().find(|(own, _)| *own != now);
                tell("replacements", odd.map_or(Ok(()), |odd| Err(format!("{odd:?}, not {now}"))));
            }
            Err(error) => {
                // There is an error, and no worker with more rights.
                let said =
                    cannot_follow(method, case) && error.to_string().contains("build another pool");
                tell("replacements", if said { Ok(()) } else { Err(error.to_string()) });
            }
        }
    }
    // A thread cannot be killed, and would be abandoned.
    let busy = other.submit(nap, (if processes { 40_000 } else { 100 }, 1));
    std::thread::sleep(Duration::from_millis(20));
    let begun = Instant::now();
    drop((old, other));
    let late = begun.elapsed() > Duration::from_secs(8);
    tell("dropped in time", if late { Err(format!("{:?}", begun.elapsed())) } else { Ok(()) });
    drop(busy);
}

/// Returns whether replacements are refused: a template keeps its rights, and the thread of a pool
/// cannot leave a root directory that it shares with other threads.
fn cannot_follow(method: StartMethod, case: &str) -> bool {
    method == StartMethod::Fork && case != "limits" || case == "root"
}

/// Makes calls continuously; every value is right.
fn work(pool: &Pool, over: &AtomicBool) -> Result<(), String> {
    while !over.load(Ordering::Relaxed) {
        let values = pool.map_all(double, 0..300);
        for (x, value) in (0..).zip(values) {
            let value = value.map_err(|error| error.to_string())?;
            if value != 2 * x {
                return Err(format!("{value} for {x}"));
            }
        }
    }
    Ok(())
}

/// Returns whether a call failed as expected, or was refused because a template cannot change its
/// rights.
fn expect(
    outcome: &Result<(), Error>,
    method: StartMethod,
    case: &str,
    kind: ErrorKind,
) -> Result<(), String> {
    match outcome {
        Err(error) if error.kind() == kind => Ok(()),
        Err(error)
            if cannot_follow(method, case) && error.to_string().contains("build another pool") =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    }
}

/// The caller that is killed.
fn child(name: &str) -> bool {
    let Some(method) = crate::table::method(name) else { return false };
    let (Ok(busy), Ok(_idle)) = (build(method), build(method)) else { return false };
    let _handle = busy.submit(nap, (600_000, 1));
    while !busy.workers().iter().any(|worker| worker.task().is_some()) {
        std::thread::sleep(Duration::from_millis(1));
    }
    if !sys::become_another() {
        return false;
    }
    println!("busy");
    std::thread::sleep(Duration::from_secs(600));
    true
}

fn killed(name: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| error.to_string();
    let mut command = Command::new("/proc/self/exe");
    command.args(["case", "rights", "child", name]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut line = String::new();
    let stdout = child.stdout.take().ok_or("it is piped")?;
    BufReader::new(stdout).read_line(&mut line).map_err(failed)?;
    let below = usage::descendants(child.id());
    sys::kill(child.id(), libc::SIGKILL);
    child.wait().map_err(failed)?;
    if line != "busy\n" {
        return Err(format!("it did not get busy, but said `{line}`"));
    }
    let end = Instant::now() + Duration::from_secs(1);
    while below.iter().any(|pid| usage::is_alive(*pid)) {
        if Instant::now() > end {
            let alive: Vec<_> = below.into_iter().filter(|pid| usage::is_alive(*pid)).collect();
            alive.iter().for_each(|pid| sys::kill(*pid, libc::SIGKILL));
            return Err(format!("{alive:?} are left"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    while sys::reap_any() {}
    Ok(())
}
