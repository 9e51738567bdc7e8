//! The guarantees of `imap` for threads that read a stream while it is fed.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::sleep;
use std::time::{Duration, Instant};

use procession_tests::tasks::{nap, square};
use procession_tests::{EVERY, StartMethod, conformance, pool};
use runtime::{ErrorKind, worker};
use serde::{Deserialize, Serialize, Serializer};

conformance! {
    EVERY => [
        what_was_handed_in_is_delivered_before_the_panic_of_the_iterator,
        unordered_outcomes_are_delivered_before_the_panic_of_the_iterator,
        an_iterator_that_panicked_is_not_asked_again,
        a_call_whose_iterator_panics_leaves_the_pool_usable,
        a_stream_that_was_open_before_close_goes_on_to_its_end,
        join_waits_for_a_stream_of_another_thread,
        join_ends_a_stream_of_its_own_thread,
        what_is_finished_comes_before_another_input_is_pulled,
        a_stream_of_inputs_that_cannot_be_sent_works,
        a_stream_is_sent_to_another_thread,
        a_thread_that_pulls_lets_inputs_depend_on_outcomes,
        a_thread_that_pulls_withholds_nothing,
        a_thread_pulls_as_the_reader_would,
        bad_inputs_fail_alone_in_a_stream,
        waiting_for_an_outcome_has_a_limit,
        a_stopped_stream_gives_what_was_pulled,
        what_is_not_started_can_be_taken_back,
        a_cancelled_stream_does_not_wait,
        a_stream_is_dropped_while_its_iterator_blocks,
    ];
}

#[worker]
fn half(x: u64) -> u64 {
    x / 2
}

/// A type of which some values cannot be encoded.
#[derive(Deserialize)]
struct Odd(u64);

impl Serialize for Odd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 % 7 {
            3 => Err(serde::ser::Error::custom("a bad one")),
            _ => serializer.serialize_newtype_struct("Odd", &self.0),
        }
    }
}

#[worker]
fn odd(odd: Odd) -> u64 {
    odd.0
}

/// Reads an iterator to its end. Returns the outcomes and the texts of the panics.
fn all<T>(mut outcomes: impl Iterator<Item = T>) -> (Vec<T>, Vec<String>) {
    let (mut came, mut panics) = (Vec::new(), Vec::new());
    loop {
        match catch_unwind(AssertUnwindSafe(|| outcomes.next())) {
            Ok(Some(outcome)) => came.push(outcome),
            Ok(None) => break,
            Err(payload) => panics.push(payload.downcast_ref::<String>().expect("text").clone()),
        }
        assert!(panics.len() < 3, "it panics again and again");
    }
    assert!(catch_unwind(AssertUnwindSafe(|| outcomes.next().is_none())).unwrap());
    (came, panics)
}

fn what_was_handed_in_is_delivered_before_the_panic_of_the_iterator(method: StartMethod) {
    let pool = pool(method, 2);
    for at in [0, 1, 5, 300] {
        for size in [None, Some(1), Some(7)] {
            let inputs = (0..1000).inspect(|x| assert_ne!(*x, at, "no more inputs"));
            let call = match size {
                None => pool.task(square),
                Some(size) => pool.task(square).chunk_size(size),
            };
            let (came, panics) = all(call.imap(inputs).map(Result::unwrap));
            assert!(came.into_iter().eq((0..at).map(square)), "{at} {size:?}");
            assert_eq!(panics.len(), 1);
            assert!(panics[0].contains("no more inputs"), "{panics:?}");
        }
    }
    assert_eq!(pool.apply(square, 9).unwrap(), 81);
    pool.join();
}

fn unordered_outcomes_are_delivered_before_the_panic_of_the_iterator(method: StartMethod) {
    let pool = pool(method, 2);
    for at in [0, 1, 5, 300] {
        let inputs = (0..1000).inspect(|x| assert_ne!(*x, at, "no more inputs"));
        let (mut came, panics) = all(pool.imap_unordered(square, inputs));
        came.sort_unstable_by_key(|(index, _)| *index);
        let came = came.into_iter().map(|(index, outcome)| (index as u64, outcome.unwrap()));
        assert!(came.eq((0..at).map(|x| (x, x * x))));
        assert_eq!(panics.len(), 1);
    }
    pool.join();
}

