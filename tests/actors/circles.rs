//! Calls that would wait for themselves.

use std::time::{Duration, Instant};

use procession_tests::{EVERY, StartMethod, conformance};
use runtime::{Error, actor};
use serde::{Deserialize, Serialize};

use crate::manager;

conformance! {
    EVERY => [
        an_actor_that_calls_itself_is_told,
        an_actor_that_calls_itself_through_another_is_told,
        two_actors_that_call_each_other_are_told,
        actors_call_others,
        a_cast_to_itself_is_no_circle,
        casts_that_fill_their_own_queue_are_told,
    ];
}

/// A result whose error can be sent: the kind and the message.
type Told = Result<u32, String>;

fn told(outcome: Result<u32, Error>) -> Told {
    outcome.map_err(|error| format!("{:?}: {error}", error.kind()))
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Node {
    count: u32,
    next: Option<Box<NodeProxy>>,
}

#[actor]
impl Node {
    pub fn connect(&mut self, next: NodeProxy) {
        self.next = Some(Box::new(next));
    }

    pub fn disconnect(&mut self) {
        self.next = None;
    }

    pub fn count(&self) -> u32 {
        self.count
    }

    /// Counts in this node and in the following ones, by exclusive calls.
    pub fn count_on(&mut self, depth: u32, pause: Duration) -> Told {
        std::thread::sleep(pause);
        self.count += 1;
        match (&self.next, depth) {
            (Some(next), 1..) => {
                let outcome = next.count_on(depth - 1, pause);
                told(outcome.map(|told| told.unwrap_or(u32::MAX) + 1))
            }
            _ => Ok(1),
        }
    }

    /// Visits this node and the following ones, by shared calls.
    pub fn look_on(&self, depth: u32) -> Told {
        match (&self.next, depth) {
            (Some(next), 1..) => told(next.look_on(depth - 1).map(|told| told.unwrap_or(99) + 1)),
            _ => Ok(1),
        }
    }

    #[cast]
    pub fn add_later(&mut self, times: u32) {
        self.count += 1;
        if times > 1
            && let Some(next) = &self.next
        {
            next.add_later(times - 1).expect("there is room for one");
        }
    }

    /// Casts to itself until its queue is full.
    pub fn flood(&self) -> Told {
        let Some(own) = &self.next else { return Ok(0) };
        told((0..1_000_000).try_fold(0, |_, at| own.add_later(1).map(|()| at)))
    }
}

fn an_actor_that_calls_itself_is_told(method: StartMethod) {
    let manager = manager(method);
    let node = manager.serve(Node::default()).unwrap();
    node.connect(node.clone()).unwrap();
    for outcome in [node.count_on(1, Duration::ZERO).unwrap(), node.look_on(1).unwrap()] {
        let text = outcome.unwrap_err();
        assert!(text.starts_with("Deadlock: actor method `actors::circles::Node::"), "{text}");
        assert!(text.contains("its actor waits for this call"), "{text}");
    }
    assert_eq!(node.count().unwrap(), 1);
    node.disconnect().unwrap();
}

fn an_actor_that_calls_itself_through_another_is_told(method: StartMethod) {
    // The nodes belong to two managers, so the chain has to be sent with the calls.
    let (one, other) = (manager(method), manager(method));
    let first = one.serve(Node::default()).unwrap();
    let second = other.serve(Node { count: 0, next: Some(Box::new(first.clone())) }).unwrap();
    let third = one.serve(Node { count: 0, next: Some(Box::new(second.clone())) }).unwrap();
    first.connect(third.clone()).unwrap();
    // The fourth call would reach the first node again and is refused; the third one counts it as 99.
    let begun = Instant::now();
    let outcome = third.look_on(5).unwrap();
    assert_eq!(outcome, Ok(99 + 2));
    assert!(begun.elapsed() < Duration::from_secs(10));
    first.disconnect().unwrap();
}

fn two_actors_that_call_each_other_are_told(method: StartMethod) {
    let manager = manager(method);
    let (a, b) = (manager.serve(Node::default()).unwrap(), manager.serve(Node::default()).unwrap());
    a.connect(b.clone()).unwrap();
    b.connect(a.clone()).unwrap();
    let pause = Duration::from_millis(200);
    let outcomes = std::thread::scope(|scope| {
        let calls = [&a, &b].map(|node| scope.spawn(move || node.count_on(1, pause).unwrap()));
        calls.map(|call| call.join().unwrap())
    });
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert!(failed >= 1, "{outcomes:?}");
    for text in outcomes.into_iter().filter_map(Result::err) {
        assert!(text.starts_with("Deadlock"), "{text}");
    }
    // Both actors still work.
    assert!(a.count().unwrap() >= 1 && b.count().unwrap() >= 1);
    a.disconnect().unwrap();
    b.disconnect().unwrap();
}

fn actors_call_others(method: StartMethod) {
    let (one, other) = (manager(method), manager(method));
    let last = one.serve(Node::default()).unwrap();
    let middle = other.serve(Node { count: 0, next: Some(Box::new(last.clone())) }).unwrap();
    let first = one.serve(Node { count: 0, next: Some(Box::new(middle.clone())) }).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(first.count_on(9, Duration::ZERO).unwrap(), Ok(3));
                }
            });
        }
    });
    assert_eq!(last.count().unwrap(), 200);
}

fn a_cast_to_itself_is_no_circle(method: StartMethod) {
    let manager = manager(method);
    let node = manager.serve(Node::default()).unwrap();
    node.connect(node.clone()).unwrap();
    node.add_later(100).unwrap();
    procession_tests::wait::for_it("all casts", || node.count().unwrap() == 100);
    node.disconnect().unwrap();
}

fn casts_that_fill_their_own_queue_are_told(method: StartMethod) {
    let manager = manager(method);
    let node = manager.serve(Node::default()).unwrap();
    node.connect(node.clone()).unwrap();
    let text = node.flood().unwrap().unwrap_err();
    assert!(text.starts_with("Deadlock"), "{text}");
    assert!(text.contains("its queue is full"), "{text}");
    node.disconnect().unwrap();
}
