//! Managers that restart their process.

use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::{EXECUTED, StartMethod, conformance, processes, wait};
use runtime::{ErrorKind, Manager, actor, initializer};

conformance! {
    EXECUTED => [
        actors_are_made_again,
        what_nobody_had_received_is_served,
        values_that_were_handed_over_are_gone,
        restarts_are_counted,
        an_actor_that_has_ended_is_not_made_again,
    ];
    &[StartMethod::Fork, StartMethod::Thread] => [restarts_are_refused];
}

struct Counter(u32);

#[initializer]
fn count_from(start: u32) -> Counter {
    Counter(start)
}

#[actor]
impl Counter {
    pub fn next(&mut self) -> u32 {
        self.0 += 1;
        self.0
    }

    pub fn pid(&self) -> u32 {
        std::process::id()
    }

    pub fn die(&mut self, after: Duration) {
        std::thread::sleep(after);
        nix::sys::signal::raise(Signal::SIGKILL).unwrap();
    }
}

fn restarting(method: StartMethod, most: u32) -> Manager {
    Manager::builder().start_method(method).restarts(most).start().expect("it starts")
}

fn actors_are_made_again(method: StartMethod) {
    let manager = restarting(method, 3);
    let (one, other) =
        (manager.make(count_from, 10).unwrap(), manager.make(count_from, 20).unwrap());
    for _ in 0..3 {
        assert_eq!((one.next().unwrap(), other.next().unwrap()), (11, 21));
        assert_eq!((one.next().unwrap(), other.next().unwrap()), (12, 22));
        let before = one.pid().unwrap();
        let error = one.die(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ActorDied);
        assert!(error.may_have_run());
        // The same proxies work. Their calls wait until the new process has started.
        assert_ne!(one.pid().unwrap(), before);
    }
    assert_eq!(one.next().unwrap(), 11);
    assert_eq!(manager.pid(), one.pid().unwrap());
    let third = manager.make(count_from, 30).unwrap();
    assert_eq!(third.next().unwrap(), 31);
}

fn what_nobody_had_received_is_served(method: StartMethod) {
    let manager = restarting(method, 1);
    let counter = manager.make(count_from, 0).unwrap();
    std::thread::scope(|scope| {
        let dying = scope.spawn(|| counter.die(Duration::from_millis(300)));
        std::thread::sleep(Duration::from_millis(100));
        // These callers have no reply link to the process yet.
        let calls: Vec<_> = (0..3).map(|_| scope.spawn(|| counter.next())).collect();
        assert!(dying.join().unwrap().is_err());
        let mut served: Vec<_> =
            calls.into_iter().map(|call| call.join().unwrap().unwrap()).collect();
        served.sort_unstable();
        assert_eq!(served, [1, 2, 3]);
    });
}

fn values_that_were_handed_over_are_gone(method: StartMethod) {
    let manager = restarting(method, 1);
    let (counter, value) = (manager.make(count_from, 0).unwrap(), manager.value(1_u8).unwrap());
    assert_eq!(value.get().unwrap(), 1);
    processes::signal(manager.pid(), Signal::SIGKILL);
    wait::for_it("the new process", || counter.next().is_ok());
    assert_eq!(value.get().unwrap_err().kind(), ErrorKind::ActorDied);
    assert_eq!(manager.value(2_u8).unwrap().get().unwrap(), 2);
}

fn restarts_are_counted(method: StartMethod) {
    let manager = restarting(method, 1);
    let counter = manager.make(count_from, 0).unwrap();
    assert!(counter.die(Duration::ZERO).is_err());
    assert_eq!(counter.next().unwrap(), 1);
    assert!(counter.die(Duration::ZERO).is_err());
    wait::for_it("the end", || !counter.is_alive());
    let error = counter.next().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ActorDied);
    assert!(!error.may_have_run());
}

fn an_actor_that_has_ended_is_not_made_again(method: StartMethod) {
    let manager = restarting(method, 1);
    let counter = manager.make(count_from, 0).unwrap();
    drop(manager.make(count_from, 5).unwrap());
    assert!(counter.die(Duration::ZERO).is_err());
    assert_eq!(counter.next().unwrap(), 1);
    manager.shutdown().unwrap();
}

fn restarts_are_refused(method: StartMethod) {
    let builder = Manager::builder().name("phoenix").start_method(method).restarts(1);
    let error = builder.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("manager `phoenix`"), "{error}");
}