fn an_iterator_that_panicked_is_not_asked_again(method: StartMethod) {
    let pool = pool(method, 2);
    let (asked, mut x) = (Cell::new(0), 0);
    let inputs = std::iter::from_fn(|| {
        asked.set(asked.get() + 1);
        assert_ne!(asked.get(), 4, "the fourth is bad");
        x += 1;
        (x < 20).then_some(x)
    });
    let (came, panics) = all(pool.imap(square, inputs).map(Result::unwrap));
    assert_eq!((came, panics.len(), asked.get()), (vec![1, 4, 9], 1, 4));
}

/// This also shows that no call stays open, because `join` would wait for it.
fn a_call_whose_iterator_panics_leaves_the_pool_usable(method: StartMethod) {
    let pool = pool(method, 2);
    let inputs = || (0..10_000).inspect(|x| assert_ne!(*x, 5000, "no more inputs"));
    let panics = |call: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(call)).is_err());
    for _ in 0..3 {
        panics(&|| drop(pool.map(square, inputs())));
        panics(&|| drop(pool.map_all(square, inputs())));
        panics(&|| drop(pool.map_async(square, inputs())));
        panics(&|| pool.imap(square, inputs()).for_each(drop));
        panics(&|| pool.imap_unordered(square, inputs()).for_each(drop));
        assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
    }
    pool.join();
}

fn a_stream_that_was_open_before_close_goes_on_to_its_end(method: StartMethod) {
    let one = pool(method, 2);
    let mut outcomes = one.imap(square, 0..5000);
    let mut unordered = one.imap_unordered(square, 0..5000);
    assert_eq!(outcomes.next().unwrap().unwrap(), 0);
    one.close();
    sleep(Duration::from_millis(200));
    assert!(outcomes.map(Result::unwrap).eq((1..5000).map(square)));
    let next = unordered.by_ref().filter(|(_, outcome)| outcome.is_ok()).count();
    assert_eq!(next, 5000, "the unordered one was open as well");
    assert_eq!(one.imap(square, 0..3).next().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    one.join();
}

fn join_waits_for_a_stream_of_another_thread(method: StartMethod) {
    let pool = pool(method, 2);
    let (begun, begins) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut outcomes = pool.imap(nap, std::iter::repeat_n(5, 40));
            let first = outcomes.next().unwrap().unwrap();
            begun.send(()).unwrap();
            let rest = outcomes.map(|outcome| {
                sleep(Duration::from_millis(5));
                outcome.unwrap()
            });
            first + rest.sum::<u64>()
        });
        begins.recv().unwrap();
        pool.join();
        assert!(pool.workers().is_empty());
        assert_eq!(reader.join().unwrap(), 200);
    });
}

/// `join` would wait for the thread that calls it.
fn join_ends_a_stream_of_its_own_thread(method: StartMethod) {
    let pool = pool(method, 2);
    let mut outcomes = pool.imap(square, 0..5000);
    assert_eq!(outcomes.next().unwrap().unwrap(), 0);
    pool.join();
    let rest: Vec<_> = outcomes.collect();
    let done = rest.iter().take_while(|outcome| outcome.is_ok()).count();
    for (x, outcome) in (1..).zip(&rest[..done]) {
        assert_eq!(*outcome.as_ref().unwrap(), x * x);
    }
    for outcome in &rest[done..] {
        assert_eq!(outcome.as_ref().unwrap_err().kind(), ErrorKind::Cancelled);
    }
}

