//! Proxies as values, and handles as arguments and outputs.

use std::fs::File;
use std::io::{PipeWriter, Read, Seek, SeekFrom, Write};

use procession_tests::{EVERY, StartMethod, conformance, pool, wait};
use runtime::{
    ErrorKind, Fd, Pool, Process, Shared, SharedMut, State, StateMut, actor, initializer, worker,
};
use serde::{Deserialize, Serialize};

use crate::calls::{Scores, ScoresProxy};
use crate::manager;

conformance! {
    EVERY => [
        tasks_take_proxies,
        tasks_return_proxies,
        a_process_takes_a_proxy,
        initializers_and_preloads_take_proxies,
        workers_of_workers_take_proxies,
        proxies_pass_through_actors,
        a_task_has_a_manager_of_its_own,
        files_pass_to_an_actor_and_back,
        memory_passes_to_an_actor_and_back,
        memory_of_one_process_is_moved,
        a_file_that_an_actor_drops_is_closed,
        many_handles_pass_in_one_call,
        a_proxy_is_no_json,
        an_actor_ends_though_a_pool_was_built_after_it,
    ];
}

#[worker]
fn add(scores: ScoresProxy, name: &str, points: u64) -> u64 {
    scores.add(name.to_owned(), points).unwrap()
}

fn tasks_take_proxies(method: StartMethod) {
    let (manager, pool) = (manager(method), pool(method, 3));
    let scores = manager.serve(Scores::default()).unwrap();
    let items: Vec<_> = (0..60).map(|at| (scores.clone(), "ann", at)).collect();
    let sums = pool.map(add, &items).unwrap();
    assert_eq!(sums.into_iter().max(), Some(59 * 60 / 2));
    assert_eq!(scores.get("ann").unwrap(), Some(59 * 60 / 2));
}

#[derive(Serialize, Deserialize)]
struct Job {
    name: String,
    scores: Vec<Option<ScoresProxy>>,
}

#[worker]
fn pass_on(mut job: Job) -> Job {
    job.scores.iter().flatten().for_each(|scores| {
        scores.add(job.name.clone(), 1).unwrap();
    });
    job.scores.push(None);
    job
}

fn tasks_return_proxies(method: StartMethod) {
    let (manager, pool) = (manager(method), pool(method, 2));
    let scores = manager.serve(Scores::default()).unwrap();
    let mut job = Job { name: "ann".into(), scores: vec![Some(scores)] };
    for _ in 0..3 {
        job = pool.apply(pass_on, job).unwrap();
    }
    let scores = job.scores.remove(0).unwrap();
    assert_eq!(job.scores.len(), 3);
    assert_eq!(scores.get("ann").unwrap(), Some(3));
}

fn a_process_takes_a_proxy(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    let child =
        Process::builder().start_method(method).spawn(add, (scores.clone(), "ann", 4)).unwrap();
    assert_eq!(child.join().unwrap(), 4);
    assert_eq!(scores.get("ann").unwrap(), Some(4));
}

#[initializer]
fn keep(scores: ScoresProxy) -> ScoresProxy {
    scores.add("kept".into(), 1).unwrap();
    scores
}

#[worker]
fn add_to_kept(scores: State<ScoresProxy>, points: u64) -> u64 {
    scores.add("all".into(), points).unwrap()
}

fn initializers_and_preloads_take_proxies(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    for preloads in [false, true] {
        let builder = Pool::builder().start_method(method).workers(2);
        let pool = match preloads {
            true => builder.preload(keep, scores.clone()),
            false => builder.initializer(keep, scores.clone()),
        };
        let pool = pool.build().unwrap();
        pool.map(add_to_kept, 0..10).unwrap();
    }
    assert_eq!(scores.get("all").unwrap(), Some(90));
    assert!(scores.get("kept").unwrap().unwrap() >= 3);
}

#[worker]
fn in_a_pool_of_its_own(method: u8, scores: ScoresProxy) -> u64 {
    let pool = pool(EVERY[method as usize], 2);
    pool.map(add, (0..5).map(|points| (scores.clone(), "deep", points))).unwrap();
    scores.get("deep").unwrap().unwrap()
}

