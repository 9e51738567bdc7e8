//! A map over forked copies of the caller: closures and borrowed data, copy-on-write.
//!
//! A pool of the start method `Fork` is a template that is forked from the calling thread, and
//! workers that are forked from it. All of them have the memory of the caller as it was, the frames
//! of the calling thread included, and run on a copy of that thread. So the closure is not
//! sent: each worker finds it where its caller had it, and only indices and outputs travel.

#![allow(unsafe_code, reason = "a reference that a thread lends to copies of itself")]

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call::{Call, Outcome, Param, Stop};
use crate::config::{self, StartMethod};
use crate::error::Result;
use crate::failure::FailureKind;
use crate::pool::Pool;
use crate::registry::{Place, Registration};

/// The closure of a call: runs one item and encodes its output.
type LentFunction<'f> = dyn Fn(usize, &mut Call<'_>) -> Outcome + 'f;

thread_local! {
    /// The closure that this thread lends to its copies, and the number of the call.
    static LENT: Cell<Option<(u64, NonNull<LentFunction<'static>>)>> = const { Cell::new(None) };
}

/// Takes the closure back when it is dropped.
struct Lent(Option<(u64, NonNull<LentFunction<'static>>)>);

impl Lent {
    fn new<'f>(number: u64, run: &'f LentFunction<'f>) -> Lent {
        let run = NonNull::from(run);
        // SAFETY: only the lifetime changes. The pointer is followed in copies of this thread that
        // are forked while `run` is borrowed, where the frame that owns it is never left.
        let run = unsafe {
            std::mem::transmute::<NonNull<LentFunction<'f>>, NonNull<LentFunction<'static>>>(run)
        };
        Lent(LENT.replace(Some((number, run))))
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        LENT.set(self.0);
    }
}

fn run_each_lent(call: &mut Call<'_>) -> Outcome {
    call.each(run_lent)
}

fn run_lent(call: &mut Call<'_>) -> Outcome {
    let (number, index): (u64, usize) = Param::take(call, "item")?;
    call.begin()?;
    let lent = LENT.get().filter(|(lent, _)| *lent == number);
    let Some((_, run)) = lent else {
        let text = "its closure is not in the memory of this worker".to_owned();
        return Err(Stop::new(FailureKind::NotRegistered, text));
    };
    // SAFETY: see `Lent::new`. The number says that this process is a copy of the one that lent
    // it, forked while it did.
    let run = unsafe { run.as_ref() };
    run(index, call)
}

/// Stands for the closure in the table.
struct Closure;

inventory::submit! {
    Registration::internal::<Closure>(
        || "runtime::fork_map",
        run_each_lent,
        Place { file: file!(), line: line!(), column: column!(), test: false },
    )
}

/// Calls a closure on each item in forked copies of this process, and returns the outputs in the order of the
/// items.
///
/// The closure and the items are neither registered nor encoded: each worker is a fork of the
/// calling thread and finds them in its copy of the memory, which the kernel copies page by page
/// when one side writes. So the closure may capture and borrow anything, also what cannot be
/// serialized. Only the outputs travel. What the closure changes in memory changes in the copy of one worker
/// and is lost with it.
///
/// There are as many workers as [CPUs can be used](crate::usable_cpus), and at most one for each item. They exist
/// for this call alone: starting and ending them takes some milliseconds, and more the more memory
/// the caller has in use, because its page tables are copied. For many short calls use a
/// [`Pool`](crate::Pool).
///
/// The rules of [`StartMethod::Fork`](crate::StartMethod::Fork) apply, whatever start method is set. A
/// [`State`](crate::State) is not available. Handles of channels that the closure captured are closed
/// in the copies.
///
/// # Errors
///
/// The first failure that is seen, as with [`Pool::map`](crate::Pool::map): a panic of the closure, the
/// death of a worker, an output that cannot be encoded. It is
/// [`ForkWithThreads`](crate::ErrorKind::ForkWithThreads) if this process has other threads, since what
/// they have locked would stay locked in the copies, and [`Start`](crate::ErrorKind::Start) if the process cannot
/// be forked.
///
/// ```
/// let words = ["one", "three", "eleven"].map(str::to_owned);
/// let longest = words.iter().map(String::len).max().unwrap();
///
/// // Borrows `words` and captures `longest`.
/// let padded: Vec<String> = runtime::fork_map(&words, |word| format!("{word:>longest$}"))?;
/// assert_eq!(padded, ["   one", " three", "eleven"]);
/// # Ok::<(), runtime::Error>(())
/// ```
pub fn fork_map<T, R, F>(items: &[T], f: F) -> Result<Vec<R>>
where
    F: Fn(&T) -> R,
    R: Serialize + DeserializeOwned,
{
    let run = |index: usize, call: &mut Call<'_>| {
        let output = f(&items[index]);
        call.give(&output)
    };
    if items.is_empty() {
        return Ok(Vec::new());
    }
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    let lent = Lent::new(number, &run);
    let pool = Pool::builder()
        .workers(config::usable_cpus().min(items.len()))
        .start_method(StartMethod::Fork)
        .name("fork_map")
        .build()?;
    drop(lent);
    pool.map_internal::<Closure, _, _>((0..items.len()).map(|index| (number, index)))
}
