//! How long preloads may take.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use procession_tests::{EVERY, ONCE, StartMethod, conformance};
use runtime::{ErrorKind, Pool, State, initializer, worker};

conformance! {
    EVERY => [a_preload_that_takes_too_long_is_told, a_preload_in_time_is_waited_for];
    ONCE => [a_server_that_others_wait_for_is_left_to_them];
}

/// Takes until the directory is gone.
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

/// Two pools wait for one server: the one with less patience does not end it.
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
