//! The standard streams of a process.

use std::fs::File;
use std::io::{PipeWriter, Read, Seek, Write};
use std::sync::Mutex;
use std::time::Duration;

use procession_tests::{PROCESSES, StartMethod, conformance};
use runtime::{ErrorKind, Pool, Stdio, worker};

use super::{block_on, builder, fail, sleep_long, square};

conformance! {
    // A thread shares the streams of the caller and cannot be killed.
    PROCESSES => [
        standard_output_is_captured,
        standard_error_is_captured,
        output_goes_to_a_file,
        a_closed_output_is_no_failure,
        much_output_passes,
        a_panic_is_not_printed_by_the_child,
        standard_input_is_piped,
        standard_input_is_a_file_or_nothing,
        an_input_that_is_not_taken_ends_with_the_join,
        a_taken_input_ends_whatever_starts_later,
        a_taken_output_breaks_whatever_starts_later,
        a_taken_pipe_is_of_no_use_in_a_worker,
    ];
}

#[worker]
fn say(text: &str) -> usize {
    println!("{text}");
    print!("no end of line");
    eprintln!("err {text}");
    text.len()
}

#[worker]
fn say_much(lines: u32) {
    let mut out = std::io::stdout().lock();
    for line in 0..lines {
        writeln!(out, "{line:0>99}").unwrap();
    }
}

fn text_of(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

fn standard_output_is_captured(method: StartMethod) {
    let mut child =
        builder(method).stdout(Stdio::Piped).stderr(Stdio::Null).spawn(say, "hello").unwrap();
    let pipe = child.take_stdout().expect("piped");
    assert!(child.take_stdout().is_none());
    assert!(child.take_stderr().is_none());
    assert_eq!(text_of(pipe), "hello\nno end of line");
    assert_eq!(child.join().unwrap(), 5);
}

fn standard_error_is_captured(method: StartMethod) {
    let mut child =
        builder(method).stdout(Stdio::Null).stderr(Stdio::Piped).spawn(say, "hello").unwrap();
    let pipe = child.take_stderr().expect("piped");
    assert_eq!(text_of(pipe), "err hello\n");
    assert_eq!(child.join().unwrap(), 5);
}

fn output_goes_to_a_file(method: StartMethod) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("out");
    let file = File::create(&path).unwrap();
    let child = builder(method).stdout(file).spawn(say, "to a file").unwrap();
    assert_eq!(child.join().unwrap(), 9);
    assert_eq!(std::fs::read_to_string(path).unwrap(), "to a file\nno end of line");
}

/// PROC-22.
fn a_closed_output_is_no_failure(method: StartMethod) {
    let mut child = builder(method).stdout(Stdio::Piped).spawn(square, 3).unwrap();
    drop(child.take_stdout());
    assert_eq!(child.join().unwrap(), 9);
    // A process that writes to the closed pipe gets an error, and panics in `println!`.
    let mut child = builder(method).stdout(Stdio::Piped).spawn(say_much, 1000).unwrap();
    drop(child.take_stdout());
    let error = child.join().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked, "{error}");
    assert!(error.to_string().contains("Broken pipe"), "{error}");
}

fn much_output_passes(method: StartMethod) {
    let mut child = builder(method).stdout(Stdio::Piped).spawn(say_much, 10_000).unwrap();
    let text = text_of(child.take_stdout().unwrap());
    assert_eq!(text.len(), 1_000_000);
    child.join().unwrap();
}

fn a_panic_is_not_printed_by_the_child(method: StartMethod) {
    let mut child =
        builder(method).stderr(Stdio::Piped).spawn(fail, "told once".to_owned()).unwrap();
    let text = text_of(child.take_stderr().unwrap());
    assert_eq!(text, "");
    assert_eq!(child.join().unwrap_err().panic().unwrap().message, "told once");
}

#[worker]
fn read_all() -> String {
    text_of(std::io::stdin())
}

fn standard_input_is_piped(method: StartMethod) {
    let mut child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    let mut pipe = child.take_stdin().expect("piped");
    assert!(child.take_stdin().is_none());
    pipe.write_all(b"to the child").unwrap();
    assert!(child.wait_timeout(Duration::from_millis(50)).is_none(), "it waits for the end");
    drop(pipe);
    assert_eq!(child.join().unwrap(), "to the child");
}

fn standard_input_is_a_file_or_nothing(method: StartMethod) {
    let child = builder(method).stdin(Stdio::Null).spawn(read_all, ()).unwrap();
    assert_eq!(child.join().unwrap(), "");
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"from a file").unwrap();
    file.rewind().unwrap();
    let child = builder(method).stdin(file).spawn(read_all, ()).unwrap();
    assert_eq!(child.join().unwrap(), "from a file");
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"from a pipe").unwrap();
    drop(writer);
    let child = builder(method).stdin(reader).spawn(read_all, ()).unwrap();
    assert_eq!(child.join().unwrap(), "from a pipe");
}

fn an_input_that_is_not_taken_ends_with_the_join(method: StartMethod) {
    let child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    assert_eq!(child.join().unwrap(), "");
    let mut child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    assert_eq!(block_on(&mut child).unwrap(), "");
}

fn a_taken_input_ends_whatever_starts_later(method: StartMethod) {
    let mut child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    let mut pipe = child.take_stdin().expect("piped");
    let second = pipe.try_clone().unwrap();
    let pool = Pool::builder().start_method(method).workers(1).build().unwrap();
    let later = builder(method).spawn(sleep_long, ()).unwrap();
    pipe.write_all(b"all of it").unwrap();
    drop((pipe, second));
    let text = child.wait_timeout(Duration::from_secs(20)).expect("it reads the end of its input");
    assert_eq!(text.unwrap(), "all of it");
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    later.kill();
}

fn a_taken_output_breaks_whatever_starts_later(method: StartMethod) {
    let mut child = builder(method).stdout(Stdio::Piped).spawn(say_much, 1000).unwrap();
    let pipe = child.take_stdout().expect("piped");
    let pool = Pool::builder().start_method(method).workers(1).build().unwrap();
    drop(pipe);
    let outcome = child.wait_timeout(Duration::from_secs(20)).expect("it cannot write on");
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains("Broken pipe"), "{error}");
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

static TAKEN: Mutex<Option<PipeWriter>> = Mutex::new(None);

/// Writes to the pipe of the caller, if the memory of the worker contains it.
#[worker]
fn write_to_taken() -> Option<bool> {
    // Dropping the pipe checks that its descriptor is still open.
    TAKEN.lock().unwrap().take().map(|mut pipe| pipe.write_all(b"of the worker").is_ok())
}

fn a_taken_pipe_is_of_no_use_in_a_worker(method: StartMethod) {
    let mut child = builder(method).stdin(Stdio::Piped).spawn(read_all, ()).unwrap();
    *TAKEN.lock().unwrap() = child.take_stdin();
    let pool = Pool::builder().start_method(method).workers(1).build().unwrap();
    let expected = (method == StartMethod::Fork).then_some(false);
    assert_eq!(pool.apply(write_to_taken, ()).unwrap(), expected);
    drop(TAKEN.lock().unwrap().take());
    assert_eq!(child.join().unwrap(), "");
}
