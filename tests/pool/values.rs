//! Values of the standard library that serde supports: round trips alone, borrowed, and inside of
//! others.

#![allow(
    clippy::borrowed_box,
    clippy::type_complexity,
    clippy::ptr_arg,
    clippy::boxed_local,
    reason = "parameters are what is tested"
)]
#![allow(clippy::too_many_arguments, reason = "parameters are what is tested")]

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::{CStr, CString, OsString};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::{NonZero, Saturating, Wrapping};
use std::ops::{Bound, Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering as AtomicOrdering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use procession_tests::{EVERY, StartMethod, conformance, pool};
use runtime::worker;

conformance! {
    EVERY => [
        numbers,
        texts_and_paths,
        arrays_of_every_length_that_serde_knows,
        longer_arrays_fit_slices,
        collections,
        times_and_addresses,
        wrappers,
        borrowed_ones,
    ];
}

/// Generates a task that returns its parameter, by the name of its type.
macro_rules! echoes {
    ($($name:ident: $type:ty;)*) => {$(
        #[worker]
        fn $name(value: $type) -> $type {
            value
        }
    )*};
}

echoes! {
    small: (u8, i8, u16, i16, u32, i32, u64, i64, u128, i128);
    sized: (usize, isize, f32, f64, bool, char, ());
    nonzero: (NonZero<u8>, NonZero<i64>, Option<NonZero<u32>>, Wrapping<u16>, Saturating<i8>);
    text: (String, Box<str>, PathBuf, OsString, CString);
    slices: (Vec<u8>, Box<[u16]>, VecDeque<i32>, LinkedList<String>);
    sets: (HashSet<u64>, BTreeSet<String>, HashMap<String, Vec<u8>>, BTreeMap<(u8, u8), Option<bool>>);
    times: (Duration, SystemTime);
    addresses: (IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr);
    ranges: (Range<u64>, RangeInclusive<i8>, Bound<f64>, std::ops::RangeFrom<u8>, std::ops::RangeTo<u8>);
    options: (Option<Option<u8>>, Result<u8, String>, Option<Box<u8>>, PhantomData<String>);
    cells: (Cell<u8>, RefCell<String>, Box<(u8, u16)>, std::cmp::Reverse<u64>);
    no_elements: [u64; 0];
    one_element: [String; 1];
    seventeen: [f64; 17];
    most_elements: [u8; 32];
    nested: [[f32; 4]; 4];
}

#[worker]
fn cow(text: Cow<'_, str>) -> String {
    text.into_owned()
}

#[worker]
fn heap(values: BinaryHeap<u64>) -> Vec<u64> {
    values.into_sorted_vec()
}

#[worker]
fn locked(value: Mutex<u64>, count: AtomicU64) -> (Mutex<u64>, AtomicU64) {
    count.fetch_add(*value.lock().unwrap(), AtomicOrdering::Relaxed);
    (value, count)
}

#[worker]
fn ordered(pairs: Vec<(i64, i64)>) -> Vec<i8> {
    pairs.iter().map(|(a, b)| a.cmp(b) as i8).collect()
}

#[worker]
fn sum(values: &[u64]) -> u64 {
    values.iter().sum()
}

#[worker]
fn row_sums(rows: &[[f64; 3]]) -> Vec<f64> {
    rows.iter().map(|row| row.iter().sum()).collect()
}

#[worker]
fn borrowed(
    text: &str,
    path: &Path,
    bytes: &[u8],
    c: &CStr,
    map: &HashMap<String, u64>,
    list: &Vec<String>,
    own: &Box<str>,
) -> usize {
    text.len()
        + path.as_os_str().len()
        + bytes.len()
        + c.count_bytes()
        + map.len()
        + list.len()
        + own.len()
}

/// Checks a round trip, by value and by reference.
macro_rules! same {
    ($pool:expr, $($task:ident => $value:expr),* $(,)?) => {$(
        let value = $value;
        assert_eq!($pool.apply($task, &value).unwrap(), value, stringify!($task));
        let back = $pool.map($task, [value]).unwrap();
        assert_eq!(back, [$value], stringify!($task));
    )*};
}

fn numbers(method: StartMethod) {
    let pool = pool(method, 1);
    same!(pool,
        small => (u8::MAX, i8::MIN, u16::MAX, i16::MIN, u32::MAX, i32::MIN, u64::MAX, i64::MIN, u128::MAX, i128::MIN),
        sized => (usize::MAX, isize::MIN, f32::MIN_POSITIVE, f64::NEG_INFINITY, true, '\u{10ffff}', ()),
        nonzero => (NonZero::new(1).unwrap(), NonZero::new(-1).unwrap(), NonZero::new(0), Wrapping(9), Saturating(-9)),
    );
    let pairs = [vec![(1, 2), (2, 2), (3, 2)]];
    assert_eq!(pool.map(ordered, &pairs).unwrap(), [[-1, 0, 1]]);
}

fn texts_and_paths(method: StartMethod) {
    let pool = pool(method, 1);
    let all = || {
        let c = CString::new("c").unwrap();
        ("ä\0".to_owned(), "box".into(), "a/ü".into(), OsString::from("os"), c)
    };
    same!(pool, text => all());
    assert_eq!(pool.map(cow, [Cow::Borrowed("a"), Cow::Owned("b".into())]).unwrap(), ["a", "b"]);
    use std::os::unix::ffi::OsStringExt as _;
    let odd = OsString::from_vec(vec![0xff, b'a']);
    let sent = (String::new(), "".into(), PathBuf::new(), odd.clone(), CString::default());
    assert_eq!(pool.apply(text, sent).unwrap().3, odd, "names of the system need not be UTF-8");
}

fn arrays_of_every_length_that_serde_knows(method: StartMethod) {
    let pool = pool(method, 1);
    same!(pool,
        no_elements => [0_u64; 0],
        one_element => ["a".to_owned()],
        seventeen => [0.5; 17],
        most_elements => [7; 32],
        nested => [[1.0, 2.0, 3.0, 4.0]; 4],
    );
}

fn longer_arrays_fit_slices(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(sum, [1; 33]).unwrap(), 33);
    assert_eq!(pool.apply(sum, [1; 4096]).unwrap(), 4096);
    assert_eq!(pool.map(sum, [[2; 1000], [3; 1000]]).unwrap(), [2000, 3000]);
    assert_eq!(pool.apply(row_sums, [[1.0, 2.0, 3.0]; 50]).unwrap(), [6.0; 50]);
}

