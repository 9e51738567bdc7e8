//! Periodic repair of the pool page, in case a worker has overwritten it (rule Q19).

use super::{Engine, SharedPool};
use crate::queue::Phase;
use crate::scheduler::{Owner, Port};

impl Engine {
    /// Sets right what a worker may have overwritten of what the caller says: the hint of
    /// the pool page, the sets of sleepers, and what was read of the rings.
    pub(super) fn audit_cursor(&mut self, shared: &SharedPool) {
        for instance in self.instances.iter().flatten() {
            instance.consumer.tell(instance.page.view().ring());
            instance.page.free_again();
        }
        let unheld = self.scheduler.unheld(&self.queue);
        let free = unheld.filter(|(_, owner)| *owner == Owner::Free).map(|(position, _)| position);
        let free = free.min();
        // Too high it hides chunks from the workers, too low it hides from the caller that
        // there is room.
        let right = free.unwrap_or_else(|| self.scheduler.tail());
        if self.queue.cursor() != right {
            shared.pool_page().claims().set_cursor(right);
            self.publish(shared);
        }
        if free.is_some() {
            // Neither set of sleepers can be relied on.
            shared.pool_page().spinning.reset();
            for (slot, worker) in self.scheduler.slots() {
                if worker.worker.is_serving()
                    && let Some(instance) = self.instance(slot)
                    && instance.page.view().phase() != Phase::Busy
                {
                    instance.page.view().wake();
                }
            }
        }
    }

    /// Chunks claimed in the name of an idle worker, now and at the last look, and the slots
    /// of those workers; with an honest worker that takes a moment only.
    pub(super) fn stray_claims(
        &mut self,
        shared: &SharedPool,
        before: &[u64],
    ) -> (Vec<u64>, Vec<usize>) {
        let (mut strays, mut orphans, mut guilty) = (Vec::new(), Vec::new(), Vec::new());
        for (position, owner) in self.scheduler.unheld(&self.queue) {
            let slot = match owner {
                Owner::Free => continue,
                Owner::Worker(slot) => slot,
                // Nonsense: what the caller withdraws it does not keep.
                Owner::Nobody => {
                    orphans.push(position);
                    continue;
                }
            };
            let Some(instance) = self.instance(slot) else {
                orphans.push(position);
                continue;
            };
            let page = instance.page.view();
            let idle = page.phase() == Phase::Idle && page.chunk().0 != position;
            if idle && !instance.has_news() {
                strays.push(position);
                if before.contains(&position) {
                    guilty.push(slot);
                }
            }
        }
        for position in orphans {
            self.scheduler.reclaim(position, &mut self.queue);
        }
        self.carry_out(shared);
        (strays, guilty)
    }
}
