//! Dictionaries, lists and values, compared with the manager proxies of other libraries.
//!
//! These cases do not apply here:
//!
//! - slices, `+=`, `*=` and the operators of lists and sets: a read and a later write are two calls, between
//!   which others can change the value; use an actor for such changes. (MGR-01, MGR-13, MGR-14)
//! - iteration over a dictionary or list that changes: `keys` and `snapshot` return a consistent copy.
//!   (MGR-02, MGR-05)
//! - locks, conditions and barriers in a manager: `runtime::sync` provides them without a process. (MGR-10,
//!   MGR-11)
//! - connecting by an address and a key: proxies are sent as values, and managers have no address. (MGR-17,
//!   MGR-19)

use std::collections::HashMap;

use procession_tests::{EVERY, StartMethod, conformance, pool};
use runtime::{Dict, ErrorKind, List, Shared, Value, worker};
use serde::{Deserialize, Serialize};

use crate::calls::{Scores, ScoresProxy};
use crate::manager;

conformance! {
    EVERY => [
        a_dictionary_is_one,
        a_list_is_one,
        a_value_is_one,
        what_a_worker_changes_is_seen_by_all,
        numbers_are_added,
        nested_values_are_copies,
        handles_stand_in_ready_made_actors,
        ready_made_actors_stand_in_others,
        a_manager_is_a_scope,
    ];
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point {
    x: f64,
    tags: Vec<String>,
}

/// MGR-04
fn a_dictionary_is_one(method: StartMethod) {
    let manager = manager(method);
    let dict = manager.dict::<String, Point>().unwrap();
    let point = |x| Point { x, tags: vec!["a".into()] };
    assert!(dict.is_empty().unwrap());
    assert_eq!(dict.insert("one".into(), point(1.0)).unwrap(), None);
    assert_eq!(dict.insert("two".into(), point(2.0)).unwrap(), None);
    assert_eq!(dict.insert("one".into(), point(3.0)).unwrap(), Some(point(1.0)));
    assert_eq!(dict.get("one").unwrap(), Some(point(3.0)));
    assert_eq!(dict.get(&String::from("none")).unwrap(), None);
    assert!(dict.contains_key("two").unwrap() && !dict.contains_key("three").unwrap());
    assert_eq!(dict.len().unwrap(), 2);
    let mut keys = dict.keys().unwrap();
    keys.sort();
    assert_eq!(keys, ["one", "two"]);
    let expected = HashMap::from([("one".into(), point(3.0)), ("two".into(), point(2.0))]);
    assert_eq!(dict.snapshot().unwrap(), expected);
    assert_eq!(dict.remove("one").unwrap(), Some(point(3.0)));
    assert_eq!(dict.remove("one").unwrap(), None);
    dict.clear().unwrap();
    assert!(dict.is_empty().unwrap());
    let by_tuple = manager.dict::<(u8, Vec<u16>), ()>().unwrap();
    by_tuple.insert((1, vec![2, 3]), ()).unwrap();
    assert!(by_tuple.contains_key(&(1, vec![2, 3])).unwrap());
    assert!(!by_tuple.contains_key(&(1, vec![2])).unwrap());
}

/// MGR-01
fn a_list_is_one(method: StartMethod) {
    let manager = manager(method);
    let list = manager.list::<String>().unwrap();
    assert_eq!(list.pop().unwrap(), None);
    assert_eq!(list.push("a".into()).unwrap(), 1);
    assert_eq!(list.extend(["b", "c", "d"].map(String::from)).unwrap(), 4);
    assert_eq!(list.get(2).unwrap().as_deref(), Some("c"));
    assert_eq!(list.get(4).unwrap(), None);
    assert_eq!(list.set(2, "x".into()).unwrap(), "c");
    let error = list.set(4, "y".into()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("the list has 4 elements"), "{error}");
    assert_eq!(list.pop().unwrap().as_deref(), Some("d"));
    assert_eq!(list.snapshot().unwrap(), ["a", "b", "x"]);
    assert_eq!(list.len().unwrap(), 3);
    list.clear().unwrap();
    assert!(list.is_empty().unwrap());
}

fn a_value_is_one(method: StartMethod) {
    let manager = manager(method);
    let value = manager.value(Some(7_u8)).unwrap();
    assert_eq!(value.get().unwrap(), Some(7));
    value.set(None).unwrap();
    assert_eq!(value.replace(Some(8)).unwrap(), None);
    assert_eq!(value.clone().get().unwrap(), Some(8));
}

#[worker]
fn change(at: u32, dict: Dict<u32, String>, list: List<u32>, value: Value<u64>) {
    dict.insert(at, format!("task {at}")).unwrap();
    list.push(at).unwrap();
    value.update(u64::from(at)).unwrap();
}

/// MGR-10, MGR-17: texts and bytes arrive unchanged.
fn what_a_worker_changes_is_seen_by_all(method: StartMethod) {
    let (manager, pool) = (manager(method), pool(method, 3));
    let (dict, list, value) = (
        manager.dict::<u32, String>().unwrap(),
        manager.list::<u32>().unwrap(),
        manager.value(0_u64).unwrap(),
    );
    let items = (0..100).map(|at| (at, dict.clone(), list.clone(), value.clone()));
    pool.map(change, items).unwrap();
    assert_eq!(value.get().unwrap(), 4950);
    let mut seen = list.snapshot().unwrap();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..100));
    assert_eq!(dict.len().unwrap(), 100);
    assert_eq!(dict.get(&42).unwrap().as_deref(), Some("task 42"));
}

