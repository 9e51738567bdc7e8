//! The limits of control groups.

use std::time::Duration;

use procession_tests::groups::ControlGroup;
use procession_tests::tasks::square;
use procession_tests::{PROCESSES, StartMethod, builder, conformance, pool};
use runtime::{ErrorKind, worker};

conformance! {
    PROCESSES => [
        a_worker_killed_for_lack_of_memory_is_reported_so,
        a_limit_of_processes_is_named,
    ];
}

/// Touches that many bytes.
#[worker]
fn use_memory(bytes: usize) -> usize {
    vec![1_u8; bytes].iter().map(|&byte| usize::from(byte)).sum()
}

#[worker]
fn kill_itself() {
    procession_tests::processes::signal(std::process::id(), nix::sys::signal::Signal::SIGKILL);
    std::thread::sleep(Duration::from_secs(600));
}

const LIMIT: usize = 64 << 20;

fn a_worker_killed_for_lack_of_memory_is_reported_so(method: StartMethod) {
    let Some(group) = ControlGroup::new("memory") else {
        println!("skipped: this user may not create a control group");
        return;
    };
    assert!(group.set(["memory.limit_in_bytes", "memory.max"], &LIMIT.to_string()));
    // Nothing may be swapped out, which would take long.
    group.set(["memory.memsw.limit_in_bytes", "memory.swap.max"], "0");
    group.enter().unwrap();
    let pool = pool(method, 1);
    assert_eq!(pool.apply(use_memory, 1 << 20).unwrap(), 1 << 20);
    let error = pool.apply(use_memory, 2 * LIMIT).unwrap_err();
    let text = error.to_string();
    assert_eq!((error.kind(), error.signal()), (ErrorKind::Signaled, Some(9)), "{text}");
    assert!(text.contains("OOM killer") && text.contains(&format!("{LIMIT} bytes")), "{text}");
    // The next death has another reason.
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    std::thread::sleep(Duration::from_millis(1100));
    let text = pool.apply(kill_itself, ()).unwrap_err().to_string();
    assert!(!text.contains("OOM"), "{text}");
    drop(pool);
}

fn a_limit_of_processes_is_named(method: StartMethod) {
    let Some(group) = ControlGroup::new("pids") else {
        println!("skipped: this user may not create a control group");
        return;
    };
    // This thread, the dispatcher, a server, and fewer workers than are asked for.
    assert!(group.set(["pids.max", "pids.max"], "5"));
    group.enter().unwrap();
    let error = builder(method, 16).build().unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Start, "{text}");
    assert!(
        text.contains("may have 5 processes and threads") && text.contains("pids.max"),
        "{text}"
    );
}