fn workers_of_workers_take_proxies(method: StartMethod) {
    let (manager, pool) = (manager(method), pool(method, 1));
    let scores = manager.serve(Scores::default()).unwrap();
    let inner = match method {
        // `Thread` and `Fork` cannot be used here, because a process with other threads cannot be forked.
        StartMethod::Thread | StartMethod::Fork => StartMethod::ForkServer,
        method => method,
    };
    let inner = EVERY.iter().position(|method| *method == inner).unwrap() as u8;
    assert_eq!(pool.apply(in_a_pool_of_its_own, (inner, scores.clone())).unwrap(), 10);
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Directory {
    known: Vec<ScoresProxy>,
    files: Vec<Fd<File>>,
    images: Vec<Shared<[u32]>>,
}

#[actor]
impl Directory {
    pub fn enter(&mut self, scores: ScoresProxy) -> usize {
        self.known.push(scores);
        self.known.len()
    }

    pub fn find(&self, index: usize) -> Option<ScoresProxy> {
        self.known.get(index).cloned()
    }

    pub fn take_file(&mut self, file: Fd<File>) -> usize {
        self.files.push(file);
        self.files.len()
    }

    pub fn give_files(&mut self) -> Vec<Fd<File>> {
        std::mem::take(&mut self.files)
    }

    pub fn take_image(&mut self, image: Shared<[u32]>) -> u32 {
        let sum = image.iter().sum();
        self.images.push(image);
        sum
    }

    pub fn image(&self, index: usize) -> Shared<[u32]> {
        self.images[index].slice(1..)
    }

    pub fn fill(&self, mut part: SharedMut<[u32]>, value: u32) -> SharedMut<[u32]> {
        part.fill(value);
        part
    }

    pub fn look_at(&self, part: &SharedMut<[u32]>) -> usize {
        part.len()
    }

    pub fn write(&self, to: Fd<PipeWriter>, text: &str) {
        write!(to.into_inner(), "{text}").unwrap();
    }

    pub fn count_files(&self, files: Vec<Fd<File>>) -> usize {
        files.len()
    }

    pub fn open_file(&self, copies: usize) -> Vec<Fd<File>> {
        vec![Fd::new(File::open("/dev/null").unwrap()).unwrap(); copies]
    }
}

fn proxies_pass_through_actors(method: StartMethod) {
    let (one, other) = (manager(method), manager(method));
    let directory = one.serve(Directory::default()).unwrap();
    for _ in 0..3 {
        let scores = other.serve(Scores::default()).unwrap();
        directory.enter(scores).unwrap();
    }
    let found = directory.find(1).unwrap().unwrap();
    assert_eq!(found.add("ann".into(), 2).unwrap(), 2);
    assert_eq!(directory.find(0).unwrap().unwrap().get("ann").unwrap(), None);
    assert_eq!(directory.find(1).unwrap().unwrap().get("ann").unwrap(), Some(2));
    assert_eq!(found.pid().unwrap(), other.pid());
}

#[worker]
fn with_a_manager(method: u8) -> u64 {
    let manager = manager(EVERY[method as usize]);
    let scores = manager.serve(Scores::default()).unwrap();
    scores.add("ann".into(), 5).unwrap()
}

fn a_task_has_a_manager_of_its_own(method: StartMethod) {
    let inner = match method {
        StartMethod::Thread | StartMethod::Fork => StartMethod::ForkServer,
        method => method,
    };
    let inner = EVERY.iter().position(|method| *method == inner).unwrap() as u8;
    assert_eq!(pool(method, 2).map(with_a_manager, [inner; 3]).unwrap(), [5; 3]);
}

fn file_with(text: &str) -> Fd<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Fd::new(file).unwrap()
}

fn files_pass_to_an_actor_and_back(method: StartMethod) {
    let manager = manager(method);
    let directory = manager.serve(Directory::default()).unwrap();
    for at in 0..5 {
        assert_eq!(directory.take_file(file_with(&at.to_string())).unwrap(), at + 1);
    }
    let files = directory.give_files().unwrap();
    assert_eq!(files.len(), 5);
    for (at, file) in files.into_iter().enumerate() {
        let (mut file, mut text) = (file.into_inner(), String::new());
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, at.to_string());
    }
}

fn memory_passes_to_an_actor_and_back(method: StartMethod) {
    let manager = manager(method);
    let directory = manager.serve(Directory::default()).unwrap();
    let image = Shared::from_slice(&[1_u32, 2, 3, 4]).unwrap();
    assert_eq!(directory.take_image(image.clone()).unwrap(), 10);
    drop(image);
    assert_eq!(directory.image(0).unwrap()[..], [2, 3, 4]);
}

fn memory_of_one_process_is_moved(method: StartMethod) {
    let manager = manager(method);
    let directory = manager.serve(Directory::default()).unwrap();
    let part = SharedMut::<[u32]>::zeroed(1000).unwrap();
    let error = directory.look_at(&part).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(!error.may_have_run());
    let part = directory.fill(part, 7).unwrap();
    assert!(part.iter().all(|value| *value == 7));
    // A kept value could be decoded more than once, so it must not contain a `SharedMut`.
    let list = manager.list().unwrap();
    assert_eq!(list.push(part).unwrap_err().kind(), ErrorKind::Encode);
}

fn a_file_that_an_actor_drops_is_closed(method: StartMethod) {
    let manager = manager(method);
    let directory = manager.serve(Directory::default()).unwrap();
    let (mut reader, writer) = std::io::pipe().unwrap();
    directory.write(Fd::new(writer).unwrap(), "hello").unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
}

fn many_handles_pass_in_one_call(method: StartMethod) {
    let manager = manager(method);
    let directory = manager.serve(Directory::default()).unwrap();
    let files = |count| (0..count).map(|_| file_with("")).collect::<Vec<_>>();
    assert_eq!(directory.count_files(files(200)).unwrap(), 200);
    assert_eq!(directory.open_file(200).unwrap().len(), 200);
    // Copies of one file count as one object.
    assert_eq!(directory.count_files(vec![file_with(""); 1100]).unwrap(), 1100);
    assert_eq!(directory.count_files(files(3)).unwrap(), 3);
}

fn a_proxy_is_no_json(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    assert!(serde_json::to_string(&scores).unwrap_err().to_string().contains("open files"));
}

#[initializer]
fn count_from(start: u64) -> u64 {
    start
}

#[worker]
fn count(mut counter: StateMut<u64>) -> u64 {
    *counter += 1;
    *counter
}

fn an_actor_ends_though_a_pool_was_built_after_it(method: StartMethod) {
    let manager = manager(method);
    let log = manager.list().unwrap();
    let told = manager.serve(crate::lifetimes::Told::new(log.clone())).unwrap();
    told.ping().unwrap();
    let pool = Pool::builder().start_method(method).workers(2).initializer(count_from, 0).build();
    let pool = pool.unwrap();
    assert!(pool.apply(count, ()).unwrap() >= 1);
    drop(told);
    wait::for_it("its end", || log.len().unwrap() == 1);
}
