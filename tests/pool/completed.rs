//! `as_completed` and `wait_any`: several handles at once.

use std::panic::catch_unwind;
use std::time::Duration;

use procession_tests::tasks::{fail, square, touch, until_file};
use procession_tests::{EVERY, StartMethod, conformance, pool};
use runtime::{ErrorKind, Handle, as_completed, wait_any};

conformance! {
    EVERY => [
        outcomes_come_in_the_order_of_completion,
        each_handle_is_returned_once,
        handles_of_two_pools_come_together,
        a_failure_is_an_outcome,
        a_time_that_is_over_loses_nothing,
        whole_maps_complete_too,
        the_end_of_a_pool_completes_its_handles,
        dropped_in_the_middle_the_tasks_go_on,
        the_handle_that_is_done_is_found,
        each_of_many_is_found_once,
        nothing_to_wait_for_is_refused,
    ];
}

/// PPE-41.
fn outcomes_come_in_the_order_of_completion(method: StartMethod) {
    let pool = pool(method, 3);
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let handles =
        [pool.submit(until_file, &second), pool.submit(until_file, &first), pool.submit(square, 3)];
    let mut completed = as_completed(handles);
    assert_eq!(completed.len(), 3);
    let (index, output) = completed.next().unwrap();
    assert_eq!((index, output.unwrap()), (2, 9));
    std::fs::write(&first, "x").unwrap();
    let (index, output) = completed.next().unwrap();
    assert_eq!((index, output.unwrap()), (1, 1));
    std::fs::write(&second, "x").unwrap();
    let (index, output) = completed.next().unwrap();
    assert_eq!((index, output.unwrap()), (0, 1));
    assert!(completed.next().is_none() && completed.next().is_none());
}

fn each_handle_is_returned_once(method: StartMethod) {
    let pool = pool(method, 2);
    for count in [0, 1, 5_000] {
        let handles: Vec<_> = (0..count).map(|x| pool.submit(square, x)).collect();
        let mut seen = vec![false; count as usize];
        for (index, output) in as_completed(handles) {
            assert_eq!(output.unwrap(), (index * index) as u64);
            assert!(!std::mem::replace(&mut seen[index], true), "{index} came twice");
        }
        assert!(seen.iter().all(|seen| *seen));
    }
}

fn handles_of_two_pools_come_together(method: StartMethod) {
    let pools = [pool(method, 1), pool(method, 1)];
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let handles = [pools[0].submit(until_file, &file), pools[1].submit(touch, &file)];
    let mut outputs: Vec<_> = as_completed(handles).map(|(i, o)| (i, o.unwrap())).collect();
    outputs.sort_unstable();
    assert_eq!(outputs, [(0, 1), (1, 2)]);
}

fn a_failure_is_an_outcome(method: StartMethod) {
    let pool = pool(method, 2);
    let handles = [pool.submit(fail, "one"), pool.submit(fail, "two")];
    let handles = handles.into_iter().chain([pool.submit(square, 2)]);
    let mut outcomes: Vec<_> = as_completed(handles).collect();
    outcomes.sort_by_key(|(index, _)| *index);
    let kinds: Vec<_> = outcomes.iter().map(|(_, o)| o.as_ref().map_err(|e| e.kind())).collect();
    assert_eq!(kinds, [Err(ErrorKind::Panicked), Err(ErrorKind::Panicked), Ok(&4)]);
}

fn a_time_that_is_over_loses_nothing(method: StartMethod) {
    let pool = pool(method, 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let mut completed = as_completed([pool.submit(until_file, &file)]);
    for _ in 0..3 {
        assert!(completed.next_timeout(Duration::from_millis(5)).is_err());
    }
    std::fs::write(&file, "x").unwrap();
    let (index, output) = completed.next_timeout(Duration::MAX).unwrap().unwrap();
    assert_eq!((index, output.unwrap()), (0, 1));
    assert!(completed.next_timeout(Duration::MAX).unwrap().is_none());
}

fn whole_maps_complete_too(method: StartMethod) {
    let pool = pool(method, 2);
    let handles: Vec<Handle<Vec<u64>>> =
        (0..20).map(|n| pool.map_async(square, 0..n * 50)).collect();
    let mut count = 0;
    for (index, outputs) in as_completed(handles) {
        assert_eq!(outputs.unwrap(), (0..index as u64 * 50).map(|x| x * x).collect::<Vec<_>>());
        count += 1;
    }
    assert_eq!(count, 20);
}

fn the_end_of_a_pool_completes_its_handles(method: StartMethod) {
    let pool = pool(method, 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let handles: Vec<_> = (0..10).map(|_| pool.submit(until_file, &file)).collect();
    let ends = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(20));
        pool.terminate();
    });
    let outcomes: Vec<_> = as_completed(handles).collect();
    assert_eq!(outcomes.len(), 10);
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_err()));
    ends.join().unwrap();
}

fn dropped_in_the_middle_the_tasks_go_on(method: StartMethod) {
    let pool = pool(method, 1);
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let mut completed = as_completed([pool.submit(touch, &first), pool.submit(touch, &second)]);
    completed.next().unwrap().1.unwrap();
    drop(completed);
    pool.join();
    assert!(first.exists() && second.exists());
}

fn the_handle_that_is_done_is_found(method: StartMethod) {
    let pool = pool(method, 2);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let mut handles = vec![pool.submit(until_file, &file), pool.submit(square, 5)];
    assert_eq!(wait_any(&mut handles), 1);
    // The handle is done and still in the collection.
    assert_eq!(wait_any(&mut handles), 1);
    assert_eq!(handles.swap_remove(1).wait().unwrap(), 25);
    std::fs::write(&file, "x").unwrap();
    assert_eq!(wait_any(&mut handles), 0);
    assert_eq!(handles.swap_remove(0).wait().unwrap(), 1);
}

fn each_of_many_is_found_once(method: StartMethod) {
    let pools = [pool(method, 1), pool(method, 1)];
    let mut handles: Vec<_> =
        (0..300_u64).map(|x| pools[x as usize % 2].submit(square, x)).collect();
    let mut sum = 0;
    while !handles.is_empty() {
        let index = wait_any(&mut handles);
        sum += handles.swap_remove(index).wait().unwrap();
    }
    assert_eq!(sum, (0..300).map(|x| x * x).sum::<u64>());
}

fn nothing_to_wait_for_is_refused(_: StartMethod) {
    let refused = catch_unwind(|| wait_any::<u64>(&mut [])).unwrap_err();
    let text = refused.downcast_ref::<&str>().unwrap();
    assert_eq!(*text, "wait_any needs at least one handle to wait for");
    assert_eq!(as_completed(Vec::<Handle<u64>>::new()).count(), 0);
}