fn collections(method: StartMethod) {
    let pool = pool(method, 1);
    let map = HashMap::from([("a".to_owned(), vec![1, 2]), (String::new(), vec![])]);
    same!(pool,
        slices => (vec![1, 2], [3, 4].into(), VecDeque::from([5]), LinkedList::from(["six".to_owned()])),
        sets => (
            HashSet::from([1, 2]),
            BTreeSet::from(["x".to_owned()]),
            map.clone(),
            BTreeMap::from([((1, 2), Some(true)), ((3, 4), None)]),
        ),
    );
    assert_eq!(pool.apply(heap, BinaryHeap::from([3, 1, 2])).unwrap(), [1, 2, 3]);
}

fn times_and_addresses(method: StartMethod) {
    let pool = pool(method, 1);
    same!(pool,
        times => (Duration::from_nanos(1_234_567_890), UNIX_EPOCH + Duration::from_millis(1_700_000_000_123)),
        addresses => (
            "127.0.0.1".parse().unwrap(),
            Ipv4Addr::BROADCAST,
            Ipv6Addr::LOCALHOST,
            "[::1]:80".parse().unwrap(),
        ),
    );
}

fn wrappers(method: StartMethod) {
    let pool = pool(method, 1);
    same!(pool,
        ranges => (1..9, -1..=1, Bound::Excluded(0.5), 3.., ..4),
        options => (Some(None), Err("no".to_owned()), Some(Box::new(1)), PhantomData),
        cells => (Cell::new(1), RefCell::new("a".to_owned()), Box::new((1, 2)), std::cmp::Reverse(3)),
    );
    let (value, count) = pool.apply(locked, (Mutex::new(2), AtomicU64::new(40))).unwrap();
    assert_eq!((value.into_inner().unwrap(), count.into_inner()), (2, 42));
}

fn borrowed_ones(method: StartMethod) {
    let pool = pool(method, 1);
    let map = HashMap::from([("a".to_owned(), 1)]);
    let (list, own): (_, Box<str>) = (vec![String::new(); 3], "four".into());
    let item = ("a", "bc", b"def", c"ghij", &map, &list, &own);
    assert_eq!(pool.apply(borrowed, item).unwrap(), 1 + 2 + 3 + 4 + 1 + 3 + 4);
}
