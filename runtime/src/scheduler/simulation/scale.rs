//! A scheduler at sizes that no machine at hand has.

use std::time::Duration;

use super::table::{Inbox, Inputs, Table};
use crate::scheduler::{CallOptions, Event, Limits, NewChunk, Scheduler};

/// Inputs of a chunk.
const CHUNK: u64 = 1_000;

/// Drives a pool of so many workers through one call of so many inputs, all workers busy,
/// and returns the number of events that the scheduler handled.
pub(crate) fn drive(workers: usize, inputs: u64) -> u64 {
    let limits = Limits {
        workers,
        queue_slots: (4 * workers).max(1024),
        first_direct: 1 << 46,
        replace: true,
        start_timeout: Duration::from_secs(30),
        init_timeout: None,
        leave_timeout: Duration::from_secs(2),
        idle_timeout: None,
        kill_patience: Duration::from_secs(10),
    };
    let mut table = Table::new(limits.queue_slots);
    let mut scheduler: Scheduler<Table> = Scheduler::new(limits);
    let (mut now, mut events) = (1, 0);
    let mut event = |event, scheduler: &mut Scheduler<Table>, table: &mut Table| {
        now += 1;
        events += 1;
        scheduler.handle(event, now, table);
        while scheduler.next_action().is_some() {}
    };
    event(Event::TimePassed, &mut scheduler, &mut table);
    for slot in 0..workers {
        event(Event::ProcessKnown { slot }, &mut scheduler, &mut table);
        event(Event::HandshakeDone { slot }, &mut scheduler, &mut table);
        event(Event::Ready { slot }, &mut scheduler, &mut table);
    }
    let call = scheduler
        .open_call(0, CallOptions::default(), Inbox::default())
        .unwrap_or_else(|_| unreachable!("the pool is open"));
    let (mut fed, mut answered, mut extra) = (0, 0, 0);
    let mut at: Vec<Option<Inputs>> = vec![None; workers];
    while answered < inputs {
        while fed < inputs && scheduler.room(call, None, false, &table).is_some() {
            let count = CHUNK.min(inputs - fed) as usize;
            let payload = Inputs { call: 0, first: fed as usize, count };
            let chunk = NewChunk { first: fed as usize, count, divisible: false, payload };
            event(Event::HandedIn { call, chunk }, &mut scheduler, &mut table);
            fed += count as u64;
        }
        for (slot, has) in at.iter_mut().enumerate() {
            if let Some(inputs) = has.take() {
                let done = scheduler.answered(slot, inputs.count, false);
                debug_assert!(done.is_ok());
                let done = scheduler.ended(slot, 1_000_000, 1, &mut table);
                debug_assert!(done.is_ok());
                answered += inputs.count as u64;
                extra += 2;
            }
            if let Some((position, inputs)) = table.claim(slot) {
                let done = scheduler.claimed(slot, position, &table);
                debug_assert!(done.is_ok());
                *has = Some(inputs);
                extra += 1;
            }
            while scheduler.next_action().is_some() {}
        }
        table.published.clear();
    }
    events + extra
}

#[cfg(test)]
mod tests {
    #[test]
    fn many_workers_are_driven() {
        assert!(super::drive(100, 1_000_000) > 3_000);
    }
}
