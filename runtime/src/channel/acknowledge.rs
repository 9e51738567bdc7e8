//! Who took which items of a queue, and how many are done (rule C12).

use std::time::Duration;

use super::end::ChannelEnd;
use super::page::{ChannelPage, ItemHolder};
use crate::atomics::Ordering;
use crate::error::{Error, ErrorKind, Result};
use crate::fault::fault;
use crate::lock::Holder;
use crate::sys::{clock, futex};

/// How often one that waits looks whether a process ended.
const LOOKS: Duration = Duration::from_millis(100);

/// In the state of a process: it is about to take an item.
const BEGUN: u64 = 1;
/// One item that it has taken and that is not done, of at most 2^23.
const TAKEN: u64 = 2;
/// One item that is done, or was lost with a process that had this entry.
const CLOSED: u64 = 1 << 24;

/// Where a process notes what it has.
#[derive(Clone, Copy)]
pub(super) enum ItemNote<'a> {
    Own(&'a ItemHolder),
    /// Too many processes have taken something: what this one has is not missed if it dies.
    Untracked,
}

/// How many items were put in and are not done.
pub(super) fn unfinished(end: &ChannelEnd) -> usize {
    let page = end.page();
    let entries = page.queue.holders.iter();
    let closed: u64 = entries.map(|entry| entry.state.load(Ordering::SeqCst) / CLOSED).sum();
    let closed = closed + page.queue.closed.load(Ordering::SeqCst);
    page.tail.0.load(Ordering::SeqCst).saturating_sub(closed) as usize
}

/// Notes that this process is about to take the next item. Under the lock of the receivers.
pub(super) fn begin(end: &ChannelEnd) -> ItemNote<'_> {
    let Some(own) = own_entry(end.page()) else { return ItemNote::Untracked };
    let number = forget_begun(end.page());
    own.number.store(number, Ordering::SeqCst);
    own.state.fetch_or(BEGUN, Ordering::SeqCst);
    fault("queue-begun");
    ItemNote::Own(own)
}

/// Notes that it took it. Under the lock of the receivers.
pub(super) fn taken(end: &ChannelEnd, note: ItemNote<'_>) {
    match note {
        ItemNote::Own(own) => own.state.fetch_add(TAKEN - BEGUN, Ordering::SeqCst),
        ItemNote::Untracked => end.page().queue.untracked.fetch_add(1, Ordering::SeqCst),
    };
    fault("queue-taken");
}

/// Notes that the next item was in the hands of a process that died, before it is thrown away. Under the lock of the receivers.
pub(super) fn skipped(end: &ChannelEnd) {
    let page = end.page();
    forget_begun(page);
    page.queue.lost.fetch_add(1, Ordering::SeqCst);
    page.queue.closed.fetch_add(1, Ordering::SeqCst);
    wake_joiners(page);
}

/// Clears the notes of processes that died before they took the next item, so that it does not count as taken by them
/// when its number has passed; returns that number plus one. Under the lock of the receivers.
fn forget_begun(page: &ChannelPage) -> u64 {
    let number = page.head.0.load(Ordering::Relaxed) + 1;
    for entry in &page.queue.holders {
        if entry.number.load(Ordering::SeqCst) == number {
            entry.state.fetch_and(!BEGUN, Ordering::SeqCst);
        }
    }
    number
}

