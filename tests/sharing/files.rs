//! Files, sockets and pipes as parameters and results.

use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, has_processes, pool};
use runtime::{ErrorKind, Fd, Pool, PoolBuilder, Process, State, initializer, worker};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        a_worker_writes_to_a_pipe_of_the_caller,
        a_worker_returns_a_file_that_it_opened,
        a_file_passes_through_a_worker,
        files_stand_in_structs_and_vectors,
        many_files_pass_in_a_map,
        a_pipe_ends_when_the_task_has_an_outcome,
        an_initializer_takes_a_file,
        a_preload_takes_a_file,
        a_process_takes_a_file_and_returns_one,
        a_worker_of_a_worker_takes_a_file,
        a_task_that_fails_gives_its_file_back,
        an_output_that_cannot_be_encoded_holds_no_file,
        a_value_with_too_many_files_is_refused,
        descriptors_are_as_before,
        every_worker_takes_the_file_of_a_broadcast,
        a_stream_of_results_holds_files,
    ];
    PROCESSES => [
        a_file_of_a_killed_worker_is_closed,
        a_retried_input_has_its_file,
        a_descriptor_above_256_passes,
        a_task_that_closes_everything_loses_its_way_to_files,
        a_worker_that_lost_its_way_to_files_takes_one_input,
        a_caller_without_room_for_files_is_told_of_the_task,
    ];
    &[StartMethod::ForkServer] => [a_forkserver_takes_16_files_for_its_preloads];
}

#[worker]
fn write_line(to: Fd<PipeWriter>, line: &str) {
    writeln!(to.into_inner(), "{line}").unwrap();
}

