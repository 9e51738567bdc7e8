//! Pauses within a chunk, in which a worker reads the clock, measures its memory, or starts the timeout of an
//! input.

use super::{ChunkRun, WorkerLoop, push};
use crate::cancellation;
use crate::chunk::ChunkProgress;
use crate::queue::Kind;
use crate::sys::clock;

impl WorkerLoop {
    /// Runs the inputs of a chunk, some at a time.
    ///
    /// The code that is compiled into the task is the same as without pauses.
    #[cold]
    pub(super) fn paused_inputs(&mut self, run: &ChunkRun<'_>, progress: &mut ChunkProgress) {
        let ChunkRun { page, tasks, thunk, soft_timeout, .. } = *run;
        self.begin_times(run);
        loop {
            let of_growth = self.growth.as_ref().map(|growth| growth.inputs);
            let of_stopwatch = self.stopwatch.as_ref().map(|stopwatch| stopwatch.step());
            let step = match soft_timeout {
                0 => of_stopwatch.or(of_growth).unwrap_or(usize::MAX),
                // Each input has its own timeout.
                _ => 1,
            };
            if !progress.pause_after(step) {
                break;
            }
            if soft_timeout != 0 {
                cancellation::begin_input(soft_timeout);
            }
            let (before, at) = (progress.taken(), clock::now());
            self.inputs(progress, (page, tasks), thunk);
            if !self.ran_inputs(run, before, at, progress) {
                break;
            }
        }
        self.report_times(run.task);
    }

    /// Begins to measure a chunk if the pool has insights.
    pub(super) fn begin_times(&mut self, run: &ChunkRun<'_>) {
        let ChunkRun { page, task, begun, .. } = *run;
        let mut stopwatch = page.is_measured().then(|| self.stopwatch.take().unwrap_or_default());
        if let Some(stopwatch) = &mut stopwatch {
            stopwatch.begin(task, begun, self.producer.written(), self.sleeper.blocked.get());
        }
        self.stopwatch = stopwatch;
    }

    /// Measures the inputs from `before` on, which began at `at`. Returns whether the chunk continues.
    pub(super) fn ran_inputs(
        &mut self,
        run: &ChunkRun<'_>,
        before: usize,
        at: u64,
        progress: &ChunkProgress,
    ) -> bool {
        self.leaving |= self.growth.as_mut().is_some_and(|growth| growth.is_above(at));
        if let Some(stopwatch) = &mut self.stopwatch {
            let (now, blocked) = (clock::now(), self.sleeper.blocked.get());
            stopwatch.ran(now, before, progress.taken() - before, blocked);
            if stopwatch.is_full() {
                self.report_times(run.task);
            }
        }
        !self.leaving && progress.is_paused()
    }

    /// Reports the times of the inputs that were run since the last report.
    pub(super) fn report_times(&mut self, task: u32) {
        if self.stopwatch.as_mut().is_some_and(|stopwatch| stopwatch.learn(task)) {
            self.report();
        }
    }

    /// Reports the CPU time and memory of the worker, if inputs were run since the last report.
    #[cold]
    pub(super) fn report_usage(&mut self) {
        if self.stopwatch.as_mut().is_some_and(|stopwatch| stopwatch.pause()) {
            self.report();
        }
    }

    fn report(&mut self) {
        let Some(mut stopwatch) = self.stopwatch.take() else { return };
        let (first, payload) = stopwatch.report(self.producer.written());
        push(&mut self.producer, &self.sleeper, Kind::Timing, first, payload);
        stopwatch.reported(self.producer.written());
        self.stopwatch = Some(stopwatch);
    }
}
