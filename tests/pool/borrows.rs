//! Parameters that borrow: they refer to the memory that the caller wrote.
#![allow(unsafe_code, reason = "counts what is allocated")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::path::Path;
use std::time::Duration;

use procession_tests::{EVERY, StartMethod, conformance, pool, wait};
use runtime::{ErrorKind, worker};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        numbers_are_neither_copied_nor_allocated,
        numbers_are_aligned_behind_anything,
        texts_stay_where_they_are, owned_texts_fit_a_vector_of_borrowed_ones,
        structs_may_borrow,
        bytes_that_are_no_text_are_refused,
    ];
    &[StartMethod::Thread] => [a_task_that_is_left_behind_keeps_its_numbers];
}

/// Counts the bytes that each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: all calls are passed to the allocator of the system.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATED.try_with(|bytes| bytes.set(bytes.get() + layout.size()));
        // SAFETY: by the contract of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let more = size.saturating_sub(layout.size());
        let _ = ALLOCATED.try_with(|bytes| bytes.set(bytes.get() + more));
        // SAFETY: by the contract of this function.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: by the contract of this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns whether memory belongs to the region to which the caller writes inputs.
fn is_input(at: *const u8) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("procession-tasks")).any(|line| {
        let (first, past) = line.split_once(' ').unwrap().0.split_once('-').unwrap();
        let address = |text| usize::from_str_radix(text, 16).unwrap();
        (address(first)..address(past)).contains(&at.addr())
    })
}

/// Returns the bytes that this thread had allocated when the task began, the sum, and whether the
/// numbers are where the caller has written them.
#[worker]
fn sum(numbers: &[f64]) -> (usize, f64, bool) {
    let allocated = ALLOCATED.get();
    (allocated, numbers.iter().sum(), is_input(numbers.as_ptr().cast()))
}

fn numbers_are_neither_copied_nor_allocated(method: StartMethod) {
    let pool = pool(method, 1);
    let numbers = vec![0.5_f64; (64 << 20) / 8];
    let (_, few, _) = pool.apply(sum, [1.5, 2.5]).unwrap();
    assert_eq!(few, 4.0);
    let (before, ..) = pool.apply(sum, [1.5]).unwrap();
    let (again, ..) = pool.apply(sum, [1.5]).unwrap();
    let (after, all, is_there) = pool.apply(sum, &numbers).unwrap();
    assert_eq!(all, numbers.len() as f64 / 2.0);
    assert!(is_there, "they were copied");
    // `is_there` and the result allocate a constant amount, regardless of the number of numbers.
    assert!(after - again <= again - before + 65536, "{before}, {again}, {after}");
}

#[worker]
fn mixed(text: &str, doubles: &[f64], bytes: &[u8], wide: &[u128], short: &[i16]) -> (u128, bool) {
    let there = is_input(text.as_ptr())
        && is_input(doubles.as_ptr().cast())
        && is_input(bytes.as_ptr())
        && is_input(wide.as_ptr().cast())
        && is_input(short.as_ptr().cast());
    let sum = text.len() as u128
        + doubles.iter().sum::<f64>() as u128
        + bytes.iter().map(|byte| u128::from(*byte)).sum::<u128>()
        + wide.iter().sum::<u128>()
        + short.iter().map(|number| *number as u128).sum::<u128>();
    (sum, there)
}

fn numbers_are_aligned_behind_anything(method: StartMethod) {
    let pool = pool(method, 2);
    let inputs: Vec<_> = (0..200_usize)
        .map(|n| {
            let text = "x".repeat(n % 17 + 1);
            (
                text,
                vec![2.0; n % 5 + 1],
                vec![3_u8; n % 7 + 1],
                vec![4_u128; n % 3 + 1],
                vec![5_i16; n % 4 + 1],
            )
        })
        .collect();
    let expected: Vec<u128> = inputs
        .iter()
        .map(|(a, b, c, d, e)| {
            (a.len() + 2 * b.len() + 3 * c.len() + 4 * d.len() + 5 * e.len()) as u128
        })
        .collect();
    for chunk in [1, 3, 100] {
        let outputs = pool.task(mixed).chunk_size(chunk).map(inputs.iter().cloned()).unwrap();
        let sums: Vec<u128> = outputs.iter().map(|(sum, _)| *sum).collect();
        assert_eq!(sums, expected);
        // If the first length differs, lengths are inserted, and numbers that were aligned to 16 bytes
        // may be copied.
        let there = outputs.iter().filter(|(_, there)| *there).count();
        assert!(there >= outputs.len() * 9 / 10, "{there} of {}", outputs.len());
    }
}

