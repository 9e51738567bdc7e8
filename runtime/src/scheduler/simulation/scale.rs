//! The cost of the scheduler with more workers than real machines have.

use super::table::{VirtualInbox, VirtualInputs, VirtualQueue};
use crate::scheduler::{CallId, CallOptions, Ending, Event, Limits, NewChunk, Scheduler};

/// The number of inputs of a chunk.
const CHUNK: u64 = 100;

/// A pool whose workers do everything immediately.
pub(crate) struct VirtualPool {
    scheduler: Scheduler<VirtualQueue>,
    table: VirtualQueue,
    /// The chunk that each worker has claimed.
    has: Vec<Option<(u64, VirtualInputs)>>,
    now: u64,
    /// The number of events that the scheduler has handled.
    pub(crate) events: u64,
}

impl VirtualPool {
    /// Starts `workers` workers.
    pub(crate) fn new(workers: usize) -> Self {
        let limits = Limits::new(workers, (4 * workers).max(1024), 1 << 46);
        let table = VirtualQueue::new(limits.queue_slots);
        let scheduler = Scheduler::new(limits);
        let mut pool =
            VirtualPool { scheduler, table, has: vec![None; workers], now: 1, events: 0 };
        pool.event(Event::TimePassed);
        for slot in 0..workers {
            pool.start(slot);
        }
        pool
    }

    fn event(&mut self, event: Event<VirtualQueue>) {
        self.now += 1;
        self.events += 1;
        self.scheduler.handle(event, self.now, &mut self.table);
        self.act();
    }

    fn act(&mut self) {
        while self.scheduler.next_action().is_some() {}
        self.table.published.clear();
    }

    fn start(&mut self, slot: usize) {
        self.event(Event::ProcessKnown { slot });
        self.event(Event::HandshakeDone { slot });
        self.event(Event::Ready { slot });
    }

    fn open(&mut self) -> CallId {
        let options = CallOptions::default();
        let call = self.scheduler.open_call(0, options, VirtualInbox::default());
        call.unwrap_or_else(|_| unreachable!("the pool is open"))
    }

    fn hand_in(&mut self, call: CallId, first: u64, count: u64) {
        let (first, count) = (first as usize, count as usize);
        let payload = VirtualInputs { call: 0, first, count };
        let chunk = NewChunk { first, count, divisible: false, payload };
        self.event(Event::HandedIn { call, chunk });
    }

    /// Makes a worker end its chunk and claim the next one; returns the number of inputs that it has
    /// ended.
    fn work(&mut self, slot: usize) -> u64 {
        let mut ended = 0;
        if let Some((_, inputs)) = self.has[slot].take() {
            let done = self.scheduler.answered(slot, inputs.count, false);
            debug_assert!(done.is_ok());
            let done = self.scheduler.ended(slot, 1_000_000, 1, &mut self.table);
            debug_assert!(done.is_ok());
            ended = inputs.count as u64;
            self.events += 2;
        }
        self.claim(slot);
        self.act();
        ended
    }

    fn claim(&mut self, slot: usize) {
        if let Some((position, inputs)) = self.table.claim(slot) {
            let done = self.scheduler.claimed(slot, position, &self.table);
            debug_assert!(done.is_ok());
            self.has[slot] = Some((position, inputs));
            self.events += 1;
        }
    }

    /// Hands in inputs as long as there is room, up to a number of inputs.
    fn produce(&mut self, call: CallId, handed_in: &mut u64, inputs: u64) {
        while *handed_in < inputs && self.scheduler.room(call, None, false, &self.table).is_some() {
            let count = CHUNK.min(inputs - *handed_in);
            self.hand_in(call, *handed_in, count);
            *handed_in += count;
        }
    }

    /// Runs one call that keeps all workers busy.
    pub(crate) fn map(&mut self, inputs: u64) {
        let call = self.open();
        let (mut handed_in, mut answered) = (0, 0);
        while answered < inputs {
            self.produce(call, &mut handed_in, inputs);
            for slot in 0..self.has.len() {
                answered += self.work(slot);
            }
        }
        drop(self.scheduler.take_client(call, &mut self.table));
    }

    /// Makes workers die and be replaced while one call keeps all workers busy.
    pub(crate) fn replace(&mut self, deaths: u64) {
        let call = self.open();
        let mut handed_in = 0;
        for death in 0..deaths {
            self.produce(call, &mut handed_in, u64::MAX);
            let slot = death as usize % self.has.len();
            self.work(slot);
            self.has[slot] = None;
            let ending = Ending {
                is_clean: false,
                left: false,
                from_outside: true,
                is_one_of_many: false,
                started: None,
                error: "ended",
            };
            self.event(Event::Exited { slot, ending });
            self.event(Event::TimePassed);
            self.start(slot);
            // An answer prevents a restart storm.
            self.work(slot);
            self.work(slot);
        }
        drop(self.scheduler.take_client(call, &mut self.table));
    }

    /// Opens calls of one chunk each, which is claimed, and drops them.
    pub(crate) fn drop_calls(&mut self, calls: u64) {
        for call in 0..calls {
            let slot = call as usize % self.has.len();
            let id = self.open();
            self.hand_in(id, 0, CHUNK);
            self.work(slot);
            drop(self.scheduler.take_client(id, &mut self.table));
            self.events += 1;
            self.work(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::VirtualPool;

    #[test]
    fn many_workers_are_driven() {
        let mut pool = VirtualPool::new(100);
        pool.map(1_000_000);
        assert!(pool.events > 30_000);
        pool.replace(300);
        pool.drop_calls(300);
        assert_eq!(pool.scheduler.outstanding(), 0);
        pool.map(1_000);
    }
}
