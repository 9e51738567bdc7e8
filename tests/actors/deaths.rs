//! The errors of callers when the process of a manager dies.

use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, processes, wait};
use runtime::{Error, ErrorKind, Process, actor, worker};
use serde::{Deserialize, Serialize};

use crate::manager;

conformance! {
    PROCESSES => [
        a_call_in_a_process_that_dies_fails,
        calls_that_wait_fail_with_their_actor,
        a_call_of_a_dead_actor_did_not_run,
        a_killed_manager_makes_no_actors,
        a_caller_that_dies_harms_nothing,
        what_a_dead_caller_asked_for_is_not_begun,
        an_actor_ends_with_a_killed_holder,
    ];
    EVERY => [
        a_killed_manager_is_told_to_its_callers,
    ];
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Mortal {
    calls: u32,
}

#[actor]
impl Mortal {
    pub fn count(&mut self) -> u32 {
        self.calls += 1;
        self.calls
    }

    pub fn sleep(&mut self, time: Duration) -> u32 {
        std::thread::sleep(time);
        self.calls
    }

    pub fn wait(&self, time: Duration) {
        std::thread::sleep(time);
    }

    pub fn die(&mut self, signal: i32) -> u8 {
        nix::sys::signal::raise(Signal::try_from(signal).unwrap()).unwrap();
        0
    }

    pub fn exit(&self, code: i32) -> u8 {
        std::process::exit(code)
    }
}

fn assert_died(error: &Error, may_have_run: bool) {
    assert_eq!(error.kind(), ErrorKind::ActorDied, "{error}");
    assert_eq!(error.may_have_run(), may_have_run, "{error}");
}

fn a_call_in_a_process_that_dies_fails(method: StartMethod) {
    for exits in [false, true] {
        let manager = manager(method);
        let mortal = manager.serve(Mortal::default()).unwrap();
        let error = match exits {
            true => mortal.exit(3).unwrap_err(),
            false => mortal.die(Signal::SIGKILL as i32).unwrap_err(),
        };
        assert_died(&error, true);
        let text = error.to_string();
        assert!(text.starts_with("actor method `actors::deaths::Mortal::"), "{text}");
        assert!(text.contains("died before it answered; the call may have run"), "{text}");
        wait::for_it("its end", || !manager.is_alive());
        assert!(!mortal.is_alive());
        assert!(manager.shutdown().is_err(), "it says how it ended");
    }
}

fn calls_that_wait_fail_with_their_actor(method: StartMethod) {
    let manager = manager(method);
    let mortal = manager.serve(Mortal::default()).unwrap();
    std::thread::scope(|scope| {
        let calls: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| mortal.sleep(Duration::from_secs(50)).unwrap_err()))
            .collect();
        // One call runs, and three wait.
        std::thread::sleep(Duration::from_millis(50));
        processes::signal(manager.pid(), Signal::SIGKILL);
        calls.into_iter().for_each(|call| assert_died(&call.join().unwrap(), true));
    });
}

fn a_call_of_a_dead_actor_did_not_run(method: StartMethod) {
    let manager = manager(method);
    let mortal = manager.serve(Mortal::default()).unwrap();
    assert_eq!(mortal.count().unwrap(), 1);
    processes::signal(manager.pid(), Signal::SIGKILL);
    wait::for_it("its end", || !mortal.is_alive());
    let error = mortal.count().unwrap_err();
    assert_died(&error, false);
    assert!(error.to_string().contains("its actor has ended; the call did not run"), "{error}");
}

fn a_killed_manager_makes_no_actors(method: StartMethod) {
    let manager = manager(method);
    processes::signal(manager.pid(), Signal::SIGKILL);
    wait::for_it("its end", || !manager.is_alive());
    let error = manager.serve(Mortal::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ActorDied, "{error}");
}

fn a_killed_manager_is_told_to_its_callers(method: StartMethod) {
    let manager = manager(method);
    let mortal = manager.serve(Mortal::default()).unwrap();
    assert_eq!(mortal.count().unwrap(), 1);
    manager.kill();
    wait::for_it("its end", || !mortal.is_alive());
    assert_died(&mortal.count().unwrap_err(), false);
    assert_eq!(manager.serve(Mortal::default()).unwrap_err().kind(), ErrorKind::ActorDied);
}

#[worker]
fn call_for_long(mortal: MortalProxy) -> u32 {
    mortal.sleep(Duration::from_secs(2)).unwrap()
}

fn a_caller_that_dies_harms_nothing(method: StartMethod) {
    let manager = manager(method);
    let mortal = manager.serve(Mortal::default()).unwrap();
    for _ in 0..3 {
        let child =
            Process::builder().start_method(method).spawn(call_for_long, mortal.clone()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        child.kill();
        assert_eq!(child.join().unwrap_err().kind(), ErrorKind::Signaled);
        mortal.wait(Duration::ZERO).unwrap();
    }
    assert_eq!(mortal.count().unwrap(), 1);
}

#[worker]
fn count_later(mortal: MortalProxy, after: Duration) -> u32 {
    std::thread::sleep(after);
    mortal.count().unwrap()
}

fn what_a_dead_caller_asked_for_is_not_begun(method: StartMethod) {
    let manager = manager(method);
    let mortal = manager.serve(Mortal::default()).unwrap();
    let input = (mortal.clone(), Duration::from_millis(200));
    let child = Process::builder().start_method(method).spawn(count_later, input).unwrap();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| mortal.sleep(Duration::from_secs(1)).unwrap());
        std::thread::sleep(Duration::from_millis(500));
        child.kill();
        assert!(child.join().is_err());
        long.join().unwrap();
    });
    assert_eq!(mortal.count().unwrap(), 1, "that of the dead caller was not begun");
}

fn an_actor_ends_with_a_killed_holder(method: StartMethod) {
    let manager = manager(method);
    let log = manager.list::<u32>().unwrap();
    let told = manager.serve(crate::lifetimes::Told::new(log.clone())).unwrap();
    let child = Process::builder()
        .start_method(method)
        .spawn(crate::lifetimes::keep_for_long, told.clone())
        .unwrap();
    told.ping().unwrap();
    drop(told);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(log.len().unwrap(), 0, "the child holds a proxy");
    child.kill();
    assert!(child.join().is_err());
    wait::for_it("the end of the actor", || log.len().unwrap() == 1);
}
