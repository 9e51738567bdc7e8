//! The outcomes of calls, and how calls of one actor run beside each other.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use procession_tests::{EVERY, StartMethod, conformance, has_processes};
use runtime::{Error, ErrorKind, actor, initializer};
use serde::{Deserialize, Serialize};

use crate::manager;

conformance! {
    EVERY => [
        methods_are_called_in_the_manager,
        values_of_any_length_pass,
        an_actor_is_made_by_an_initializer,
        an_initializer_that_fails_is_told,
        an_error_that_does_not_travel_is_told,
        shared_calls_run_at_once,
        exclusive_calls_run_alone,
        a_short_method_that_becomes_long_does_not_keep_others_out,
        a_cast_does_not_wait,
        calls_of_one_caller_keep_their_order,
        threads_call_at_once,
        a_panic_fails_its_call_alone,
        what_cannot_be_decoded_fails_its_call_alone,
    ];
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Scores {
    points: HashMap<String, u64>,
}

#[actor]
impl Scores {
    pub fn get(&self, name: &str) -> Option<u64> {
        self.points.get(name).copied()
    }

    /// Adds points and returns the sum.
    pub fn add(&mut self, name: String, points: u64) -> u64 {
        let sum = self.points.entry(name).or_default();
        *sum += points;
        *sum
    }

    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    pub fn merge(&mut self, other: Self) -> usize {
        self.points.extend(other.points);
        self.points.len()
    }

    #[cast]
    pub fn clear(&mut self, after: Duration) {
        std::thread::sleep(after);
        self.points.clear();
    }

    pub fn echo(&self, bytes: Vec<u8>) -> Vec<u8> {
        bytes
    }

    pub fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    pub fn parse(&self, (text, base): (String, u32)) -> Result<u64, String> {
        u64::from_str_radix(&text, base).map_err(|error| error.to_string())
    }

    pub fn fail(&mut self, text: &str) -> u8 {
        self.points.insert("half".into(), 1);
        panic!("no {text}");
    }

    pub fn refuse(&self, _: Picky) -> u8 {
        1
    }
}

fn methods_are_called_in_the_manager(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    assert_eq!(scores.get("ann").unwrap(), None);
    assert_eq!(scores.add("ann".into(), 3).unwrap(), 3);
    assert_eq!(scores.add("ann".into(), 4).unwrap(), 7);
    assert_eq!(scores.get("ann").unwrap(), Some(7));
    let other = Scores { points: HashMap::from([("ben".into(), 1)]) };
    assert_eq!(scores.merge(other).unwrap(), 2);
    assert_eq!(scores.parse(("ff".into(), 16)).unwrap(), Ok(255));
    assert_eq!(scores.pid().unwrap(), manager.pid());
    assert_eq!(manager.pid() != std::process::id(), has_processes(method));
    assert!(scores.is_alive() && manager.is_alive());
    let second = manager.serve(Scores::default()).unwrap();
    assert_eq!(second.get("ann").unwrap(), None);
}

fn values_of_any_length_pass(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    for len in [0, 1, 1 << 10, 1 << 16, (1 << 16) + 1, 1 << 20, 16 << 20] {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
        assert_eq!(scores.echo(bytes.clone()).unwrap(), bytes, "{len}");
    }
}

/// A type that implements no trait of serde.
struct Gauge {
    running: AtomicUsize,
    most: AtomicUsize,
    name: &'static str,
}

#[actor]
impl Gauge {
    /// Takes `time`, and returns how many calls were running at its start, including itself.
    pub fn shared(&self, time: Duration) -> usize {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        std::thread::sleep(time);
        self.running.fetch_sub(1, Ordering::SeqCst);
        running
    }

    /// Waits until `count` calls are running.
    pub fn meet(&self, count: usize) -> bool {
        self.running.fetch_add(1, Ordering::SeqCst);
        let end = Instant::now() + Duration::from_secs(20);
        while self.running.load(Ordering::SeqCst) % 1000 < count && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
        let met = self.running.load(Ordering::SeqCst) % 1000 >= count;
        std::thread::sleep(Duration::from_millis(5));
        met
    }

    pub fn exclusive(&mut self, time: Duration) -> usize {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        std::thread::sleep(time);
        self.running.fetch_sub(1, Ordering::SeqCst);
        running
    }

    pub fn reset(&mut self) -> String {
        self.running = AtomicUsize::new(0);
        self.name.to_owned()
    }

    /// Returns the maximum number of calls that were running at the same time.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

#[initializer]
fn make_gauge(name: String) -> Gauge {
    Gauge { running: AtomicUsize::new(0), most: AtomicUsize::new(0), name: name.leak() }
}

#[initializer]
fn fail_to_make(text: &str) -> Result<Gauge, String> {
    Err(format!("no {text}"))
}

#[initializer]
fn panic_to_make() -> Gauge {
    panic!("no gauge")
}

fn an_actor_is_made_by_an_initializer(method: StartMethod) {
    let manager = manager(method);
    let gauge = manager.make(make_gauge, "gauge".into()).unwrap();
    assert_eq!(gauge.reset().unwrap(), "gauge");
}

fn an_initializer_that_fails_is_told(method: StartMethod) {
    let manager = manager(method);
    let error = manager.make(fail_to_make, "way").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer);
    assert!(error.to_string().contains("no way"), "{error}");
    assert!(!error.may_have_run());
    let error = manager.make(panic_to_make, ()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Initializer);
    assert!(error.to_string().contains("no gauge"), "{error}");
    // The manager still works.
    assert!(manager.make(make_gauge, "gauge".into()).is_ok());
}

fn an_error_that_does_not_travel_is_told(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    let error: Error = scores.read("/no/such/file").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("Scores::read` failed"), "{error}");
    assert!(error.may_have_run());
    assert!(!scores.read("/proc/self/stat").unwrap().is_empty());
}