fn what_is_finished_comes_before_another_input_is_pulled(method: StartMethod) {
    let pool = pool(method, 2);
    pool.map(square, 0..100).unwrap();
    let pulled = Cell::new(0);
    let inputs = || {
        pulled.set(0);
        (0..6).inspect(|_| {
            sleep(Duration::from_millis(150));
            pulled.set(pulled.get() + 1);
        })
    };
    let mut at = Vec::new();
    for _ in pool.imap(square, inputs()) {
        at.push(pulled.get());
    }
    for _ in pool.imap_unordered(square, inputs()) {
        at.push(pulled.get());
    }
    let late = at.iter().zip((1..=6).cycle()).filter(|(at, first)| **at > *first).count();
    assert!(late <= 2, "outcomes waited for other inputs: {at:?}");
}

fn a_stream_of_inputs_that_cannot_be_sent_works(method: StartMethod) {
    let pool = pool(method, 2);
    let seen = Rc::new(Cell::new(0));
    let counter = Rc::clone(&seen);
    let inputs = (0..10).inspect(move |_| counter.set(counter.get() + 1));
    assert_eq!(pool.imap(square, inputs).map(Result::unwrap).sum::<u64>(), 285);
    assert_eq!(seen.get(), 10);
}

fn a_stream_is_sent_to_another_thread(method: StartMethod) {
    fn check<T: Send + 'static>(sent: T) -> T {
        sent
    }
    let pool = pool(method, 2);
    let outcomes = check(pool.imap(square, 0..100));
    let unordered = check(pool.imap_unordered(square, vec![1, 2, 3]));
    let in_thread = check(pool.imap(square, 0..100).pull_in_thread());
    let sum = std::thread::spawn(move || {
        let sum = outcomes.chain(in_thread).map(Result::unwrap).sum::<u64>();
        sum + unordered.map(|(_, outcome)| outcome.unwrap()).sum::<u64>()
    });
    assert_eq!(sum.join().unwrap(), 2 * 328_350 + 14);
    // The stream is read in this thread, in another one, and in this one again.
    let mut outcomes = pool.imap(square, 0..2000);
    assert_eq!(outcomes.next().unwrap().unwrap(), 0);
    let there = std::thread::spawn(move || {
        assert!(outcomes.by_ref().take(999).map(Result::unwrap).eq((1..1000).map(square)));
        outcomes
    });
    assert!(there.join().unwrap().map(Result::unwrap).eq((1000..2000).map(square)));
    pool.join();
}

fn a_thread_that_pulls_lets_inputs_depend_on_outcomes(method: StartMethod) {
    let pool = pool(method, 2);
    for seeds in [1, 3] {
        let (more, inputs) = mpsc::channel();
        (0..seeds).for_each(|_| more.send(1 << 20).unwrap());
        let mut outcomes = pool.imap(half, inputs).pull_in_thread();
        let mut ended = 0;
        let mut more = Some(more);
        for outcome in &mut outcomes {
            match outcome.unwrap() {
                0 => ended += 1,
                x => more.as_ref().unwrap().send(x).unwrap(),
            }
            if ended == seeds {
                more = None;
            }
        }
        assert_eq!(ended, seeds);
    }
    pool.join();
}

/// Ten inputs arrive at once, and then none for a long time. The outcomes are returned nevertheless.
fn a_thread_that_pulls_withholds_nothing(method: StartMethod) {
    let pool = pool(method, 2);
    pool.map(square, 0..1000).unwrap();
    let (done, end) = mpsc::channel::<()>();
    let inputs = (0..11).inspect(move |x| {
        if *x == 10 {
            let _ = end.recv();
        }
    });
    let mut outcomes = pool.imap(square, inputs).pull_in_thread();
    for x in 0..10 {
        assert_eq!(outcomes.next().unwrap().unwrap(), x * x);
    }
    assert!(outcomes.next_timeout(Duration::from_millis(50)).is_err());
    drop(done);
    assert_eq!(outcomes.next().unwrap().unwrap(), 100);
    assert!(outcomes.next().is_none());
}

