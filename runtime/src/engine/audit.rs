//! Periodic repair of the pool page, in case a worker has overwritten it (rule Q19).

use super::{Engine, SharedPool};
use crate::queue::Phase;
use crate::scheduler::{Owner, Port};

impl Engine {
    /// Repairs the words of the caller that a worker may have overwritten: the hint of the pool page,
    /// the sets of sleeping workers, and the numbers of bytes that were read from the rings.
    pub(super) fn audit_cursor(&mut self, shared: &SharedPool) {
        for instance in self.instances.iter().flatten() {
            instance.consumer.publish_consumed(instance.page.view().ring());
            instance.page.free_again();
        }
        let unheld = self.scheduler.unheld(&self.queue);
        let free = unheld.filter(|(_, owner)| *owner == Owner::Free).map(|(position, _)| position);
        let free = free.min();
        // If the hint is too high, it hides chunks from the workers. If it is too low, it hides free
        // room from the caller.
        let right = free.unwrap_or_else(|| self.scheduler.tail());
        if self.queue.cursor() != right {
            shared.pool_page().claims().set_cursor(right);
            self.publish(shared);
        }
        if free.is_some() {
            // No set of workers can be trusted.
            shared.pool_page().absent.reset();
            shared.pool_page().spinning.reset();
            for (slot, worker) in self.scheduler.slots() {
                if worker.worker.is_serving()
                    && let Some(instance) = self.instance(slot)
                    && instance.page.view().phase() != Phase::Busy
                {
                    instance.page.wake();
                }
            }
        }
    }

    /// Returns the chunks that were claimed in the name of an idle worker, now and at the last check, with the
    /// slots of the workers. With an honest worker this state lasts only for a moment.
    pub(super) fn unbacked_claims(
        &mut self,
        shared: &SharedPool,
        before: &[u64],
    ) -> (Vec<u64>, Vec<usize>) {
        let (mut unbacked, mut unowned, mut violators) = (Vec::new(), Vec::new(), Vec::new());
        for (position, owner) in self.scheduler.unheld(&self.queue) {
            let slot = match owner {
                Owner::Free => continue,
                Owner::Worker(slot) => slot,
                // The word is invalid, because the caller does not keep withdrawn chunks.
                Owner::Nobody => {
                    unowned.push(position);
                    continue;
                }
            };
            let Some(instance) = self.instance(slot) else {
                unowned.push(position);
                continue;
            };
            let page = instance.page.view();
            let idle = page.phase() == Phase::Idle && page.chunk().0 != position;
            if idle && !instance.has_messages() {
                unbacked.push(position);
                if before.contains(&position) {
                    violators.push(slot);
                }
            }
        }
        for position in unowned {
            self.scheduler.reclaim(position, &mut self.queue);
        }
        self.carry_out(shared);
        (unbacked, violators)
    }
}