fn shared_calls_run_at_once(method: StartMethod) {
    let manager = manager(method);
    let gauge = manager.make(make_gauge, "gauge".into()).unwrap();
    for _ in 0..3 {
        std::thread::scope(|scope| {
            let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| gauge.meet(8).unwrap())).collect();
            assert!(calls.into_iter().all(|call| call.join().unwrap()));
        });
        gauge.reset().unwrap();
    }
}

fn exclusive_calls_run_alone(method: StartMethod) {
    let manager = manager(method);
    let gauge = manager.make(make_gauge, "gauge".into()).unwrap();
    let time = Duration::from_millis(3);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..5).for_each(|_| assert_eq!(gauge.exclusive(time).unwrap(), 1)));
            scope.spawn(|| (0..5).for_each(|_| assert!(gauge.shared(time).unwrap() >= 1)));
        }
    });
}

fn a_short_method_that_becomes_long_does_not_keep_others_out(method: StartMethod) {
    let manager = manager(method);
    let gauge = manager.make(make_gauge, "gauge".into()).unwrap();
    for _ in 0..200 {
        gauge.shared(Duration::ZERO).unwrap();
    }
    // On average the method is short. Two calls still run at the same time.
    std::thread::scope(|scope| {
        let long = scope.spawn(|| gauge.shared(Duration::from_secs(2)).unwrap());
        let begun = Instant::now();
        while gauge.shared(Duration::ZERO).unwrap() < 2 {
            assert!(begun.elapsed() < Duration::from_secs(20));
        }
        long.join().unwrap();
    });
    assert!(gauge.most().unwrap() >= 2);
}

fn a_cast_does_not_wait(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    scores.add("ann".into(), 1).unwrap();
    let begun = Instant::now();
    scores.clear(Duration::from_millis(300)).unwrap();
    let sent = begun.elapsed();
    assert_eq!(scores.get("ann").unwrap(), None);
    assert!(begun.elapsed() >= Duration::from_millis(300));
    assert!(sent < begun.elapsed() - Duration::from_millis(100), "{sent:?}");
}

fn calls_of_one_caller_keep_their_order(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    for round in 1..=100 {
        scores.clear(Duration::ZERO).unwrap();
        assert_eq!(scores.add("ann".into(), round).unwrap(), round);
    }
}

fn threads_call_at_once(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let scores = scores.clone();
            scope.spawn(move || {
                for _ in 0..200 {
                    scores.add("all".into(), 1).unwrap();
                }
            });
        }
    });
    assert_eq!(scores.get("all").unwrap(), Some(1600));
}

fn a_panic_fails_its_call_alone(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    let error = scores.fail("luck").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    let panic = error.panic().unwrap();
    assert_eq!(panic.message, "no luck");
    assert!(panic.location.as_ref().unwrap().file.ends_with("calls.rs"));
    assert!(panic.backtrace.is_some());
    assert!(error.may_have_run());
    let text = error.to_string();
    assert!(text.starts_with("actor method `actors::calls::Scores::fail` panicked"), "{text}");
    assert_eq!(error.task(), Some("actors::calls::Scores::fail"));
    assert_eq!(error.pid(), Some(manager.pid()));
    // The state is the one in which the panic left it.
    assert_eq!(scores.get("half").unwrap(), Some(1));
}

/// A type that can be encoded but not decoded.
#[derive(Serialize)]
pub(crate) struct Picky(u8);

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u8::deserialize(from)?;
        Err(serde::de::Error::custom("never"))
    }
}

fn what_cannot_be_decoded_fails_its_call_alone(method: StartMethod) {
    let manager = manager(method);
    let scores = manager.serve(Scores::default()).unwrap();
    let error = scores.refuse(Picky(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(!error.may_have_run());
    assert!(error.to_string().contains("never"), "{error}");
    assert_eq!(scores.add("ann".into(), 1).unwrap(), 1);
}
