//! The items that fit a parameter: by value and by reference, and of other types with the same encoding.

#![allow(clippy::needless_borrows_for_generic_args, reason = "references are what is tested")]
#![allow(clippy::useless_vec, reason = "references to vectors are what is tested")]
#![allow(clippy::boxed_local, clippy::too_many_arguments, reason = "parameters are what is tested")]

use std::borrow::{Borrow, Cow};
use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use procession_tests::tasks::square;
use procession_tests::{EVERY, StartMethod, conformance, pool};
use runtime::{Pool, Process, State, initializer, worker};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        numbers_by_value_and_by_reference,
        texts,
        slices_vectors_and_arrays,
        paths_and_names,
        borrowed_parameters,
        a_parameter_that_its_owner_does_not_deref_to,
        tuples_element_by_element,
        values_of_ones_own,
        every_call_takes_them,
    ];
}

#[worker]
fn negate(x: &i64) -> i64 {
    -x
}

#[worker]
fn half(x: f64) -> f64 {
    x / 2.0
}

#[worker]
fn length(text: &str) -> usize {
    text.len()
}

#[worker]
fn shout(text: String) -> String {
    text.to_uppercase()
}

#[worker]
fn kept(text: Cow<'_, str>) -> Box<str> {
    text.into_owned().into()
}

#[worker]
fn boxed(text: Box<str>) -> String {
    text.into()
}

#[worker]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[worker]
fn total(values: Vec<u32>) -> u32 {
    values.iter().sum()
}

#[worker]
fn count(values: Box<[u8]>) -> usize {
    values.len()
}

#[worker]
fn joined(words: &[String]) -> String {
    words.concat()
}

#[worker]
fn sixteen(values: [f32; 16]) -> f32 {
    values.iter().sum()
}

#[worker]
fn stem(path: &Path) -> PathBuf {
    path.file_stem().map(PathBuf::from).unwrap_or_default()
}

#[worker]
fn parent(path: PathBuf) -> PathBuf {
    path.parent().map(PathBuf::from).unwrap_or_default()
}

#[worker]
fn name(name: &OsStr) -> OsString {
    name.to_ascii_lowercase()
}

#[worker]
fn name_owned(name: OsString) -> OsString {
    name
}

#[worker]
fn weighted(values: &[f64], weight: f64) -> f64 {
    values.iter().sum::<f64>() * weight
}

#[worker]
fn repeated(text: String, times: usize, between: &str) -> String {
    vec![text; times].join(between)
}

#[worker]
fn eight(
    a: u8,
    b: &u8,
    c: String,
    d: &str,
    e: &[u8],
    f: Vec<u8>,
    g: &Path,
    h: Option<u8>,
) -> usize {
    (a + b) as usize
        + c.len()
        + d.len()
        + e.len()
        + f.len()
        + g.as_os_str().len()
        + usize::from(h.is_some())
}

