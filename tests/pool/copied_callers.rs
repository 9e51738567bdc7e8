//! Copies of callers: a copied pool refuses everything, and continues in the original process.

use std::time::Duration;

use nix::libc;
use procession_tests::tasks::{nap, square};
use procession_tests::{EVERY, StartMethod, conformance, pool};
use runtime::{ErrorKind, Pool, Process};

use super::copies::{By, fork, nothing, reap};

conformance! {
    EVERY => [
        a_copy_of_the_caller_is_refused,
        a_copy_of_the_caller_made_behind_the_c_library_is_refused,
        a_copy_of_the_caller_made_by_its_inputs_is_refused,
    ];
}

/// Uses everything that a copy of the caller has of a pool, and returns what went wrong.
fn use_all(pool: Pool, mut handles: [runtime::Handle<u64>; 3], child: Process<u64>) -> i32 {
    let is_refused = |error: runtime::Error| {
        error.kind() == ErrorKind::Configuration && error.to_string().contains("forked from")
    };
    let mut checks = vec![is_refused(pool.map(square, 0..5).unwrap_err())];
    checks.push(pool.map_all(square, 0..5).into_iter().all(|o| is_refused(o.unwrap_err())));
    checks.push(is_refused(pool.apply(square, 5).unwrap_err()));
    checks.push(is_refused(pool.submit(square, 5).wait().unwrap_err()));
    checks.push(is_refused(pool.map_async(square, 0..5).wait().unwrap_err()));
    checks.push(is_refused(pool.imap(square, 0..5).next().unwrap().unwrap_err()));
    checks.push(is_refused(pool.imap_unordered(square, 0..5).next().unwrap().1.unwrap_err()));
    checks.push(is_refused(pool.broadcast(square, 5).pop().unwrap().unwrap_err()));
    checks.push(is_refused(pool.resize(1).unwrap_err()));
    checks.push(is_refused(pool.start_method().unwrap_err()));
    checks.push(pool.workers().is_empty());
    drop(format!("{pool:?} {child:?} {:?}", handles[0]));
    checks.push(!handles[0].cancel());
    let [mut first, second, third] = handles;
    checks.push(is_refused(first.wait_timeout(Duration::from_millis(1)).unwrap().unwrap_err()));
    checks.push(is_refused(second.wait().unwrap_err()));
    drop(third);
    pool.close();
    pool.join();
    pool.terminate();
    drop(pool);
    child.kill();
    child.terminate();
    checks.push(!child.is_alive());
    checks.push(is_refused(child.join().unwrap_err()));
    checks.iter().position(|good| !good).map_or(0, |at| 10 + at as i32)
}

fn refused(method: StartMethod, by: By) {
    let pool = pool(method, 2);
    let child = Process::builder().start_method(method).spawn(nap, 300).unwrap();
    let handles = [1, 2, 3].map(|x| pool.submit(square, x));
    match fork(by) {
        None => {
            let used = std::panic::AssertUnwindSafe(|| use_all(pool, handles, child));
            let code = std::panic::catch_unwind(used).unwrap_or(9);
            end_now(code)
        }
        Some(copy) => assert_eq!(reap(copy), 0),
    }
    let squares = handles.map(|handle| handle.wait().unwrap());
    assert_eq!(squares, [1, 4, 9]);
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
    assert_eq!(child.join().unwrap(), 300);
}

#[allow(unsafe_code, reason = "the end of a copy")]
fn end_now(code: i32) -> ! {
    // SAFETY: the call ends the process.
    unsafe { libc::_exit(code) }
}

fn a_copy_of_the_caller_is_refused(method: StartMethod) {
    refused(method, By::Library);
}

fn a_copy_of_the_caller_made_behind_the_c_library_is_refused(method: StartMethod) {
    refused(method, By::Kernel);
}

fn a_copy_of_the_caller_made_by_its_inputs_is_refused(method: StartMethod) {
    let pool = pool(method, 2);
    let me = std::process::id();
    let is_copy = || std::process::id() != me;
    let check = |outcome: runtime::Result<Vec<u64>>| match outcome {
        Err(error) if is_copy() => {
            end_now(if error.kind() == ErrorKind::Configuration { 0 } else { 8 })
        }
        _ if is_copy() => end_now(7),
        outcome => assert!(outcome.unwrap().into_iter().eq((0..50).map(|x| x * x))),
    };
    let inputs = || {
        (0..50).inspect(|x| {
            if *x == 25
                && let Some(copy) = fork(By::Library)
            {
                assert_eq!(reap(copy), 0);
            }
        })
    };
    check(pool.map(square, inputs()));
    check(pool.map_async(square, inputs()).wait());
    check(pool.imap(square, inputs()).collect());
    check(pool.map_all(square, inputs()).into_iter().collect());
    pool.apply(nothing, ()).unwrap();
}
