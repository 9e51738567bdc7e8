//! Chunks that take longer than intended.
//!
//! The length of a chunk is derived from the recent duration of its inputs. If inputs become slow, a
//! chunk of thousands of inputs would stay with its worker while other workers are idle.

use std::time::Duration;

use super::chunk::Only;
use super::{Action, CallId, Port, Scheduler};

impl<P: Port> Scheduler<P> {
    /// Asks a worker to stop after its current input, and divides the rest of its chunk again.
    pub(super) fn cut_slow(
        &mut self,
        slot: usize,
        position: u64,
        took: Duration,
        begun: usize,
        port: &mut P,
    ) {
        let holds = self.workers.get(slot).is_some_and(|slot| {
            slot.worker.is_serving() && slot.worker.position() == Some(position)
        });
        let Some(chunk) = self.in_flight.get(position).filter(|_| holds) else { return };
        if chunk.only != Only::Any || begun >= chunk.count {
            return;
        }
        let (id, done) = (chunk.call, begun.min(chunk.answered + 1));
        let Some(call) = self.calls.get_mut(id) else { return };
        if call.options.chunk_size.is_some() {
            return;
        }
        let pace = took.as_nanos() as f64 / done.max(1) as f64;
        call.pace = Some(call.pace.map_or(pace, |known| known.max(pace)));
        self.act(Action::Skip { slot, position });
        self.cut_again(id, port);
        self.publish(port);
    }

    /// Withdraws the published chunks of a call, which are divided according to the new estimate.
    fn cut_again(&mut self, id: CallId, port: &mut P) {
        let taken =
            self.in_flight.take_unclaimed(port, |chunk| chunk.call == id && chunk.count > 1);
        if !taken.is_empty() {
            self.notify_leader_at_short_queue();
        }
        taken.into_iter().rev().for_each(|chunk| self.unpublish(chunk));
        if let Some(call) = self.calls.get_mut(id) {
            call.pending.iter_mut().for_each(|chunk| chunk.divisible = true);
        }
    }
}
