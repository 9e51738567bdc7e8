//! Progress bars of calls that are made in workers.

use super::{Engine, SharedPool};
use crate::progress;

impl Engine {
    /// Collects what the bars of a worker show, if it has reported something.
    pub(super) fn collect_bars(&mut self, shared: &SharedPool, slot: usize) {
        let Some(instance) = self.instance_mut(slot) else { return };
        let bars = &instance.page.view().bars;
        let written = bars.written();
        if instance.bars_read == written {
            return;
        }
        let reports = bars.unseen();
        let ended = reports.iter().filter(|(_, report)| report.is_ended());
        ended.for_each(|(at, report)| bars.note_seen(*at, report.number));
        let id = instance.id;
        instance.bars_read = written;
        progress::collect_bars(shared.id, id, reports.into_iter().map(|(_, report)| report));
    }

    /// Removes the bars of a worker that has ended.
    pub(super) fn end_bars(&mut self, shared: &SharedPool, slot: usize) {
        self.collect_bars(shared, slot);
        if let Some(instance) = self.instance(slot).filter(|instance| instance.bars_read != 0) {
            progress::end_bars(shared.id, instance.id);
        }
    }
}
