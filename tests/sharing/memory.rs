//! Arrays, texts and values in memory that processes share.

use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, pool};
use runtime::{ErrorKind, Pool, Process, Shared, SharedMut, State, initializer, worker};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        a_worker_reads_an_array,
        every_kind_of_value_is_shared,
        a_slice_is_the_same_memory,
        a_worker_makes_an_array,
        an_array_passes_through_workers,
        an_empty_array_is_shared,
        an_initializer_and_a_preload_take_arrays,
        a_process_takes_and_returns_arrays,
        parts_are_written_in_place,
        a_part_is_moved_into_one_task_alone,
        parts_that_do_not_fit_are_not_joined,
        a_part_of_a_failed_task_is_lost_alone,
        a_thousand_arrays_leave_nothing,
        an_array_in_a_struct_of_a_stream,
        a_handle_is_written_in_no_other_format,
        more_memory_than_there_is_is_refused,
        a_part_is_frozen_by_itself,
    ];
    PROCESSES => [
        a_part_of_a_killed_worker_is_retried,
        memory_is_freed_when_its_holders_are_killed,
        a_worker_keeps_a_mapping_for_a_while,
    ];
}

#[worker]
fn sum(values: Shared<[f64]>) -> f64 {
    values.iter().sum()
}

#[worker]
fn describe(numbers: Shared<[u16]>, text: Shared<str>, value: Shared<[u8; 3]>) -> String {
    format!("{:?} {} {:?}", &*numbers, &*text, *value)
}

#[worker]
fn count_up(len: usize) -> Shared<[u32]> {
    Shared::<[u32]>::build(len, |to| (0..).zip(to).for_each(|(n, to)| *to = n)).unwrap()
}

#[worker]
fn same(values: Shared<[u32]>) -> Shared<[u32]> {
    values
}

#[initializer]
fn keep_part(part: SharedMut<[u64]>) -> SharedMut<[u64]> {
    part
}

#[worker]
fn fill(mut part: SharedMut<[u64]>, with: u64) -> SharedMut<[u64]> {
    part.fill(with);
    part
}

#[worker]
fn fill_and_die_once(mut part: SharedMut<[u64]>) -> SharedMut<[u64]> {
    part[0] += 1;
    if part[0] == 1 {
        nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    }
    part
}

#[worker]
fn fill_or_panic(mut part: SharedMut<[u64]>, index: u64) -> SharedMut<[u64]> {
    part.fill(index);
    assert_ne!(index, 2, "not this one");
    part
}

#[initializer]
fn table(values: Shared<[u32]>) -> Shared<[u32]> {
    values
}

#[worker]
fn look_up(table: State<Shared<[u32]>>, index: usize) -> (u32, Shared<[u32]>) {
    (table[index], Shared::clone(&table))
}

fn a_worker_reads_an_array(method: StartMethod) {
    let pool = pool(method, 2);
    let values = Shared::<[f64]>::from_slice(&[1.5; 10_000]).unwrap();
    assert_eq!(pool.apply(sum, &values).unwrap(), 15_000.0);
    let sums = pool.map(sum, (0..100).map(|n| values.slice(n * 100..(n + 1) * 100))).unwrap();
    assert_eq!(sums, [150.0; 100]);
}

fn every_kind_of_value_is_shared(method: StartMethod) {
    let numbers = Shared::<[u16]>::from_slice(&[1, 2]).unwrap();
    let text = Shared::<str>::new("grüße").unwrap();
    let value = Shared::<[u8; 3]>::new(&[7, 8, 9]).unwrap();
    let said = pool(method, 1).apply(describe, (numbers, text, value)).unwrap();
    assert_eq!(said, "[1, 2] grüße [7, 8, 9]");
}

fn a_slice_is_the_same_memory(method: StartMethod) {
    let values = pool(method, 1).apply(count_up, 100).unwrap();
    let some = values.slice(10..20);
    assert_eq!(some.as_ptr(), values[10..].as_ptr());
    assert_eq!(*some.slice(2..=3), [12, 13]);
    let panic = std::panic::catch_unwind(|| some.slice(5..11)).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert_eq!(text, "the range 5..11 is not within a shared array of 10 elements");
}

fn a_worker_makes_an_array(method: StartMethod) {
    let values = pool(method, 1).apply(count_up, 100_000).unwrap();
    assert!(values.iter().copied().eq(0..100_000));
    assert_eq!(values.as_ptr().align_offset(64), 0);
}

fn an_array_passes_through_workers(method: StartMethod) {
    let pool = pool(method, 2);
    let mut values = pool.apply(count_up, 1000).unwrap();
    for _ in 0..20 {
        values = pool.apply(same, values).unwrap();
    }
    assert!(values.iter().copied().eq(0..1000));
}

