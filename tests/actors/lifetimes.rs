//! The ends of actors and managers.

use std::time::{Duration, Instant};

use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, processes, wait};
use runtime::{ErrorKind, List, Manager, actor, worker};
use serde::{Deserialize, Serialize};

use crate::manager;

conformance! {
    EVERY => [
        an_actor_ends_with_its_last_proxy,
        actors_end_with_their_manager,
        calls_that_run_end_before_their_manager,
        what_waits_is_told_of_the_end_of_the_manager,
        a_manager_that_does_not_end_is_told,
        a_drop_that_panics_harms_nothing_else,
        many_managers_start_and_end,
        many_actors_come_and_go,
    ];
    PROCESSES => [
        a_manager_that_does_not_end_is_killed,
    ];
}

/// Appends to a list when it is dropped.
#[derive(Serialize, Deserialize)]
pub(crate) struct Told {
    log: List<u32>,
    panics: bool,
}

impl Told {
    pub(crate) fn new(log: List<u32>) -> Self {
        Told { log, panics: false }
    }
}

#[actor]
impl Told {
    pub fn ping(&self) {}

    pub fn sleep(&mut self, time: Duration) -> u32 {
        std::thread::sleep(time);
        7
    }

    /// Makes the destructor panic. It must not be set in the caller, where values are dropped too.
    pub fn arm(&mut self) {
        self.panics = true;
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        // The caller drops its value as well, which must not be appended.
        let _ = std::thread::current().name().is_some_and(|name| name.starts_with("actor"))
            && self.log.with_timeout(Duration::from_secs(5)).push(std::process::id()).is_ok();
        assert!(!self.panics, "dropped");
    }
}

#[worker]
pub(crate) fn keep_for_long(told: ToldProxy) {
    told.ping().unwrap();
    std::thread::sleep(Duration::from_secs(50));
}

fn an_actor_ends_with_its_last_proxy(method: StartMethod) {
    let (logs, manager) = (manager(method), manager(method));
    let log = logs.list().unwrap();
    let told = manager.serve(Told::new(log.clone())).unwrap();
    let other = told.clone();
    told.ping().unwrap();
    drop(told);
    other.ping().unwrap();
    assert_eq!(log.len().unwrap(), 0);
    drop(other);
    wait::for_it("its end", || log.len().unwrap() == 1);
    assert_eq!(log.get(0).unwrap(), Some(manager.pid()));
}

fn actors_end_with_their_manager(method: StartMethod) {
    let (logs, manager) = (manager(method), manager(method));
    let log = logs.list().unwrap();
    let told = manager.serve(Told::new(log.clone())).unwrap();
    let pid = manager.pid();
    drop(manager);
    assert_eq!(log.snapshot().unwrap(), [pid], "it was dropped in its process");
    assert!(!told.is_alive());
    let error = told.ping().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ActorDied);
    assert!(!error.may_have_run());
}

fn calls_that_run_end_before_their_manager(method: StartMethod) {
    let manager =
        Manager::builder().start_method(method).grace(Duration::from_secs(20)).start().unwrap();
    let log = manager.list().unwrap();
    let told = manager.serve(Told::new(log)).unwrap();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| told.sleep(Duration::from_millis(300)));
        std::thread::sleep(Duration::from_millis(100));
        manager.shutdown().unwrap();
        assert_eq!(call.join().unwrap().unwrap(), 7);
    });
}

fn what_waits_is_told_of_the_end_of_the_manager(method: StartMethod) {
    let manager =
        Manager::builder().start_method(method).grace(Duration::from_secs(20)).start().unwrap();
    let told = manager.serve(Told::new(manager.list().unwrap())).unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| told.sleep(Duration::from_millis(500)));
        std::thread::sleep(Duration::from_millis(100));
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| told.sleep(Duration::ZERO))).collect();
        std::thread::sleep(Duration::from_millis(100));
        manager.shutdown().unwrap();
        assert_eq!(first.join().unwrap().unwrap(), 7);
        for call in waiting {
            let error = call.join().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ActorDied);
            assert!(!error.may_have_run(), "{error}");
        }
    });
}

fn slow_to_end(method: StartMethod) -> (Manager, ToldProxy) {
    let manager = Manager::builder()
        .start_method(method)
        .name("slow")
        .grace(Duration::from_millis(100))
        .start()
        .unwrap();
    let told = manager.serve(Told::new(manager.list().unwrap())).unwrap();
    (manager, told)
}

fn a_manager_that_does_not_end_is_told(method: StartMethod) {
    let (manager, told) = slow_to_end(method);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| told.sleep(Duration::from_secs(2)));
        std::thread::sleep(Duration::from_millis(100));
        let error = manager.shutdown().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("manager `slow`"), "{error}");
        match method {
            // The thread is abandoned, and the call finishes.
            StartMethod::Thread => assert_eq!(call.join().unwrap().unwrap(), 7),
            _ => {
                let error = call.join().unwrap().unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ActorDied);
                assert!(error.may_have_run());
            }
        }
    });
}

fn a_manager_that_does_not_end_is_killed(method: StartMethod) {
    let (manager, told) = slow_to_end(method);
    let pid = manager.pid();
    std::thread::scope(|scope| {
        let call = scope.spawn(|| told.sleep(Duration::from_secs(50)));
        std::thread::sleep(Duration::from_millis(100));
        let begun = Instant::now();
        drop(manager);
        assert!(begun.elapsed() >= Duration::from_millis(100));
        assert!(call.join().unwrap().is_err());
    });
    assert!(!processes::is_alive(pid));
}

fn a_drop_that_panics_harms_nothing_else(method: StartMethod) {
    // Collecting the backtrace takes time.
    let builder = Manager::builder().start_method(method).grace(Duration::from_secs(20));
    let manager = builder.start().unwrap();
    let log = manager.list().unwrap();
    let told = manager.serve(Told::new(log.clone())).unwrap();
    told.arm().unwrap();
    drop(told);
    wait::for_it("its end", || log.len().unwrap() == 1);
    let told = manager.serve(Told::new(log.clone())).unwrap();
    assert_eq!(told.sleep(Duration::ZERO).unwrap(), 7);
    manager.shutdown().unwrap();
}

fn many_managers_start_and_end(method: StartMethod) {
    for round in 0..20 {
        let manager = manager(method);
        let value = manager.value(round).unwrap();
        assert_eq!(value.get().unwrap(), round);
    }
}

fn many_actors_come_and_go(method: StartMethod) {
    let manager = manager(method);
    for round in 0..10 {
        let values: Vec<_> = (0..50).map(|at| manager.value(round * 50 + at).unwrap()).collect();
        for (at, value) in (0..).zip(&values) {
            assert_eq!(value.get().unwrap(), round * 50 + at);
        }
    }
}