#[worker]
fn nothing() -> u8 {
    7
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

#[worker]
fn mirrored(point: Point) -> Point {
    Point { x: point.y, y: point.x }
}

#[worker]
fn norm(point: &Point) -> f64 {
    point.x.hypot(point.y)
}

#[worker]
fn keys(map: &HashMap<String, u64>) -> u64 {
    map.values().sum()
}

/// A type that cannot be decoded, like `serde_bytes::Bytes`; its owner is decoded instead.
#[derive(Serialize)]
struct Celsius(f64);

#[derive(Deserialize)]
#[serde(from = "f64")]
struct Measured(Celsius);

impl From<f64> for Measured {
    fn from(degrees: f64) -> Self {
        Measured(Celsius(degrees))
    }
}

impl Borrow<Celsius> for Measured {
    fn borrow(&self) -> &Celsius {
        &self.0
    }
}

impl ToOwned for Celsius {
    type Owned = Measured;

    fn to_owned(&self) -> Measured {
        self.0.into()
    }
}

#[worker]
fn kelvin(temperature: &Celsius, offset: f64) -> f64 {
    temperature.0 + offset
}

#[initializer]
fn factor(factor: u64) -> u64 {
    factor
}

#[worker]
fn scaled(factor: State<u64>, x: u64) -> u64 {
    *factor * x
}

#[worker]
fn named(factor: State<u64>, name: &str, values: &[u64]) -> String {
    format!("{name} {}", *factor * values.iter().sum::<u64>())
}

fn numbers_by_value_and_by_reference(method: StartMethod) {
    let pool = pool(method, 2);
    let (numbers, squares) = (vec![1, 2, 3], [1, 4, 9]);
    assert_eq!(pool.map(square, 1..4).unwrap(), squares);
    assert_eq!(pool.map(square, 1..=3).unwrap(), squares);
    assert_eq!(pool.map(square, [1, 2, 3]).unwrap(), squares);
    assert_eq!(pool.map(square, &[1, 2, 3]).unwrap(), squares);
    assert_eq!(pool.map(square, &numbers).unwrap(), squares);
    assert_eq!(pool.map(square, numbers.iter()).unwrap(), squares);
    assert_eq!(pool.map(square, numbers.iter().copied()).unwrap(), squares);
    assert_eq!(pool.map(square, numbers.iter().map(|x| x + 1)).unwrap(), [4, 9, 16]);
    assert_eq!(pool.map(square, (0..7).filter(|x| x % 3 == 1)).unwrap(), [1, 16]);
    assert_eq!(pool.map(negate, 1..3).unwrap(), [-1, -2]);
    assert_eq!(pool.map(negate, &[1, 2]).unwrap(), [-1, -2]);
    assert_eq!(pool.map(half, [1.0, 3.0]).unwrap(), [0.5, 1.5]);
    assert_eq!(pool.map(half, &vec![1.0, 3.0]).unwrap(), [0.5, 1.5]);
    assert_eq!(pool.map(half, (0..2).map(|x| x as f64)).unwrap(), [0.0, 0.5]);
    assert_eq!(pool.map(square, numbers).unwrap(), squares);
    assert_eq!(pool.map(nothing, [(), ()]).unwrap(), [7, 7]);
    assert_eq!(pool.map(nothing, &[(), ()]).unwrap(), [7, 7]);
}

fn texts(method: StartMethod) {
    let pool = pool(method, 2);
    let text = String::from("one\ntwo three");
    let lines: Vec<String> = text.lines().map(String::from).collect();
    assert_eq!(pool.map(length, text.lines()).unwrap(), [3, 9]);
    assert_eq!(pool.map(length, ["one", "two three"]).unwrap(), [3, 9]);
    assert_eq!(pool.map(length, &["one", "two three"]).unwrap(), [3, 9]);
    assert_eq!(pool.map(length, &lines).unwrap(), [3, 9]);
    assert_eq!(pool.map(length, lines.iter()).unwrap(), [3, 9]);
    assert_eq!(pool.map(length, lines.iter().map(|line| line.trim())).unwrap(), [3, 9]);
    assert_eq!(
        pool.map(length, [Cow::Borrowed("one"), Cow::Owned(lines[1].clone())]).unwrap(),
        [3, 9]
    );
    assert_eq!(pool.map(shout, ["a"]).unwrap(), ["A"]);
    assert_eq!(pool.map(shout, text.split('\n')).unwrap(), ["ONE", "TWO THREE"]);
    assert_eq!(pool.map(shout, &lines).unwrap(), ["ONE", "TWO THREE"]);
    assert_eq!(pool.map(shout, [String::from_utf8_lossy(b"a")]).unwrap(), ["A"]);
    assert_eq!(&*pool.map(kept, ["a"]).unwrap()[0], "a");
    assert_eq!(&*pool.map(kept, &lines).unwrap()[1], "two three");
    assert_eq!(pool.map(boxed, ["a"]).unwrap(), ["a"]);
    assert_eq!(pool.map(boxed, lines.clone()).unwrap(), lines);
    assert_eq!(pool.map(length, lines).unwrap(), [3, 9]);
}

fn slices_vectors_and_arrays(method: StartMethod) {
    let pool = pool(method, 2);
    let vectors = vec![vec![1.0, 3.0], vec![4.0]];
    assert_eq!(pool.map(mean, &vectors).unwrap(), [2.0, 4.0]);
    assert_eq!(pool.map(mean, vectors.iter()).unwrap(), [2.0, 4.0]);
    assert_eq!(pool.map(mean, vectors.iter().map(|vector| &vector[..1])).unwrap(), [1.0, 4.0]);
    assert_eq!(pool.map(mean, vectors[0].chunks(1)).unwrap(), [1.0, 3.0]);
    assert_eq!(pool.map(mean, [[1.0, 3.0], [4.0, 4.0]]).unwrap(), [2.0, 4.0]);
    assert_eq!(pool.map(mean, &[[1.0, 3.0], [4.0, 4.0]]).unwrap(), [2.0, 4.0]);
    assert_eq!(pool.map(mean, [&[1.0, 3.0], &[4.0, 4.0]]).unwrap(), [2.0, 4.0]);
    // serde supports arrays of up to 32 elements.
    assert_eq!(pool.map(mean, [[1.0; 64], [2.0; 64]]).unwrap(), [1.0, 2.0]);
    assert_eq!(pool.map(total, [[1; 100], [2; 100]]).unwrap(), [100, 200]);
    assert_eq!(pool.map(total, [vec![1, 2], vec![3]]).unwrap(), [3, 3]);
    assert_eq!(pool.map(total, [1, 2, 3].chunks(2)).unwrap(), [3, 3]);
    assert_eq!(pool.map(total, (0..2).map(|x| [x, x])).unwrap(), [0, 2]);
    assert_eq!(pool.map(count, [b"ab", b"cd"]).unwrap(), [2, 2]);
    assert_eq!(pool.map(count, ["abc".as_bytes()]).unwrap(), [3]);
    assert_eq!(pool.map(joined, [vec!["a".to_owned(), "b".to_owned()]]).unwrap(), ["ab"]);
    assert_eq!(pool.map(sixteen, [[1.0; 16]]).unwrap(), [16.0]);
    assert_eq!(pool.map(sixteen, &[[1.0; 16]]).unwrap(), [16.0]);
    assert_eq!(pool.map(mean, vectors).unwrap(), [2.0, 4.0]);
}

fn paths_and_names(method: StartMethod) {
    let pool = pool(method, 2);
    let paths = vec![PathBuf::from("a/b.c")];
    let (stems, parents) = ([Path::new("b")], [Path::new("a")]);
    assert_eq!(pool.map(stem, &paths).unwrap(), stems);
    assert_eq!(pool.map(stem, paths.iter().map(PathBuf::as_path)).unwrap(), stems);
    assert_eq!(pool.map(stem, ["a/b.c"]).unwrap(), stems);
    assert_eq!(pool.map(stem, ["a/b.c".to_owned()]).unwrap(), stems);
    assert_eq!(pool.map(stem, [OsString::from("a/b.c")]).unwrap(), stems);
    assert_eq!(pool.map(parent, &paths).unwrap(), parents);
    assert_eq!(pool.map(parent, [Path::new("a/b.c")]).unwrap(), parents);
    assert_eq!(pool.map(parent, ["a/b.c"]).unwrap(), parents);
    assert_eq!(pool.map(parent, &["a/b.c".to_owned()]).unwrap(), parents);
    assert_eq!(pool.map(parent, paths.clone()).unwrap(), parents);
    assert_eq!(pool.map(stem, paths).unwrap(), stems);
    assert_eq!(pool.map(name, [OsString::from("A")]).unwrap(), ["a"]);
    assert_eq!(pool.map(name, ["A"]).unwrap(), ["a"]);
    assert_eq!(pool.map(name_owned, [OsStr::new("A")]).unwrap(), ["A"]);
    assert_eq!(pool.map(name_owned, ["A".to_owned()]).unwrap(), ["A"]);
}

fn borrowed_parameters(method: StartMethod) {
    let pool = pool(method, 2);
    let points = vec![Point { x: 3.0, y: 4.0 }];
    let map = HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!(pool.map(norm, &points).unwrap(), [5.0]);
    assert_eq!(pool.map(norm, points).unwrap(), [5.0]);
    assert_eq!(pool.apply(keys, &map).unwrap(), 3);
    assert_eq!(pool.apply(keys, map).unwrap(), 3);
}

fn a_parameter_that_its_owner_does_not_deref_to(method: StartMethod) {
    let pool = pool(method, 1);
    let temperatures = [Celsius(1.0), Celsius(2.0)];
    assert_eq!(pool.map(kelvin, temperatures.iter().zip([273.0; 2])).unwrap(), [274.0, 275.0]);
}

fn tuples_element_by_element(method: StartMethod) {
    let pool = pool(method, 2);
    let vectors = vec![vec![1.0, 2.0], vec![3.0]];
    assert_eq!(pool.map(weighted, [(&vectors[0], 2.0)]).unwrap(), [6.0]);
    assert_eq!(pool.map(weighted, [(&vectors[0][1..], 2.0)]).unwrap(), [4.0]);
    assert_eq!(pool.map(weighted, [([1.0, 2.0], 2.0)]).unwrap(), [6.0]);
    assert_eq!(pool.map(weighted, vectors.iter().zip([2.0, 3.0])).unwrap(), [6.0, 9.0]);
    assert_eq!(pool.map(weighted, vectors.iter().zip(&[2.0, 3.0])).unwrap(), [6.0, 9.0]);
    assert_eq!(pool.map(weighted, vectors.iter().map(|v| (v, 2.0))).unwrap(), [6.0, 6.0]);
    let pairs: Vec<(Vec<f64>, f64)> = vectors.into_iter().zip([1.0, 2.0]).collect();
    assert_eq!(pool.map(weighted, &pairs).unwrap(), [3.0, 6.0]);
    assert_eq!(pool.map(weighted, pairs).unwrap(), [3.0, 6.0]);
    assert_eq!(pool.map(repeated, [("a", 3, "-")]).unwrap(), ["a-a-a"]);
    assert_eq!(pool.map(repeated, [("a".to_owned(), &2, "-".to_owned())]).unwrap(), ["a-a"]);
    let all = (1, 2, "a", "b".to_owned(), [0; 40], &[0; 50][..], "p", None);
    assert_eq!(pool.map(eight, [&all]).unwrap(), [96]);
    assert_eq!(pool.apply(eight, all).unwrap(), 96);
}

fn values_of_ones_own(method: StartMethod) {
    let pool = pool(method, 2);
    let points = [Point { x: 1.0, y: 2.0 }, Point { x: 3.0, y: 4.0 }];
    let mirror = [Point { x: 2.0, y: 1.0 }, Point { x: 4.0, y: 3.0 }];
    assert_eq!(pool.map(mirrored, &points).unwrap(), mirror);
    assert_eq!(pool.map(mirrored, points.iter().rev()).unwrap()[0], mirror[1]);
    assert_eq!(pool.map(mirrored, points).unwrap(), mirror);
}

fn every_call_takes_them(method: StartMethod) {
    let pool: Pool =
        Pool::builder().start_method(method).workers(2).initializer(factor, 10).build().unwrap();
    let (numbers, lines) = (vec![1, 2], vec!["a".to_owned(), "bc".to_owned()]);
    assert_eq!(pool.map(scaled, &numbers).unwrap(), [10, 20]);
    assert_eq!(pool.map(named, [("a", [1, 2])]).unwrap(), ["a 30"]);
    let all = pool.map_all(length, &lines);
    assert_eq!(all.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(pool.apply(length, &lines[1]).unwrap(), 2);
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
    assert_eq!(pool.apply(square, &3).unwrap(), 9);
    assert_eq!(pool.apply(nothing, ()).unwrap(), 7);
    assert_eq!(pool.submit(length, &lines[1]).wait().unwrap(), 2);
    assert_eq!(pool.submit(mean, [1.0, 2.0, 3.0]).wait().unwrap(), 2.0);
    assert_eq!(pool.map_async(length, &lines).wait().unwrap(), [1, 2]);
    let lazily: Result<Vec<_>, _> = pool.imap(length, &lines).collect();
    assert_eq!(lazily.unwrap(), [1, 2]);
    let mut unordered: Vec<_> =
        pool.imap_unordered(square, &numbers).map(|(i, r)| (i, r.unwrap())).collect();
    unordered.sort_unstable();
    assert_eq!(unordered, [(0, 1), (1, 4)]);
    for outcome in pool.broadcast(length, &lines[1]) {
        assert_eq!(outcome.unwrap(), 2);
    }
    assert_eq!(pool.task(length).retries(1).map(&lines).unwrap(), [1, 2]);
    assert_eq!(pool.task(length).apply(&lines[0]).unwrap(), 1);
    assert_eq!(pool.task(square).map(0..3).unwrap(), [0, 1, 4]);
    assert_eq!(pool.task(square).submit(&4).wait().unwrap(), 16);
    assert_eq!(pool.task(square).map_async(&numbers).wait().unwrap(), [1, 4]);
    assert_eq!(pool.task(square).imap(&numbers).map(Result::unwrap).sum::<u64>(), 5);
    assert_eq!(pool.task(square).imap_unordered(&numbers).count(), 2);
    assert_eq!(pool.task(square).map_all(&numbers).len(), 2);
    assert_eq!(pool.task(shout).broadcast("a").len(), 2);
    drop(pool);
    assert_eq!(
        Process::builder()
            .start_method(method)
            .spawn(length, "abc".to_owned())
            .unwrap()
            .join()
            .unwrap(),
        3
    );
    assert_eq!(
        Process::builder().start_method(method).spawn(square, 7).unwrap().join().unwrap(),
        49
    );
}
