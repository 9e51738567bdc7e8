//! `fork_map`: closures and borrowed data in forked copies of the caller.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc;

use procession_tests::{ONCE, PROCESSES, StartMethod, conformance, pool};
use runtime::{ErrorKind, Shared, fork_map, worker};

conformance! {
    ONCE => [
        a_closure_borrows_and_captures,
        outputs_come_in_the_order_of_the_items,
        what_it_changes_is_lost,
        items_need_nothing,
        an_item_less_than_workers,
        no_item_no_process,
        a_panic_names_item_and_place,
        a_death_names_the_item,
        a_failure_is_not_the_end_of_the_program,
        an_output_that_cannot_be_encoded_is_named,
        an_output_may_hold_objects,
        it_nests,
        other_threads_are_named,
        two_after_each_other_keep_their_closures,
        it_is_no_task,
    ];
    PROCESSES => [
        it_works_inside_of_a_task,
    ];
}

fn a_closure_borrows_and_captures(_: StartMethod) {
    let factor = Rc::new(Cell::new(3_u64));
    let items: Vec<u64> = (0..100).collect();
    let outputs = fork_map(&items, |item| item * factor.get()).unwrap();
    assert_eq!(outputs, (0..100).map(|x| x * 3).collect::<Vec<u64>>());
    assert_eq!(factor.get(), 3);
}

fn outputs_come_in_the_order_of_the_items(_: StartMethod) {
    let items: Vec<String> = (0..20_000).map(|x| x.to_string()).collect();
    let outputs: Vec<u64> = fork_map(&items, |item| item.parse().unwrap()).unwrap();
    assert!(outputs.iter().copied().eq(0..20_000));
    let long = fork_map(&[1, 2, 3], |byte| vec![*byte; 3 << 20]).unwrap();
    assert!(long.iter().zip(1_u8..).all(|(bytes, x)| bytes.len() == 3 << 20 && bytes[9] == x));
}

fn what_it_changes_is_lost(_: StartMethod) {
    let calls = Cell::new(0);
    let outputs = fork_map(&[(); 10], |()| {
        calls.set(calls.get() + 1);
        (calls.get(), std::process::id())
    });
    let outputs = outputs.unwrap();
    assert_eq!(calls.get(), 0);
    assert!(outputs.iter().all(|(calls, pid)| *calls > 0 && *pid != std::process::id()));
}

/// The items are neither `Clone` nor `Send`, and cannot be serialized.
fn items_need_nothing(_: StartMethod) {
    struct Opaque(Rc<Box<dyn Fn(u32) -> u32>>);
    let items: Vec<Opaque> =
        (0..5_u32).map(|x| Opaque(Rc::new(Box::new(move |y| x * y) as Box<_>))).collect();
    assert_eq!(fork_map(&items, |item| item.0(10)).unwrap(), [0, 10, 20, 30, 40]);
}

fn an_item_less_than_workers(_: StartMethod) {
    assert_eq!(fork_map(&[5_u8], |x| x + 1).unwrap(), [6]);
}

fn no_item_no_process(_: StartMethod) {
    let (_end, ending) = mpsc::channel::<()>();
    let other = std::thread::spawn(move || ending.recv());
    // With a second thread, the call would be refused.
    assert!(fork_map(&[], |x: &u8| *x).unwrap().is_empty());
    drop(_end);
    let _ = other.join().unwrap();
}

fn a_panic_names_item_and_place(_: StartMethod) {
    let items = ["0", "1", "two", "3"];
    let error = fork_map(&items, |item| item.parse::<u64>().expect("a number")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Panicked);
    assert_eq!(error.index(), Some(2));
    assert_eq!(error.task(), Some("runtime::fork_map"));
    let report = error.panic().unwrap();
    assert!(report.message.starts_with("a number: "), "{}", report.message);
    assert!(report.location.as_ref().unwrap().file.ends_with("fork_maps.rs"));
}

fn a_death_names_the_item(_: StartMethod) {
    let error = fork_map(&[0, 1, 2], |item| {
        if *item == 1 {
            std::process::abort();
        }
        *item
    });
    let error = error.unwrap_err();
    assert_eq!((error.kind(), error.index()), (ErrorKind::Signaled, Some(1)));
    assert_eq!(error.signal(), Some(6));
}

fn a_failure_is_not_the_end_of_the_program(_: StartMethod) {
    for _ in 0..3 {
        assert!(fork_map(&[1], |_| -> u8 { panic!("no") }).is_err());
        assert_eq!(fork_map(&[1], |x| x + 1).unwrap(), [2]);
    }
}

fn an_output_that_cannot_be_encoded_is_named(_: StartMethod) {
    struct Never;
    impl serde::Serialize for Never {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("it does not want to"))
        }
    }
    impl<'de> serde::Deserialize<'de> for Never {
        fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
            Ok(Never)
        }
    }
    let error = fork_map(&[1], |_| Never).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("it does not want to"), "{error}");
}

fn an_output_may_hold_objects(_: StartMethod) {
    let lengths = [1_usize, 1000, 100_000];
    let arrays: Vec<Shared<[u32]>> =
        fork_map(&lengths, |len| Shared::<[u32]>::from_slice(&vec![7; *len]).unwrap()).unwrap();
    for (array, len) in arrays.iter().zip(lengths) {
        assert!(array.len() == len && array.iter().all(|x| *x == 7));
    }
}

fn it_nests(_: StartMethod) {
    let rows = [[1, 2, 3], [4, 5, 6]];
    let doubled = fork_map(&rows, |row| fork_map(row, |x| x * 2).unwrap()).unwrap();
    assert_eq!(doubled, [[2, 4, 6], [8, 10, 12]]);
}

fn other_threads_are_named(_: StartMethod) {
    let (end, ending) = mpsc::channel::<()>();
    let other = std::thread::Builder::new().name("other".to_owned());
    let other = other.spawn(move || ending.recv()).unwrap();
    let error = fork_map(&[1], |x| *x).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ForkWithThreads);
    assert!(error.to_string().contains("`other`"), "{error}");
    drop(end);
    let _ = other.join().unwrap();
    assert_eq!(fork_map(&[1], |x| *x).unwrap(), [1]);
}

fn two_after_each_other_keep_their_closures(_: StartMethod) {
    for factor in 1..4_u64 {
        assert_eq!(fork_map(&[1, 2], |x| x * factor).unwrap(), [factor, 2 * factor]);
    }
}

#[worker]
fn sum_by_forks(numbers: Vec<u64>) -> u64 {
    let squares = fork_map(&numbers, |x| x * x).unwrap();
    squares.into_iter().sum()
}

fn it_works_inside_of_a_task(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(sum_by_forks, vec![1, 2, 3]).unwrap(), 14);
}

fn it_is_no_task(_: StartMethod) {
    assert!(runtime::registered().iter().all(|name| !name.contains("fork_map::")));
    assert!(!runtime::registered().contains(&"runtime::fork_map"));
}
