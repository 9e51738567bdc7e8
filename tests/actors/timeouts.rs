//! Calls with a timeout.

use std::time::{Duration, Instant};

use procession_tests::{EVERY, StartMethod, conformance};
use runtime::{ErrorKind, Manager, actor, worker};
use serde::{Deserialize, Serialize};

use crate::manager;

conformance! {
    EVERY => [
        a_call_that_takes_too_long_is_told,
        a_call_that_waits_too_long_is_not_begun,
        the_builder_sets_the_time_of_all_calls,
        a_time_passes_with_its_proxy,
        an_answer_that_comes_too_late_is_nobodys,
        a_cast_that_comes_too_late_is_not_begun,
    ];
}

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Slow {
    calls: u32,
}

#[actor]
impl Slow {
    pub fn sleep(&mut self, time: Duration) -> u32 {
        self.calls += 1;
        std::thread::sleep(time);
        self.calls
    }

    pub fn calls(&self) -> u32 {
        self.calls
    }

    #[cast]
    pub fn count(&mut self) {
        self.calls += 1;
    }
}

const SHORT: Duration = Duration::from_millis(100);

fn a_call_that_takes_too_long_is_told(method: StartMethod) {
    let manager = manager(method);
    let slow = manager.serve(Slow::default()).unwrap();
    let begun = Instant::now();
    let error = slow.with_timeout(SHORT).sleep(Duration::from_millis(400)).unwrap_err();
    assert!(begun.elapsed() >= SHORT);
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(error.may_have_run());
    let text = error.to_string();
    assert!(text.contains("Slow::sleep`") && text.contains("within 100ms"), "{text}");
    // The original proxy has no timeout.
    assert_eq!(slow.sleep(SHORT * 2).unwrap(), 2);
}

fn a_call_that_waits_too_long_is_not_begun(method: StartMethod) {
    let manager = manager(method);
    let slow = manager.serve(Slow::default()).unwrap();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| slow.sleep(Duration::from_millis(500)).unwrap());
        std::thread::sleep(SHORT);
        let error = slow.with_timeout(SHORT).sleep(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        long.join().unwrap();
    });
    assert_eq!(slow.calls().unwrap(), 1);
}

fn the_builder_sets_the_time_of_all_calls(method: StartMethod) {
    let manager = Manager::builder().start_method(method).call_timeout(SHORT).start().unwrap();
    let slow = manager.serve(Slow::default()).unwrap();
    assert_eq!(slow.sleep(SHORT * 3).unwrap_err().kind(), ErrorKind::TimedOut);
    let patient = slow.with_timeout(Duration::from_secs(20));
    assert_eq!(patient.sleep(SHORT * 2).unwrap(), 2);
}

#[worker]
fn sleep(slow: SlowProxy) -> bool {
    slow.sleep(SHORT * 3).is_err_and(|error| error.kind() == ErrorKind::TimedOut)
}

fn a_time_passes_with_its_proxy(method: StartMethod) {
    let manager = manager(method);
    let slow = manager.serve(Slow::default()).unwrap();
    let pool = procession_tests::pool(method, 1);
    assert!(pool.apply(sleep, slow.with_timeout(SHORT)).unwrap());
}

fn an_answer_that_comes_too_late_is_nobodys(method: StartMethod) {
    let manager = manager(method);
    let slow = manager.serve(Slow::default()).unwrap();
    for round in 1..4 {
        let impatient = slow.with_timeout(Duration::from_millis(50));
        assert!(impatient.sleep(Duration::from_millis(500)).is_err());
        // This must not be the answer to the previous call.
        assert_eq!(slow.sleep(Duration::ZERO).unwrap(), 2 * round);
    }
}

fn a_cast_that_comes_too_late_is_not_begun(method: StartMethod) {
    let manager = manager(method);
    let slow = manager.serve(Slow::default()).unwrap();
    std::thread::scope(|scope| {
        let long = scope.spawn(|| slow.sleep(Duration::from_millis(500)).unwrap());
        std::thread::sleep(SHORT);
        slow.with_timeout(SHORT).count().unwrap();
        long.join().unwrap();
    });
    assert_eq!(slow.calls().unwrap(), 1);
    slow.with_timeout(Duration::from_secs(20)).count().unwrap();
    assert_eq!(slow.calls().unwrap(), 2);
}
