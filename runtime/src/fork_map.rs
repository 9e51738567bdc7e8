//! A map over forked copies of the caller, for closures and borrowed data.
//!
//! A pool of the start method `Fork` consists of a template, which is forked from the calling thread, and
//! of workers, which are forked from the template. All of them have a copy of the memory of the caller,
//! including the stack of the calling thread, and run on a copy of that thread. The closure is
//! therefore not sent: each worker finds it at its address in the caller. Only indices and outputs are
//! sent.

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

/// The closure of a call, which runs one item and encodes its output.
type LentFunction<'f> = dyn Fn(usize, &mut Call<'_>) -> Outcome + 'f;

thread_local! {
    /// The number of the call and the closure that forked copies of this thread may use.
    static LENT: Cell<Option<(u64, NonNull<LentFunction<'static>>)>> = const { Cell::new(None) };
}

/// Makes a closure available to forked copies of this thread until it is dropped.
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

/// The type that identifies the closure in the registry.
struct Closure;

inventory::submit! {
    Registration::internal::<Closure>(
        || "runtime::fork_map",
        run_each_lent,
        Place { file: file!(), line: line!(), column: column!(), test: false },
    )
}

/// Calls a closure on each item in forked copies of this process, and returns the outputs in the order of
/// the items.
///
/// The closure need not be registered, and neither the closure nor the items are encoded. Each worker is a
/// fork of the calling thread and finds them in its copy of the memory. The kernel copies a page when one
/// side writes to it. The closure can therefore capture and borrow anything, including values that cannot
/// be serialized. Only the outputs are sent. Changes that the closure makes in memory affect only the copy
/// of one worker, and are lost.
///
/// The number of workers is [`usable_cpus`](crate::usable_cpus), or the number of items if that is
/// smaller. The workers exist only for this call. Starting and ending them takes some milliseconds, and
/// longer if the caller uses much memory, because its page tables are copied. Use a
/// [`Pool`](crate::Pool) for many short calls.
///
/// The rules of [`StartMethod::Fork`](crate::StartMethod::Fork) apply, whatever start method is set.
/// [`State`](crate::State) is not available. Ends of channels that the closure has captured are closed in
/// the copies.
///
/// # Errors
///
/// Returns the first failure that the caller sees, as [`Pool::map`](crate::Pool::map) does: a panic of the
/// closure, the death of a worker, or an output that cannot be encoded. Returns
/// [`ForkWithThreads`](crate::ErrorKind::ForkWithThreads) if this process has other threads, whose locks
/// would remain locked in the copies, and [`Start`](crate::ErrorKind::Start) if the process cannot be
/// forked.
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
