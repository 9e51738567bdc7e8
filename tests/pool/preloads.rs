//! The time that preloads may take, and preloads that end their process.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use procession_tests::{EVERY, ONCE, PROCESSES, StartMethod, conformance};
use runtime::{ErrorKind, Pool, State, initializer, worker};

conformance! {
    EVERY => [a_preload_that_takes_too_long_is_told, a_preload_in_time_is_waited_for];
    PROCESSES => [a_preload_that_ends_its_process_is_named, a_preload_that_executes_is_named];
    ONCE => [a_server_that_others_wait_for_is_left_to_them];
}

/// Runs until the directory is removed.
#[initializer]
fn wait_for_the_end(dir: PathBuf) -> u64 {
    while dir.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    5
}

#[initializer]
fn wait_a_little(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Exits with a code, or kills its process by the signal that a negative code names.
#[initializer]
#[allow(unsafe_code, reason = "a signal to this process")]
fn end_with(code: i32) -> u32 {
    if code < 0 {
        // SAFETY: no memory is passed.
        unsafe { nix::libc::raise(-code) };
    }
    std::process::exit(code)
}

/// Replaces its process by another program.
#[initializer]
fn execute(seconds: String) -> u32 {
    use std::os::unix::process::CommandExt;
    panic!("{}", std::process::Command::new("/bin/sleep").arg(seconds).exec())
}

fn with_two(method: StartMethod) -> runtime::PoolBuilder {
    Pool::builder().start_method(method).workers(1).preload(wait_a_little, 1)
}

/// The error names the preload, and how its process ended.
fn assert_names(error: &runtime::Error, name: &str, how: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{text}");
    for part in ["preload", name, how] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

fn a_preload_that_ends_its_process_is_named(method: StartMethod) {
    for code in [0, 4] {
        let error = with_two(method).preload(end_with, code).build().unwrap_err();
        assert_names(&error, "::end_with`", &format!("exited with code {code}"));
        assert_eq!((error.exit_code(), error.signal()), (Some(code), None), "{error}");
    }
    let error = with_two(method).preload(end_with, -9).build().unwrap_err();
    assert_names(&error, "::end_with`", "killed by signal 9");
    assert_eq!((error.exit_code(), error.signal()), (None, Some(9)), "{error}");
}

fn a_preload_that_executes_is_named(method: StartMethod) {
    let error = with_two(method).preload(execute, "0".to_owned()).build().unwrap_err();
    assert_names(&error, "::execute`", "exited with code 0");
    // The executed program does not answer, and is not left behind.
    let (begun, builder) = (Instant::now(), with_two(method).preload(execute, "300".to_owned()));
    let (limit, how) = match method {
        // With `Spawn` a preload is an initializer.
        StartMethod::Spawn => (1, "did not finish"),
        _ => (50, "executed another"),
    };
    let error = builder.init_timeout(Duration::from_secs(limit)).build().unwrap_err();
    assert_names(&error, "::execute`", how);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[worker]
fn state(value: State<u64>) -> u64 {
    *value
}

fn a_preload_that_takes_too_long_is_told(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let builder = Pool::builder().start_method(method).workers(1);
    let builder = builder.preload(wait_for_the_end, dir.path().to_path_buf());
    let begun = Instant::now();
    let error = builder.init_timeout(Duration::from_millis(300)).build().unwrap_err();
    let took = begun.elapsed();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Initializer, "{text}");
    for part in ["preload", "wait_for_the_end`", "300ms", "init_timeout(..)"] {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(took >= Duration::from_millis(300), "{took:?}");
    // Far below the 2 and 5 seconds that a server may take to end.
    assert!(took < Duration::from_millis(1800), "{took:?}");
}

fn a_preload_in_time_is_waited_for(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(1);
    let builder = builder.preload(wait_a_little, 200).init_timeout(Duration::from_secs(30));
    assert_eq!(builder.build().unwrap().apply(state, ()).unwrap(), 200);
}

/// Two pools wait for one server. The pool with the shorter timeout does not end it.
fn a_server_that_others_wait_for_is_left_to_them(method: StartMethod) {
    let build = |time| {
        let builder = Pool::builder().start_method(method).workers(1);
        builder.preload(wait_a_little, 1500).init_timeout(time).build()
    };
    std::thread::scope(|scope| {
        let patient = scope.spawn(|| build(Duration::from_secs(40)));
        let hasty = build(Duration::from_millis(100)).unwrap_err();
        assert_eq!(hasty.kind(), ErrorKind::Initializer);
        let patient = patient.join().unwrap().unwrap();
        assert_eq!(patient.apply(state, ()).unwrap(), 1500);
    });
}
