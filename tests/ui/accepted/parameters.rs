use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Point {
    x: f64,
    y: f64,
}

// A type of one's own with that name is an ordinary parameter.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum State {
    On,
    Off,
}

type Pair<T> = (T, T);

#[worker]
fn nothing() {}

#[worker]
fn unit(_: ()) {}

#[worker]
fn mutable(mut values: Vec<u64>) -> Vec<u64> {
    values.sort();
    values
}

#[worker]
fn patterns((a, b): (u64, u64), Point { x, y: _ }: Point, [c, ..]: [u64; 3], _: bool) -> f64 {
    (a + b + c) as f64 + x
}

#[worker]
fn borrowed(text: &str, path: &Path, values: &[f64], point: &Point, number: &u64) -> usize {
    text.len() + path.as_os_str().len() + values.len() + point.y as usize + *number as usize
}

#[worker]
fn elided(text: &'_ str, cow: Cow<'_, str>, pair: (Cow<'_, str>, u8)) -> String {
    format!("{text}{cow}{}{}", pair.0, pair.1)
}

#[worker]
fn generic(
    map: HashMap<String, Vec<Option<u8>>>,
    pair: Pair<u8>,
    r#type: Box<[u8; 2 + 1]>,
) -> PathBuf {
    PathBuf::from(format!("{}{}{}", map.len(), pair.0, r#type[0]))
}

#[worker]
fn eight(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: &u8) -> u8 {
    a + b + c + d + e + f + g + h
}

#[worker]
fn switched(times: u8, state: State) -> bool {
    matches!(state, State::On) && times > 0
}

fn main() {
    nothing();
    unit(());
    let point = Point { x: 1.0, y: 2.0 };
    assert_eq!(mutable(vec![2, 1]), [1, 2]);
    assert_eq!(borrowed("a", Path::new("b"), &[1.0], &point, &1), 6);
    assert_eq!(patterns((1, 2), point, [3, 0, 0], true), 7.0);
    assert_eq!(elided("a", "b".into(), ("c".into(), 1)), "abc1");
    assert_eq!(
        generic(HashMap::new(), (1, 2), Box::new([3; 3])),
        PathBuf::from("013")
    );
    assert_eq!(eight(1, 1, 1, 1, 1, 1, 1, &1), 8);
    assert!(switched(1, State::On) && !switched(1, State::Off));
}