fn a_thread_pulls_as_the_reader_would(method: StartMethod) {
    let pool = pool(method, 2);
    let outcomes = pool.imap(square, 0..20_000).pull_in_thread();
    assert!(outcomes.map(Result::unwrap).eq((0..20_000).map(square)));
    let mut unordered: Vec<_> = pool
        .imap_unordered(square, 0..5000)
        .pull_in_thread()
        .map(|(index, outcome)| (index as u64, outcome.unwrap()))
        .collect();
    unordered.sort_unstable();
    assert!(unordered.into_iter().eq((0..5000).map(|x| (x, x * x))));
    assert_eq!(pool.imap(square, 0..0).pull_in_thread().count(), 0);
    for at in [0, 1, 300] {
        let inputs = (0..1000).inspect(move |x| assert_ne!(*x, at, "no more inputs"));
        let (came, panics) = all(pool.imap(square, inputs).pull_in_thread().map(Result::unwrap));
        assert!(came.into_iter().eq((0..at).map(square)));
        assert_eq!(panics.len(), 1);
    }
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let inputs = (0..).inspect(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    let mut outcomes = pool.task(square).look_ahead(5).imap(inputs).pull_in_thread();
    outcomes.next().unwrap().unwrap();
    sleep(Duration::from_millis(50));
    assert!((5..=6).contains(&taken.load(Ordering::SeqCst)), "{taken:?} of 5");
    drop(outcomes);
    pool.join();
}

/// Inputs that cannot be encoded, between others that can.
fn bad_inputs_fail_alone_in_a_stream(method: StartMethod) {
    let pool = pool(method, 2);
    let inputs = || (0..300).map(Odd);
    let check = |outcomes: Vec<runtime::Result<u64>>| {
        assert_eq!(outcomes.len(), 300);
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(value) => assert!(value == x && x % 7 != 3),
                Err(error) => {
                    assert_eq!(
                        (error.kind(), error.index()),
                        (ErrorKind::Encode, Some(x as usize))
                    );
                }
            }
        }
    };
    check(pool.imap(odd, inputs()).collect());
    check(pool.imap(odd, inputs()).pull_in_thread().collect());
    pool.join();
}

fn waiting_for_an_outcome_has_a_limit(method: StartMethod) {
    let pool = pool(method, 2);
    let mut outcomes = pool.imap(nap, [400, 0]);
    let begun = Instant::now();
    assert!(outcomes.next_timeout(Duration::ZERO).is_err());
    assert!(outcomes.next_timeout(Duration::from_millis(40)).is_err());
    assert!(begun.elapsed() >= Duration::from_millis(40));
    assert_eq!(outcomes.next_timeout(Duration::from_secs(30)).unwrap().unwrap().unwrap(), 400);
    assert_eq!(outcomes.next_timeout(Duration::MAX).unwrap().unwrap().unwrap(), 0);
    assert!(outcomes.next_timeout(Duration::ZERO).unwrap().is_none());
    let mut unordered = pool.imap_unordered(nap, [400, 0]);
    assert_eq!(unordered.next_timeout(Duration::from_secs(30)).unwrap().unwrap().0, 1);
    assert!(unordered.next_timeout(Duration::ZERO).is_err());
    assert_eq!(unordered.next_timeout(Duration::from_secs(30)).unwrap().unwrap().0, 0);
    // Polling without waiting makes progress as well.
    let mut outcomes = pool.imap(square, 0..500);
    let mut came = 0;
    while let Some(outcome) = outcomes.next_timeout(Duration::ZERO).unwrap_or(Some(Ok(u64::MAX))) {
        came += u64::from(outcome.unwrap() != u64::MAX);
    }
    assert_eq!(came, 500);
}