#[worker]
fn lengths(words: Vec<&str>, path: &Path, text: &str) -> (usize, bool) {
    let there = words.iter().all(|word| is_input(word.as_ptr()));
    let there =
        there && is_input(text.as_ptr()) && is_input(path.as_os_str().as_encoded_bytes().as_ptr());
    (words.iter().map(|word| word.len()).sum::<usize>() + text.len(), there)
}

fn texts_stay_where_they_are(method: StartMethod) {
    let pool = pool(method, 1);
    let words = vec!["one", "three", "eleven"];
    let output = pool.apply(lengths, (words, Path::new("/tmp"), "text")).unwrap();
    assert_eq!(output, (14 + 4, true));
}

#[worker]
fn all_there(words: Vec<&str>) -> (String, bool) {
    (words.join(" "), words.iter().all(|word| is_input(word.as_ptr())))
}

fn owned_texts_fit_a_vector_of_borrowed_ones(method: StartMethod) {
    let pool = pool(method, 1);
    let words = ["one", "three", "eleven"].map(str::to_owned);
    let lists = vec![words.to_vec(); 3];
    let expected = ("one three eleven".to_owned(), true);
    assert_eq!(pool.map(all_there, &lists).unwrap(), vec![expected.clone(); 3]);
    assert_eq!(pool.map(all_there, lists).unwrap(), vec![expected.clone(); 3]);
    assert_eq!(pool.apply(all_there, &words[1..]).unwrap().0, "three eleven");
    assert_eq!(pool.apply(all_there, words).unwrap(), expected);
}

#[derive(Serialize, Deserialize)]
struct Record<'a> {
    name: &'a str,
    #[serde(borrow)]
    note: std::borrow::Cow<'a, str>,
    count: u32,
}

#[worker]
fn describe(record: Record<'_>) -> (String, bool) {
    let there = is_input(record.name.as_ptr()) && is_input(record.note.as_ptr());
    (format!("{}{}{}", record.name, record.note, record.count), there)
}

#[worker]
fn longest(records: &[Record<'_>]) -> usize {
    records.iter().map(|record| record.name.len()).max().unwrap_or_default()
}

fn structs_may_borrow(method: StartMethod) {
    let pool = pool(method, 2);
    let names: Vec<String> = (0..300).map(|n| format!("name {n}")).collect();
    let record = |n: usize| Record { name: &names[n], note: ", ".into(), count: n as u32 };
    let outputs = pool.map(describe, (0..300).map(record)).unwrap();
    for (n, (text, there)) in outputs.iter().enumerate() {
        assert_eq!(*text, format!("name {n}, {n}"));
        assert!(there);
    }
    let records: Vec<Record<'_>> = (0..300).map(record).collect();
    assert_eq!(pool.apply(longest, &records).unwrap(), 8);
}

/// Encodes like a text, with bytes that are not UTF-8.
struct NoText;

impl Serialize for NoText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(b"a\xff")
    }
}

impl<'de> Deserialize<'de> for NoText {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&str>::deserialize(deserializer).map(|_| NoText)
    }
}

#[worker]
fn no_text(_: NoText) {}

fn bytes_that_are_no_text_are_refused(method: StartMethod) {
    let error = pool(method, 1).apply(no_text, NoText).unwrap_err();
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}

/// Reads its numbers until there is a file, and then writes how often the sum was wrong.
#[worker]
fn sum_until_file(numbers: &[u64], stop: &Path, report: &Path) {
    let first: u64 = numbers.iter().sum();
    let mut wrong = 0;
    while !stop.exists() {
        wrong += u32::from(std::hint::black_box(numbers).iter().sum::<u64>() != first);
    }
    wrong += u32::from(numbers.iter().sum::<u64>() != first);
    std::fs::write(report, wrong.to_string()).unwrap();
}

/// The memory of its input is not reused while the pool exists or after it has ended.
fn a_task_that_is_left_behind_keeps_its_numbers(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let [stop, report] = ["stop", "report"].map(|name| folder.path().join(name));
    let pool = pool(method, 1);
    let call = pool.task(sum_until_file).timeout(Duration::from_millis(50));
    let error = call.apply((vec![3_u64; 1 << 17], &stop, &report)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    for round in 0..50 {
        let numbers = vec![f64::from(round); 1 << 17];
        let (_, sum, _) = pool.apply(sum, &numbers).unwrap();
        assert_eq!(sum, f64::from(round) * f64::from(1 << 17));
    }
    drop(pool);
    std::thread::sleep(Duration::from_millis(50));
    std::fs::write(&stop, "").unwrap();
    let written = || std::fs::read_to_string(&report).is_ok_and(|text| !text.is_empty());
    wait::for_it("the task writes its report", written);
    assert_eq!(std::fs::read_to_string(&report).unwrap(), "0");
}
