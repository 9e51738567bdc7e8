//! `imap` and `imap_unordered`.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use procession_tests::tasks::square;
use procession_tests::{EVERY, StartMethod, conformance, pool};
use runtime::{ErrorKind, worker};

conformance! {
    EVERY => [
        outcomes_come_in_input_order_then_end,
        unordered_outcomes_are_the_same_set,
        endless_inputs_are_taken_as_they_are_needed,
        the_look_ahead_is_bounded,
        a_slow_iterator_holds_up_nothing_that_is_done,
        iteration_goes_on_after_a_failure,
        an_iterator_that_panics_reaches_the_caller,
        an_iterator_that_panics_reaches_the_caller_unordered,
        dropping_it_half_way_leaves_the_pool_usable,
        two_can_be_interleaved,
    ];
}

#[worker]
fn not_seven(x: u64) -> u64 {
    assert_ne!(x, 7, "seven");
    x
}

/// POOL-10, PPE-07.
fn outcomes_come_in_input_order_then_end(method: StartMethod) {
    let pool = pool(method, 2);
    let mut outcomes = pool.imap(square, 0..10);
    for x in 0..10 {
        assert_eq!(outcomes.next().expect("one more").unwrap(), x * x);
    }
    assert!(outcomes.next().is_none() && outcomes.next().is_none());
    drop(outcomes);
    for size in [1, 100, 1000, 5000] {
        let outcomes = pool.task(square).chunk_size(size).imap(0..1000);
        let squares: Vec<u64> = outcomes.map(Result::unwrap).collect();
        assert!(squares.into_iter().eq((0..1000).map(square)));
    }
}

/// POOL-13.
fn unordered_outcomes_are_the_same_set(method: StartMethod) {
    let pool = pool(method, 2);
    let mut outcomes: Vec<(usize, u64)> = pool
        .imap_unordered(square, 0..1000)
        .map(|(index, outcome)| (index, outcome.unwrap()))
        .collect();
    outcomes.sort_unstable();
    let expected = (0..1000).map(|x| (x as usize, square(x)));
    assert!(outcomes.into_iter().eq(expected));
}

/// PPE-07: endless inputs.
fn endless_inputs_are_taken_as_they_are_needed(method: StartMethod) {
    let pool = pool(method, 2);
    let first: Vec<u64> = pool.imap(square, 0..).map(Result::unwrap).take(2000).collect();
    assert!(first.into_iter().eq((0..2000).map(square)));
    let some = pool.imap_unordered(square, 0..).take(500);
    assert!(some.into_iter().all(|(index, s)| s.unwrap() == (index * index) as u64));
}

/// PPE-08: a limit, not an exact number.
fn the_look_ahead_is_bounded(method: StartMethod) {
    let pool = pool(method, 2);
    let taken = Cell::new(0_u64);
    let inputs = (0..).inspect(|_| taken.set(taken.get() + 1));
    let mut outcomes = pool.imap(square, inputs);
    assert_eq!(taken.get(), 0, "nothing is taken before it is asked");
    for given in 1..=1000 {
        outcomes.next().expect("endless").unwrap();
        let ahead = taken.get() - given;
        assert!(ahead <= 1024, "{ahead} inputs ahead");
    }
}

fn a_slow_iterator_holds_up_nothing_that_is_done(method: StartMethod) {
    let pool = pool(method, 2);
    let inputs = (0..5).inspect(|_| std::thread::sleep(Duration::from_millis(30)));
    let begin = Instant::now();
    let squares: Vec<u64> = pool.imap(square, inputs).map(Result::unwrap).collect();
    assert_eq!(squares, [0, 1, 4, 9, 16]);
    assert!(begin.elapsed() >= Duration::from_millis(150));
}

/// PPE-04.
fn iteration_goes_on_after_a_failure(method: StartMethod) {
    let pool = pool(method, 2);
    for size in [1, 5, 100] {
        let outcomes: Vec<_> = pool.task(not_seven).chunk_size(size).imap(0..20).collect();
        assert_eq!(outcomes.len(), 20);
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(value) => assert!(value == x && x != 7),
                Err(error) => {
                    assert_eq!((error.kind(), error.index()), (ErrorKind::Panicked, Some(7)));
                    assert_eq!(x, 7);
                }
            }
        }
    }
}

/// POOL-11: the outcomes before the panic of the iterator are right.
fn an_iterator_that_panics_reaches_the_caller(method: StartMethod) {
    let pool = pool(method, 2);
    for at in [0, 3, 300] {
        let inputs = (0..1000).inspect(move |x| assert_ne!(*x, at, "no more inputs"));
        let mut outcomes = pool.imap(square, inputs);
        let mut delivered = 0;
        let payload = catch_unwind(AssertUnwindSafe(|| {
            for outcome in &mut outcomes {
                assert_eq!(outcome.unwrap(), delivered * delivered);
                delivered += 1;
            }
        }));
        let payload = payload.unwrap_err();
        let text = payload.downcast_ref::<String>().expect("text");
        assert!(text.contains("no more inputs"), "{text}");
        assert!(delivered <= at);
        drop(outcomes);
        assert_eq!(pool.apply(square, 9).unwrap(), 81);
    }
}

/// POOL-14.
fn an_iterator_that_panics_reaches_the_caller_unordered(method: StartMethod) {
    let pool = pool(method, 2);
    let inputs = (0..1000).inspect(|x| assert_ne!(*x, 300, "no more inputs"));
    let mut seen = std::collections::HashSet::new();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        for (index, outcome) in pool.imap_unordered(square, inputs) {
            assert_eq!(outcome.unwrap(), (index * index) as u64);
            assert!(seen.insert(index), "{index} came twice");
        }
    }));
    assert!(outcome.is_err());
    assert!(seen.iter().all(|index| *index < 300));
    assert_eq!(pool.apply(square, 9).unwrap(), 81);
}

fn dropping_it_half_way_leaves_the_pool_usable(method: StartMethod) {
    let pool = pool(method, 2);
    for _ in 0..20 {
        let mut outcomes = pool.imap(square, 0..1000);
        outcomes.next().expect("one").unwrap();
        drop(outcomes);
    }
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
}

fn two_can_be_interleaved(method: StartMethod) {
    let pool = pool(method, 2);
    let (one, other) = (pool.imap(square, 0..500), pool.imap(not_seven, 10..510));
    for (x, (one, other)) in (0..).zip(one.zip(other)) {
        assert_eq!((one.unwrap(), other.unwrap()), (x * x, x + 10));
    }
}
