//! Long inputs and outputs, some of which fit no message of the server.

use std::path::Path;
use std::time::Duration;

use procession_tests::tasks::square;
use procession_tests::{ONCE, StartMethod, conformance, wait};
use runtime::{ErrorKind, State, initializer, worker};

use crate::calls::repeat;
use crate::hosts::{Server, is_skipped};

conformance! {
    ONCE => [
        long_values_pass,
        a_long_value_passes_after_the_server_has_lost_everything,
        a_full_store_is_an_error,
        a_long_input_of_an_initializer_passes,
        many_long_inputs_pass_in_turns,
    ];
}

/// Returns the number of bytes of values that the server stores; `None` if it has never stored one.
fn stored(server: &Server) -> Option<u64> {
    fn sum(folder: &Path) -> Option<u64> {
        let mut found = None;
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.to_string_lossy().ends_with("_values/msgs") {
                let files = std::fs::read_dir(path).into_iter().flatten().flatten();
                let len = files.map(|file| file.metadata().map_or(0, |meta| meta.len())).sum();
                return Some(len);
            }
            found = found.or_else(|| sum(&path));
        }
        found
    }
    sum(&server.path().join("store"))
}

#[worker]
fn length(bytes: Vec<u8>) -> usize {
    bytes.len()
}

/// Sleeps, and returns what it got.
#[worker]
fn slowly(bytes: Vec<u8>, millis: u64) -> Vec<u8> {
    std::thread::sleep(Duration::from_millis(millis));
    bytes
}

#[initializer]
fn keep(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

#[worker]
fn kept(bytes: State<Vec<u8>>) -> usize {
    bytes.len()
}

fn long_values_pass(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agents = [server.agent(2), server.agent(1)];
    let pool = server.pool(3);
    // The messages of the server have at most 1 MiB.
    let text = "x".repeat(900_000);
    let texts = pool.map(repeat, vec![(text.as_str(), 1); 5]).unwrap();
    assert!(texts.iter().all(|came| *came == text));
    assert_eq!(stored(&server), None, "these fit a message");
    let inputs = [
        ("ab".repeat(800_000), 1),
        ("ab".to_owned(), 800_000),
        ("c".to_owned(), 1),
        ("de".repeat(4_000_000), 1),
    ];
    let wanted: Vec<String> = inputs.iter().map(|(text, count)| text.repeat(*count)).collect();
    for chunk in [1, 4] {
        assert!(pool.task(repeat).chunk_size(chunk).map(inputs.clone()).unwrap() == wanted);
    }
    let lengths = pool.broadcast(length, vec![1; 3_000_000]);
    assert!(lengths.into_iter().map(Result::unwrap).eq([3_000_000; 3]));
    assert!(stored(&server).is_some());
    pool.join();
    wait::for_it("no value is left", || stored(&server).is_some_and(|bytes| bytes < 500_000));
}

fn a_long_value_passes_after_the_server_has_lost_everything(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let mut server = Server::start();
    let _agent = server.agent(1);
    let pool = server.pool(1);
    let call = pool.map_async(slowly, [(vec![1; 2_000_000], 1_500), (vec![2; 2_000_000], 0)]);
    std::thread::sleep(Duration::from_millis(1_000));
    server.kill();
    std::fs::remove_dir_all(server.path().join("store")).unwrap();
    server.start_again();
    let came = call.wait().unwrap();
    assert!(came[0] == vec![1; 2_000_000] && came[1] == vec![2; 2_000_000]);
}

fn a_full_store_is_an_error(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::full(6 << 20);
    let _agent = server.agent(1);
    let pool = server.builder().agents_timeout(Duration::from_secs(2)).build().unwrap();
    let error = pool.apply(length, vec![1; 10 << 20]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cluster);
    assert!(error.to_string().contains("does not store a value of"), "{error}");
    let error = pool.apply(repeat, ("ab", 5 << 20)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cluster);
    assert!(error.to_string().contains("does not store its output of"), "{error}");
    assert!(error.host().is_some());
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    assert_eq!(pool.apply(length, vec![1; 2 << 20]).unwrap(), 2 << 20);
}

fn a_long_input_of_an_initializer_passes(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let _agent = server.agent(2);
    let pool = server.builder().workers(2).initializer(keep, vec![1; 3_000_000]).build().unwrap();
    assert_eq!(pool.map(kept, [(); 4]).unwrap(), [3_000_000; 4]);
}

fn many_long_inputs_pass_in_turns(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let mut server = Server::start();
    // On a busy machine, the messages of a second may take several.
    server.env.push(("PROCESSION_HOST_TIMEOUT", "60".to_owned()));
    let _agent = server.agent(6);
    let pool = server.pool(6);
    // Together these are more than the program sends at the same time.
    let inputs = (0..10).map(|n| vec![1; (28 << 20) + n]);
    let lengths = pool.task(length).chunk_size(1).map(inputs).unwrap();
    assert!(lengths.into_iter().eq((0..10).map(|n| (28 << 20) + n)));
}