fn numbers_are_added(method: StartMethod) {
    let manager = manager(method);
    let dict = manager.dict::<String, i32>().unwrap();
    assert_eq!(dict.update("a", 5).unwrap(), 5);
    assert_eq!(dict.update("a", -7).unwrap(), -2);
    dict.insert("a".into(), i32::MAX).unwrap();
    let error = dict.update("a", 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("more than a i32 can hold"), "{error}");
    assert_eq!(dict.get("a").unwrap(), Some(i32::MAX));
    assert_eq!(manager.value(0.5).unwrap().update(0.25).unwrap(), 0.75);
}

/// MGR-07
fn nested_values_are_copies(method: StartMethod) {
    let manager = manager(method);
    let dict = manager.dict::<String, Vec<u8>>().unwrap();
    dict.insert("a".into(), vec![1]).unwrap();
    let mut copy = dict.get("a").unwrap().unwrap();
    copy.push(2);
    assert_eq!(dict.get("a").unwrap(), Some(vec![1]));
}

/// MGR-08, MGR-01: nested proxies see later changes.
fn handles_stand_in_ready_made_actors(method: StartMethod) {
    let manager = manager(method);
    let inner = manager.list::<u8>().unwrap();
    let lists = manager.list::<List<u8>>().unwrap();
    lists.push(inner.clone()).unwrap();
    inner.push(7).unwrap();
    assert_eq!(lists.get(0).unwrap().unwrap().snapshot().unwrap(), [7]);
    let images = manager.dict::<String, Shared<[u64]>>().unwrap();
    images.insert("a".into(), Shared::from_slice(&[1, 2, 3]).unwrap()).unwrap();
    assert_eq!(images.get("a").unwrap().unwrap()[..], [1, 2, 3]);
    assert_eq!(images.snapshot().unwrap()["a"][..], [1, 2, 3]);
    let scores = manager.value(manager.serve(Scores::default()).unwrap()).unwrap();
    let proxy: ScoresProxy = scores.get().unwrap();
    proxy.add("ann".into(), 1).unwrap();
    assert_eq!(scores.get().unwrap().get("ann").unwrap(), Some(1));
}

#[derive(Serialize, Deserialize)]
struct Board {
    lines: List<String>,
    total: Value<u32>,
}

#[runtime::actor]
impl Board {
    pub fn write(&self, line: &str) -> u32 {
        self.lines.push(line.to_owned()).unwrap();
        self.total.update(1).unwrap()
    }
}

fn ready_made_actors_stand_in_others(method: StartMethod) {
    let manager = manager(method);
    let (lines, total) = (manager.list().unwrap(), manager.value(0).unwrap());
    let board = manager.serve(Board { lines: lines.clone(), total }).unwrap();
    assert_eq!(board.write("a").unwrap(), 1);
    assert_eq!(board.write("b").unwrap(), 2);
    assert_eq!(lines.snapshot().unwrap(), ["a", "b"]);
}

/// MGR-16
fn a_manager_is_a_scope(method: StartMethod) {
    let value = {
        let manager = manager(method);
        let value = manager.value(1_u8).unwrap();
        assert_eq!(value.get().unwrap(), 1);
        value
    };
    assert_eq!(value.get().unwrap_err().kind(), ErrorKind::ActorDied);
    let manager = manager(method);
    manager.value(1_u8).unwrap();
    manager.shutdown().unwrap();
}