fn file_with(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn text_of(mut file: File) -> String {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[worker]
fn create(text: &str) -> Fd<File> {
    Fd::new(file_with(text)).unwrap()
}

#[worker]
fn append(file: Fd<File>, text: &str) -> Fd<File> {
    let mut file = file.into_inner();
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Fd::new(file).unwrap()
}

#[derive(Serialize, Deserialize)]
struct Pair {
    name: String,
    files: Vec<Option<Fd<File>>>,
}

#[worker]
fn swap(mut pair: Pair) -> Pair {
    pair.files.reverse();
    pair.name += "!";
    pair
}

#[worker]
fn die(file: Fd<PipeWriter>) {
    let _file = file;
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[worker]
fn die_once(file: Fd<File>) -> usize {
    let mut file = file.into_inner();
    let before = file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(b"x").unwrap();
    if before == 0 {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    before as usize
}

#[worker]
fn panic_with(file: Fd<File>) {
    let _file = file;
    panic!("no");
}

#[initializer]
fn keep(file: Fd<File>) -> Fd<File> {
    file
}

#[worker]
fn append_to_kept(file: State<Fd<File>>, text: &str) -> Fd<File> {
    let mut file = Fd::clone(&file).into_inner();
    file.write_all(text.as_bytes()).unwrap();
    Fd::new(file).unwrap()
}

#[worker]
fn in_a_pool_of_its_own(method: u8, to: Fd<PipeWriter>) {
    let method = EVERY[method as usize];
    let inner = pool(method, 1);
    inner.apply(write_line, (to, "from within")).unwrap();
}

fn read_all(mut reader: PipeReader) -> String {
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    text
}

fn a_worker_writes_to_a_pipe_of_the_caller(method: StartMethod) {
    let pool = pool(method, 2);
    let (reader, writer) = std::io::pipe().unwrap();
    pool.apply(write_line, (Fd::new(writer).unwrap(), "hello")).unwrap();
    assert_eq!(read_all(reader), "hello\n");
}

fn a_worker_returns_a_file_that_it_opened(method: StartMethod) {
    let file = pool(method, 1).apply(create, "made there").unwrap();
    assert_eq!(text_of(file.into_inner()), "made there");
}

fn a_file_passes_through_a_worker(method: StartMethod) {
    let pool = pool(method, 2);
    let mut file = Fd::new(file_with("a")).unwrap();
    for text in ["b", "c", "d"] {
        file = pool.apply(append, (file, text)).unwrap();
    }
    assert_eq!(text_of(file.into_inner()), "abcd");
}

fn files_stand_in_structs_and_vectors(method: StartMethod) {
    let file = |text| Some(Fd::new(file_with(text)).unwrap());
    let pair = Pair { name: "three".to_owned(), files: vec![file("1"), None, file("3")] };
    let swapped = pool(method, 1).apply(swap, pair).unwrap();
    let texts: Vec<_> =
        swapped.files.into_iter().map(|file| file.map(|file| text_of(file.into_inner()))).collect();
    assert_eq!(swapped.name, "three!");
    assert_eq!(texts, [Some("3".to_owned()), None, Some("1".to_owned())]);
}

fn many_files_pass_in_a_map(method: StartMethod) {
    let pool = pool(method, 2);
    let texts: Vec<String> = (0..300).map(|n| n.to_string()).collect();
    let made = pool.map(create, &texts).unwrap();
    let inputs = made.into_iter().map(|file| (file, "!"));
    let ended = pool.map(append, inputs).unwrap();
    for (file, text) in ended.into_iter().zip(texts) {
        assert_eq!(text_of(file.into_inner()), text + "!");
    }
}

fn a_pipe_ends_when_the_task_has_an_outcome(method: StartMethod) {
    let pool = pool(method, 1);
    let (reader, writer) = std::io::pipe().unwrap();
    let handle = pool.submit(write_line, (Fd::new(writer).unwrap(), "one"));
    // No thread waits for the pool at this time.
    assert_eq!(read_all(reader), "one\n");
    handle.wait().unwrap();
}

fn an_initializer_takes_a_file(method: StartMethod) {
    let file = Fd::new(file_with("")).unwrap();
    let pool = builder(method).initializer(keep, file.clone()).build().unwrap();
    pool.apply(append_to_kept, "one,").unwrap();
    // A worker that starts later receives the file too.
    pool.resize(2).unwrap();
    for result in pool.broadcast(append_to_kept, "two,") {
        result.unwrap();
    }
    assert_eq!(text_of(file.into_inner()), "one,two,two,");
}

fn builder(method: StartMethod) -> PoolBuilder {
    Pool::builder().start_method(method).workers(1)
}

#[initializer]
fn keep_all(files: Vec<Fd<File>>) -> Vec<Fd<File>> {
    files
}

#[worker]
fn kept_files(files: State<Vec<Fd<File>>>) -> usize {
    files.len()
}

/// The descriptors are sent with the setup of the server, in one message.
fn a_forkserver_takes_16_files_for_its_preloads(method: StartMethod) {
    let files = |count| (0..count).map(|_| Fd::new(file_with("")).unwrap()).collect::<Vec<_>>();
    let pool = builder(method).preload(keep_all, files(16)).build().unwrap();
    assert_eq!(pool.apply(kept_files, ()).unwrap(), 16);
    let error = builder(method).preload(keep_all, files(17)).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("17 handles"), "{error}");
}

fn a_preload_takes_a_file(method: StartMethod) {
    let file = Fd::new(file_with("")).unwrap();
    let pool = builder(method).preload(keep, file.clone()).build().unwrap();
    let back = pool.apply(append_to_kept, "one").unwrap();
    assert_eq!(text_of(back.into_inner()), "one");
    assert_eq!(text_of(file.into_inner()), "one");
}

fn a_process_takes_a_file_and_returns_one(method: StartMethod) {
    let file = Fd::new(file_with("a")).unwrap();
    let process = Process::builder().start_method(method).spawn(append, (file, "b")).unwrap();
    assert_eq!(text_of(process.join().unwrap().into_inner()), "ab");
}

fn a_worker_of_a_worker_takes_a_file(method: StartMethod) {
    let outer = pool(method, 1);
    for (number, inner) in (0..).zip(EVERY) {
        // A worker process has no other thread, so it can be forked.
        if *inner == StartMethod::Fork && !has_processes(method) {
            continue;
        }
        let (reader, writer) = std::io::pipe().unwrap();
        outer.apply(in_a_pool_of_its_own, (number, Fd::new(writer).unwrap())).unwrap();
        assert_eq!(read_all(reader), "from within\n", "{inner}");
    }
}

fn a_task_that_fails_gives_its_file_back(method: StartMethod) {
    let pool = pool(method, 1);
    let file = Fd::new(file_with("kept")).unwrap();
    let error = pool.apply(panic_with, file.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(text_of(file.into_inner()), "kept");
}

#[derive(Debug, Serialize, Deserialize)]
struct Refuses(Fd<File>, #[serde(serialize_with = "refuse")] u8);

fn refuse<S: serde::Serializer>(_: &u8, _: S) -> Result<S::Ok, S::Error> {
    Err(serde::ser::Error::custom("not this one"))
}

#[worker]
fn refusing(file: Fd<File>) -> Refuses {
    Refuses(file, 0)
}

fn an_output_that_cannot_be_encoded_holds_no_file(method: StartMethod) {
    let pool = pool(method, 1);
    let file = Fd::new(file_with("")).unwrap();
    let error = pool.apply(refusing, file.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    // The next result is not mistaken for the refused one.
    assert_eq!(text_of(pool.apply(create, "next").unwrap().into_inner()), "next");
}

#[worker]
fn copies(file: Fd<File>, count: usize) -> Vec<Fd<File>> {
    vec![file; count]
}

/// Returns `count` files, each of which was opened separately.
#[worker]
fn different(file: Fd<File>, count: usize) -> Vec<Fd<File>> {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, most, most).unwrap();
    let file = file.into_inner();
    (0..count).map(|_| Fd::new(file.try_clone().unwrap()).unwrap()).collect()
}

fn a_value_with_too_many_files_is_refused(method: StartMethod) {
    let pool = pool(method, 1);
    let file = Fd::new(file_with("")).unwrap();
    // Copies of one file count as one object.
    assert_eq!(pool.apply(copies, (&file, 1025_usize)).unwrap().len(), 1025);
    let error = pool.apply(different, (&file, 1025_usize)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
    assert!(error.to_string().contains("1024 handles"), "{error}");
    assert_eq!(pool.apply(copies, (&file, 1_usize)).unwrap().len(), 1);
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[worker]
fn open_files_there(_: ()) -> usize {
    open_files()
}

fn descriptors_are_as_before(method: StartMethod) {
    let pool = pool(method, 1);
    let there = pool.apply(open_files_there, ()).unwrap();
    let here = open_files();
    for n in 0..200 {
        let file = pool.apply(create, "").unwrap();
        let file = pool.apply(append, (file, "x")).unwrap();
        if n % 2 == 0 {
            drop(pool.submit(append, (file, "y")));
        }
    }
    pool.apply(append, (pool.apply(create, "").unwrap(), "")).unwrap();
    assert_eq!(pool.apply(open_files_there, ()).unwrap(), there);
    assert_eq!(open_files(), here);
}

fn every_worker_takes_the_file_of_a_broadcast(method: StartMethod) {
    let pool = pool(method, 3);
    let (reader, writer) = std::io::pipe().unwrap();
    let results = pool.broadcast(write_line, (Fd::new(writer).unwrap(), "x"));
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // A line is written in two parts, which may mix with those of other workers.
    assert_eq!(read_all(reader).matches('x').count(), 3);
}

fn a_stream_of_results_holds_files(method: StartMethod) {
    let pool = pool(method, 2);
    let texts: Vec<String> = (0..50).map(|n| n.to_string()).collect();
    for (file, text) in pool.imap(create, &texts).zip(&texts) {
        assert_eq!(text_of(file.unwrap().into_inner()), *text);
    }
}

fn a_file_of_a_killed_worker_is_closed(method: StartMethod) {
    let pool = pool(method, 1);
    let (reader, writer) = std::io::pipe().unwrap();
    let error = pool.apply(die, Fd::new(writer).unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signaled);
    assert_eq!(read_all(reader), "");
}

fn a_retried_input_has_its_file(method: StartMethod) {
    let pool = pool(method, 1);
    let file = Fd::new(file_with("")).unwrap();
    assert_eq!(pool.task(die_once).retries(1).apply(file).unwrap(), 1);
}

fn a_descriptor_above_256_passes(method: StartMethod) {
    let pool = pool(method, 1);
    let many: Vec<File> = (0..300).map(|_| File::open("/dev/null").unwrap()).collect();
    let (reader, writer) = std::io::pipe().unwrap();
    assert!(writer.as_raw_fd() > 256);
    drop(many);
    pool.apply(write_line, (Fd::new(writer).unwrap(), "high")).unwrap();
    assert_eq!(read_all(reader), "high\n");
}

#[worker]
fn close_everything(_: ()) -> u64 {
    let own = std::fs::read_dir("/proc/self/fd").unwrap();
    let open = own.filter_map(|fd| fd.ok()?.file_name().to_str()?.parse().ok());
    for fd in open.filter(|fd| *fd > 2).collect::<Vec<i32>>() {
        let _ = nix::unistd::close(fd);
    }
    7
}

/// Only a call that needs the socket fails, and another worker runs the next call.
fn a_task_that_closes_everything_loses_its_way_to_files(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(close_everything, ()).unwrap(), 7);
    let error = pool.apply(create, "").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
    assert_eq!(text_of(pool.apply(create, "next").unwrap().into_inner()), "next");
}

/// A worker that cannot fetch the file of an input is replaced, and no other input fails.
fn a_worker_that_lost_its_way_to_files_takes_one_input(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(close_everything, ()).unwrap(), 7);
    let file = Fd::new(file_with("a")).unwrap();
    let error = pool.apply(append, (&file, "b")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    assert!(error.to_string().contains("closed by the task"), "{error}");
    assert_eq!(text_of(pool.apply(append, (&file, "c")).unwrap().into_inner()), "ac");
}

#[worker]
fn create_many(count: usize) -> Vec<Fd<File>> {
    (0..count).map(|_| Fd::new(File::open("/dev/null").unwrap()).unwrap()).collect()
}

fn a_caller_without_room_for_files_is_told_of_the_task(method: StartMethod) {
    let pool = pool(method, 1);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    // This limits only the caller, because the worker has already started.
    setrlimit(Resource::RLIMIT_NOFILE, (open_files() + 20) as u64, hard).unwrap();
    let outcomes = pool.map_all(create_many, [1, 100]);
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
    assert_eq!(outcomes[0].as_ref().unwrap().len(), 1);
    let error = outcomes[1].as_ref().unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Decode, Some(1)), "{error}");
    assert!(error.task().unwrap().ends_with("create_many"), "{error}");
    assert!(error.to_string().contains("too many open files"), "{error}");
}