fn an_empty_array_is_shared(method: StartMethod) {
    let pool = pool(method, 1);
    assert!(pool.apply(count_up, 0).unwrap().is_empty());
    assert!(pool.apply(same, Shared::<[u32]>::zeroed(0).unwrap()).unwrap().is_empty());
    let parts = SharedMut::<[u64]>::zeroed(1).unwrap().split(3);
    let parts = pool.map(fill, parts.into_iter().map(|part| (part, 5))).unwrap();
    assert_eq!(*SharedMut::join(parts).unwrap(), [5]);
}

fn an_initializer_and_a_preload_take_arrays(method: StartMethod) {
    let values = Shared::<[u32]>::from_slice(&[10, 20, 30]).unwrap();
    let builder = || Pool::builder().start_method(method).workers(2);
    for pool in [
        builder().initializer(table, values.clone()).build().unwrap(),
        builder().preload(table, values.clone()).build().unwrap(),
    ] {
        let (value, back) = pool.apply(look_up, 1).unwrap();
        assert_eq!((value, &*back), (20, &[10, 20, 30][..]));
    }
}

fn a_process_takes_and_returns_arrays(method: StartMethod) {
    let values = Shared::<[u32]>::from_slice(&[1, 2]).unwrap();
    let process = Process::builder().start_method(method).spawn(same, values).unwrap();
    assert_eq!(*process.join().unwrap(), [1, 2]);
}

fn parts_are_written_in_place(method: StartMethod) {
    let pool = pool(method, 2);
    for _ in 0..3 {
        let parts = SharedMut::<[u64]>::zeroed(10_001).unwrap().split(64);
        assert!(parts.iter().all(|part| (156..=157).contains(&part.len())));
        let mut parts = pool.map(fill, parts.into_iter().zip(1..)).unwrap();
        parts.reverse();
        let all = SharedMut::join(parts).unwrap().freeze();
        assert_eq!(all.len(), 10_001);
        assert!(all.is_sorted() && all[0] == 1 && all[10_000] == 64);
        assert_eq!(pool.apply(total, all).unwrap(), 10_001);
    }
}

#[worker]
fn total(values: Shared<[u64]>) -> usize {
    values.len()
}

fn a_part_is_moved_into_one_task_alone(method: StartMethod) {
    let pool = pool(method, 2);
    let part = SharedMut::<[u64]>::zeroed(10).unwrap();
    let error = pool.apply(fill, (&part, 1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("moved into the call"), "{error}");
    let part = pool.apply(fill, (part, 3)).unwrap();
    let errors = pool.broadcast(fill, (part, 4));
    let error = errors[0].as_ref().unwrap_err();
    assert!(error.to_string().contains("one task alone"), "{error}");
    // Each worker would receive the value of an initializer.
    let part = SharedMut::<[u64]>::zeroed(10).unwrap();
    let error = Pool::builder().start_method(method).initializer(keep_part, part).build();
    let error = error.unwrap_err();
    assert!(error.to_string().contains("one task alone"), "{error}");
}

fn parts_that_do_not_fit_are_not_joined(method: StartMethod) {
    let pool = pool(method, 1);
    let parts = || SharedMut::<[u64]>::zeroed(30).unwrap().split(3);
    let parts_there = || pool.map(fill, parts().into_iter().zip(1..)).unwrap();
    let text = |parts: Vec<_>| SharedMut::join(parts).unwrap_err().to_string();
    let mut some = parts_there();
    some.remove(1);
    assert!(text(some).contains("no part has the elements 10..20"));
    let mut others = parts_there();
    others.pop();
    others.extend(parts().pop());
    assert!(text(others).contains("different shared arrays"));
    assert!(text(Vec::new()).contains("from 0 parts"));
    let panic = std::panic::catch_unwind(|| SharedMut::<[u64]>::zeroed(1).unwrap().split(0));
    assert!(panic.unwrap_err().downcast_ref::<&str>().unwrap().contains("0 parts"));
}

fn a_part_of_a_failed_task_is_lost_alone(method: StartMethod) {
    let pool = pool(method, 2);
    let parts = SharedMut::<[u64]>::zeroed(40).unwrap().split(4);
    let outcomes = pool.map_all(fill_or_panic, parts.into_iter().zip(0..));
    let kinds: Vec<_> = outcomes.iter().map(|one| one.as_ref().err().map(|e| e.kind())).collect();
    assert_eq!(kinds, [None, None, Some(ErrorKind::Panicked), None]);
    let parts: Vec<_> = outcomes.into_iter().flatten().collect();
    for (part, n) in parts.iter().zip([0, 1, 3]) {
        assert_eq!(**part, [n; 10]);
    }
}

fn shared_files() -> usize {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
    names.filter(|name| name.to_string_lossy().contains("procession-object")).count()
}

fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("procession-object")).count()
}

