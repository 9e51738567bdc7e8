//! The view of a pool for the dashboard, and the actions that the dashboard can request.

use super::{CallId, Engine, SharedPool};
use crate::insights::{CallTimes, Collector};
use crate::sys::clock;

/// A worker as it is now.
pub(crate) struct WorkerOverview {
    pub(crate) slot: usize,
    pub(crate) info: super::WorkerInfo,
    /// When its chunk began.
    pub(crate) since: Option<u64>,
}

/// A call that is open, or was.
pub(crate) struct CallOverview {
    pub(crate) span: CallTimes,
    /// The inputs that have an outcome.
    pub(crate) done: u64,
    pub(crate) is_over: bool,
}

impl SharedPool {
    /// Has the pool collect insights from now on.
    pub(crate) fn start_insights(&self) {
        use std::sync::atomic::Ordering;
        let mut engine = self.lock();
        if engine.collector.is_some() {
            return;
        }
        engine.collector = Some(Box::new(Collector::new(clock::now())));
        self.insights.store(true, Ordering::Relaxed);
        for instance in engine.instances.iter().flatten() {
            instance.page.view().set_measured();
        }
        engine.adopt_workers();
    }
}

impl Engine {
    /// Names the workers that are there already to the collector, which is new.
    fn adopt_workers(&mut self) {
        let now = clock::now();
        let Some(mut collector) = self.collector.take() else { return };
        for (slot, worker) in self.scheduler.slots() {
            let pid = self.instance(slot).map_or(0, super::WorkerInstance::pid);
            collector.name(slot, (worker.id, pid));
            if worker.worker.is_serving() {
                collector.ready(slot, now);
            }
        }
        self.collector = Some(collector);
        self.note_activity();
    }

    /// Returns the workers as they are now.
    pub(crate) fn worker_overviews(&self, shared: &SharedPool) -> Vec<WorkerOverview> {
        let slots = self.scheduler.slots().map(|(slot, _)| slot);
        let workers = slots.zip(self.infos(shared)).map(|(slot, info)| {
            let since = info.since().and_then(|since| u64::try_from(since.as_nanos()).ok());
            let since = since.map(|since| clock::now().saturating_sub(since));
            WorkerOverview { slot, info, since }
        });
        workers.collect()
    }

    /// Returns the slots of the workers, and the tasks that they run.
    pub(crate) fn running_tasks(&self) -> impl Iterator<Item = (usize, Option<u32>)> {
        self.scheduler.slots().map(|(slot, _)| {
            let position = self.instance(slot).map_or(0, |instance| instance.page.view().chunk().0);
            (slot, self.scheduler.task_at(position).map(|(task, _)| task))
        })
    }

    /// Returns the calls of a pool with insights, the latest last.
    pub(crate) fn call_overviews(&mut self, shared: &SharedPool) -> Vec<CallOverview> {
        self.drain(shared, None);
        self.publish(shared);
        let Some(collector) = &self.collector else { return Vec::new() };
        let calls = collector.calls.iter().map(|span| {
            let (outstanding, goes_on) = self.scheduler.progress_of(CallId::of_number(span.call));
            let done = span.handed_in.saturating_sub(outstanding as u64);
            let is_over = outstanding == 0 && !goes_on && span.handed_in > 0;
            CallOverview { span: span.clone(), done, is_over }
        });
        calls.collect()
    }

    /// Returns a copy of what was collected, without its slices.
    pub(crate) fn collected_numbers(&mut self, shared: &SharedPool) -> Option<Box<Collector>> {
        self.collected_as(shared, Collector::without_slices)
    }

    /// Cancels what has not started of a call; returns the number of inputs, or `None` if the call has ended.
    pub(crate) fn cancel_by_number(&mut self, shared: &SharedPool, call: u64) -> Option<usize> {
        let call = CallId::of_number(call);
        let (outstanding, goes_on) = self.scheduler.progress_of(call);
        (outstanding > 0 || goes_on).then(|| self.take_back(shared, call))
    }
}