/// The entry of this process; `None` if too many have one.
fn own_entry(page: &ChannelPage) -> Option<&ItemHolder> {
    let me = Holder::of_process().raw();
    let entries = &page.queue.holders;
    if let Some(own) = entries.iter().find(|entry| entry.owner.load(Ordering::SeqCst) == me) {
        return Some(own);
    }
    let free = |entry: &&ItemHolder| {
        entry.owner.compare_exchange(0, me, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    };
    entries.iter().find(free).or_else(|| {
        bury(page);
        entries.iter().find(free)
    })
}

/// An item that this process took is done.
pub(super) fn done(end: &ChannelEnd) -> Result<()> {
    let page = end.page();
    let me = Holder::of_process().raw();
    let own = page.queue.holders.iter().find(|own| own.owner.load(Ordering::SeqCst) == me);
    let closed = own.is_some_and(|own| {
        let close = |state: u64| (state % CLOSED >= TAKEN).then(|| state - TAKEN + CLOSED);
        own.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, close).is_ok()
    });
    let less = |count: u64| count.checked_sub(1);
    let untracked = &page.queue.untracked;
    if !closed && untracked.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_err() {
        let text = "task_done was called more often than this process took items from the queue";
        return Err(Error::new(ErrorKind::Configuration, text));
    }
    if !closed {
        page.queue.closed.fetch_add(1, Ordering::SeqCst);
    }
    fault("queue-done");
    wake_joiners(page);
    Ok(())
}

fn wake_joiners(page: &ChannelPage) {
    if page.queue.joiners.load(Ordering::SeqCst) != 0 {
        page.queue.changes.fetch_add(1, Ordering::SeqCst);
        futex::wake(&page.queue.changes, i32::MAX);
    }
}

/// Waits until everything is done, or it is a time of the clock; returns whether everything is.
///
/// # Errors
///
/// If items were lost since somebody was told.
pub(super) fn join(end: &ChannelEnd, until: u64) -> Result<bool> {
    let page = end.page();
    // If this process is killed here it stays too large, which costs a system call for each item.
    page.queue.joiners.fetch_add(1, Ordering::SeqCst);
    let outcome = wait(end, until);
    page.queue.joiners.fetch_sub(1, Ordering::SeqCst);
    outcome
}

fn wait(end: &ChannelEnd, until: u64) -> Result<bool> {
    let page = end.page();
    loop {
        let seen = page.queue.changes.load(Ordering::SeqCst);
        bury(page);
        tell_lost(page)?;
        if unfinished(end) == 0 {
            return Ok(true);
        }
        let now = clock::now();
        if now >= until {
            return Ok(false);
        }
        let left = Duration::from_nanos(until - now);
        futex::wait(&page.queue.changes, seen, Some(left.min(LOOKS)));
    }
}

fn tell_lost(page: &ChannelPage) -> Result<()> {
    let text = match page.queue.lost.swap(0, Ordering::SeqCst) {
        0 => return Ok(()),
        1 => "an item of a queue was taken by a process that ended without saying that it is done"
            .to_owned(),
        lost => format!(
            "{lost} items of a queue were taken by processes that ended without saying that they are done"
        ),
    };
    Err(Error::new(ErrorKind::Lost, text))
}

/// Closes what processes had taken that ended.
fn bury(page: &ChannelPage) {
    for entry in &page.queue.holders {
        let raw = entry.owner.load(Ordering::SeqCst);
        let Some(owner) = Holder::from_raw(raw).filter(|owner| owner.is_gone()) else { continue };
        let state = entry.state.load(Ordering::SeqCst);
        let number = entry.number.load(Ordering::SeqCst);
        // It died while it took one; was it taken?
        let began = state & BEGUN != 0 && page.head.0.load(Ordering::SeqCst) >= number;
        let count = state % CLOSED / TAKEN + u64::from(began);
        let closed = (state / CLOSED + count) * CLOSED;
        // Still its entry after its state was read: so it is its state, if nobody changed it.
        if entry.owner.load(Ordering::SeqCst) != owner.raw() {
            continue;
        }
        let swap = entry.state.compare_exchange(state, closed, Ordering::SeqCst, Ordering::SeqCst);
        if swap.is_ok() {
            page.queue.lost.fetch_add(count, Ordering::SeqCst);
            let _ = entry.owner.compare_exchange(raw, 0, Ordering::SeqCst, Ordering::SeqCst);
        }
    }
}