#[worker]
fn objects_there(_: ()) -> (usize, usize) {
    (shared_files(), mappings())
}

fn a_thousand_arrays_leave_nothing(method: StartMethod) {
    let pool = pool(method, 1);
    let (files, maps) = (shared_files(), mappings());
    for n in 0..1000 {
        let values = Shared::<[u32]>::from_slice(&[n; 10]).unwrap();
        assert_eq!(*pool.apply(same, values).unwrap(), [n; 10]);
    }
    assert_eq!((shared_files(), mappings()), (files, maps));
    if method != StartMethod::Thread {
        procession_tests::wait::for_it("the worker lets go", || {
            std::thread::sleep(std::time::Duration::from_millis(1500));
            pool.apply(objects_there, ()).unwrap() == (0, 0)
        });
    }
}

#[derive(Serialize, Deserialize)]
struct Tile {
    name: String,
    pixels: Shared<[u8]>,
}

#[worker]
fn render(n: u8) -> Tile {
    Tile { name: n.to_string(), pixels: Shared::<[u8]>::from_slice(&[n; 5000]).unwrap() }
}

fn an_array_in_a_struct_of_a_stream(method: StartMethod) {
    let pool = pool(method, 2);
    for (n, tile) in (0..100).zip(pool.imap(render, 0..100)) {
        let Tile { name, pixels } = tile.unwrap();
        assert_eq!((name, &*pixels), (n.to_string(), &[n; 5000][..]));
    }
}

fn a_handle_is_written_in_no_other_format(method: StartMethod) {
    #[derive(Serialize)]
    struct Borrows<'a>(&'a SharedMut<[u64]>);
    let pool = pool(method, 1);
    let part = SharedMut::<[u64]>::zeroed(4).unwrap();
    let text = error_of_json(&Borrows(&part));
    assert!(text.contains("moved into the call"), "{text}");
    let back = pool.apply(fill, (part, 9)).unwrap();
    assert_eq!(*back, [9; 4]);
    let text = error_of_json(&Shared::<[u64]>::zeroed(4).unwrap());
    assert!(text.contains("cannot be written anywhere else"), "{text}");
}

/// Returns the error of a format other than that of this library.
fn error_of_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_err().to_string()
}

fn a_part_of_a_killed_worker_is_retried(method: StartMethod) {
    let pool = pool(method, 1);
    let part = SharedMut::<[u64]>::zeroed(4).unwrap();
    let part = pool.task(fill_and_die_once).retries(1).apply(part).unwrap();
    assert_eq!(*part, [2, 0, 0, 0]);
}

#[worker]
fn hold_and_die(values: Shared<[u64]>) -> usize {
    let _more = Shared::<[u64]>::from_slice(&values).unwrap();
    nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).unwrap();
    values.len()
}

fn memory_is_freed_when_its_holders_are_killed(method: StartMethod) {
    let pool = pool(method, 1);
    let shmem = || -> u64 {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap();
        let line = text.lines().find(|line| line.starts_with("Shmem:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = shmem();
    for _ in 0..20 {
        let values = Shared::<[u64]>::from_slice(&vec![1; 4 << 20]).unwrap();
        assert_eq!(pool.apply(hold_and_die, values).unwrap_err().kind(), ErrorKind::Signaled);
    }
    // 20 tasks have used 64 MiB each.
    procession_tests::wait::for_it("the memory is free", || shmem() < before + (300 << 10));
}

fn a_worker_keeps_a_mapping_for_a_while(method: StartMethod) {
    let pool = pool(method, 1);
    let values = Shared::<[u32]>::from_slice(&[1; 100]).unwrap();
    pool.apply(same, &values).unwrap();
    assert_eq!(pool.apply(objects_there, ()).unwrap().0, 1);
}

fn more_memory_than_there_is_is_refused(_: StartMethod) {
    for len in [1 << 47, usize::MAX / 8, usize::MAX] {
        let error = Shared::<[u64]>::zeroed(len).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{len}: {error}");
        assert!(error.to_string().contains(&format!("{len} elements of 8 bytes")), "{error}");
    }
}

/// Freezing a part does not affect the other parts.
fn a_part_is_frozen_by_itself(method: StartMethod) {
    let pool = pool(method, 1);
    let mut parts = SharedMut::<[u64]>::zeroed(3000).unwrap().split(3);
    parts[1].fill(7);
    let frozen = parts.remove(1).freeze();
    let parts = pool.map(fill, parts.into_iter().zip(1..)).unwrap();
    assert_eq!((*parts[0]).last(), Some(&1));
    assert_eq!(*frozen, [7; 1000]);
    assert_eq!(pool.apply(total, &frozen).unwrap(), 1000);
    assert!(SharedMut::join(parts).unwrap_err().to_string().contains("no part has the elements"));
}