fn a_stopped_stream_gives_what_was_pulled(method: StartMethod) {
    let pool = pool(method, 2);
    let taken = Rc::new(Cell::new(0));
    let counter = Rc::clone(&taken);
    let inputs = (0..).inspect(move |_| counter.set(counter.get() + 1));
    let mut outcomes = pool.imap(square, inputs);
    assert!(outcomes.by_ref().take(10).map(Result::unwrap).eq((0..10).map(square)));
    outcomes.stop();
    let pulled = taken.get();
    assert!(outcomes.by_ref().map(Result::unwrap).eq((10..pulled).map(square)));
    assert_eq!(taken.get(), pulled);
    assert!(outcomes.next().is_none());
    let mut unordered = pool.imap_unordered(square, 0..).pull_in_thread();
    unordered.next().unwrap().1.unwrap();
    unordered.stop();
    unordered.for_each(|(index, outcome)| assert_eq!(outcome.unwrap(), (index * index) as u64));
    pool.join();
}

/// The input that a worker has begun is not lost. The other inputs of its chunk do not run.
fn what_is_not_started_can_be_taken_back(method: StartMethod) {
    let pool = pool(method, 2);
    for (size, in_thread) in [(1, false), (50, false), (1, true), (50, true)] {
        let call = pool.task(nap).look_ahead(200).chunk_size(size);
        let mut outcomes = call.imap(std::iter::repeat_n(40, 1000));
        if in_thread {
            outcomes = outcomes.pull_in_thread();
        }
        let _ = outcomes.next_timeout(Duration::from_millis(400));
        let begun = Instant::now();
        outcomes.take_back();
        let rest: Vec<_> = outcomes.collect();
        // The inputs would take more than two seconds.
        assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
        let (done, lost): (Vec<_>, Vec<_>) = rest.iter().partition(|outcome| outcome.is_ok());
        assert!(!done.is_empty(), "a task ran");
        assert!(lost.len() > 50, "{} were taken back", lost.len());
        for error in lost.iter().map(|outcome| outcome.as_ref().unwrap_err()) {
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert!(error.index().is_some());
        }
    }
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
    pool.join();
}

fn a_cancelled_stream_does_not_wait(method: StartMethod) {
    let pool = pool(method, 2);
    for in_thread in [false, true] {
        let inputs = (0..1000).map(|at| if at < 4 { 0 } else { 700 });
        let mut outcomes = pool.task(nap).look_ahead(100).imap(inputs);
        if in_thread {
            outcomes = outcomes.pull_in_thread();
        }
        assert!(outcomes.by_ref().take(4).all(|outcome| outcome.unwrap() == 0));
        let _ = outcomes.next_timeout(Duration::from_millis(20));
        let begun = Instant::now();
        outcomes.cancel();
        let rest: Vec<_> = outcomes.by_ref().collect();
        assert!(begun.elapsed() < Duration::from_millis(600), "{:?}", begun.elapsed());
        assert!((2..=100).contains(&rest.len()), "{} were pulled", rest.len());
        for (at, outcome) in rest.iter().enumerate() {
            let error = outcome.as_ref().unwrap_err();
            assert_eq!((error.kind(), error.index()), (ErrorKind::Cancelled, Some(at + 4)));
        }
        outcomes.cancel();
        assert!(outcomes.next().is_none());
        sleep(Duration::from_millis(800));
    }
    let mut unordered = pool.imap_unordered(square, 0..);
    unordered.next().unwrap().1.unwrap();
    unordered.cancel();
    let mut seen = std::collections::HashSet::new();
    unordered.for_each(|(index, _)| assert!(seen.insert(index), "{index} came twice"));
    assert_eq!(pool.map(square, 0..100).unwrap()[99], 9801);
    pool.join();
}

/// The reader may end while the iterator blocks; the thread ends when the iterator returns.
fn a_stream_is_dropped_while_its_iterator_blocks(method: StartMethod) {
    let pool = pool(method, 2);
    let (done, inputs) = mpsc::channel();
    done.send(3).unwrap();
    let mut outcomes = pool.imap(square, inputs).pull_in_thread();
    assert_eq!(outcomes.next().unwrap().unwrap(), 9);
    drop(outcomes);
    assert_eq!(pool.apply(square, 9).unwrap(), 81);
    pool.join();
    drop(done);
    procession_tests::wait::for_it("the thread has ended", || {
        std::fs::read_dir("/proc/self/task").unwrap().count() == 1
    });
}
