//! The items that processes have taken from a queue, and their acknowledgements (rule C12).

use std::time::Duration;

use super::end::ChannelEnd;
use super::page::{ChannelPage, ItemHolder};
use crate::atomics::Ordering;
use crate::error::{Error, ErrorKind, Result};
use crate::fault::fault;
use crate::lock::Holder;
use crate::sys::{clock, futex};

/// The interval at which a waiting thread checks whether processes have ended.
const LOOKS: Duration = Duration::from_millis(100);

/// In [`ItemHolder::state`]: the owner is about to take an item.
const BEGUN: u64 = 1;
/// One unfinished item of the owner; there are at most 2^23.
const TAKEN: u64 = 2;
/// One closed item, of this or a previous owner.
const CLOSED: u64 = 1 << 24;

/// The place where a process counts its items.
#[derive(Clone, Copy)]
pub(super) enum ItemNote<'a> {
    Own(&'a ItemHolder),
    /// All entries belong to other processes. Items that this process takes are not reported as lost if it dies.
    Untracked,
}

/// Returns the number of unfinished items.
pub(super) fn unfinished(end: &ChannelEnd) -> usize {
    let page = end.page();
    let entries = page.queue.holders.iter();
    let closed: u64 = entries.map(|entry| entry.state.load(Ordering::SeqCst) / CLOSED).sum();
    let closed = closed + page.queue.closed.load(Ordering::SeqCst);
    page.tail.0.load(Ordering::SeqCst).saturating_sub(closed) as usize
}

/// Records that this process is about to take the next item. Called under the lock of the receivers.
pub(super) fn begin(end: &ChannelEnd) -> ItemNote<'_> {
    let Some(own) = own_entry(end.page()) else { return ItemNote::Untracked };
    let number = forget_begun(end.page());
    own.number.store(number, Ordering::SeqCst);
    own.state.fetch_or(BEGUN, Ordering::SeqCst);
    fault("queue-begun");
    ItemNote::Own(own)
}

/// Records that this process has taken that item. Called under the lock of the receivers.
pub(super) fn taken(end: &ChannelEnd, note: ItemNote<'_>) {
    match note {
        ItemNote::Own(own) => own.state.fetch_add(TAKEN - BEGUN, Ordering::SeqCst),
        ItemNote::Untracked => end.page().queue.untracked.fetch_add(1, Ordering::SeqCst),
    };
    fault("queue-taken");
}

/// Records that the next item is lost with a process that died, before it is skipped. Called under the lock of the receivers.
pub(super) fn skipped(end: &ChannelEnd) {
    let page = end.page();
    forget_begun(page);
    page.queue.lost.fetch_add(1, Ordering::SeqCst);
    page.queue.closed.fetch_add(1, Ordering::SeqCst);
    wake_joiners(page);
}

/// Clears the records of processes that died before they took the next item. Otherwise it would count as theirs as soon as
/// another process has taken it. Returns the number of the item plus one. Called under the lock of the receivers.
fn forget_begun(page: &ChannelPage) -> u64 {
    let number = page.head.0.load(Ordering::Relaxed) + 1;
    for entry in &page.queue.holders {
        if entry.number.load(Ordering::SeqCst) == number {
            entry.state.fetch_and(!BEGUN, Ordering::SeqCst);
        }
    }
    number
}

/// Returns the entry of this process, which it takes if it has none; `None` if all belong to other processes.
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
        reclaim(page);
        entries.iter().find(free)
    })
}

/// Acknowledges an item that this process has taken.
///
/// # Errors
///
/// Fails if all items that this process has taken are acknowledged.
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

/// Waits until all items are closed, or until a time of the clock; returns whether all are.
///
/// # Errors
///
/// Fails if items were lost since this was reported last.
pub(super) fn join(end: &ChannelEnd, until: u64) -> Result<bool> {
    let page = end.page();
    // If this process is killed in between, the number stays too large, which costs a system call per item.
    page.queue.joiners.fetch_add(1, Ordering::SeqCst);
    let outcome = wait(end, until);
    page.queue.joiners.fetch_sub(1, Ordering::SeqCst);
    outcome
}

fn wait(end: &ChannelEnd, until: u64) -> Result<bool> {
    let page = end.page();
    loop {
        let seen = page.queue.changes.load(Ordering::SeqCst);
        reclaim(page);
        report_lost(page)?;
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

fn report_lost(page: &ChannelPage) -> Result<()> {
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

/// Closes the items of processes that have ended, counts these as lost, and frees their entries.
fn reclaim(page: &ChannelPage) {
    for entry in &page.queue.holders {
        let raw = entry.owner.load(Ordering::SeqCst);
        let Some(owner) = Holder::from_raw(raw).filter(|owner| owner.is_gone()) else { continue };
        let state = entry.state.load(Ordering::SeqCst);
        let number = entry.number.load(Ordering::SeqCst);
        // It died between `begin` and `taken`: `head` shows whether it took the item.
        let began = state & BEGUN != 0 && page.head.0.load(Ordering::SeqCst) >= number;
        let count = state % CLOSED / TAKEN + u64::from(began);
        let closed = (state / CLOSED + count) * CLOSED;
        // If the entry still has this owner, the state that was read is the state of this owner.
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
