//! The loop of a lane, which is one of several on the thread of its host (rules N1 to N8 in `start/lanes.rs`).

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use super::{ChunkRun, WorkerLoop, flush};
use crate::call::Call;
use crate::chunk::{ChunkAtWork, ChunkProgress};
use crate::handle;
use crate::queue::{Descriptor, Phase, Tasks};
use crate::registry;
use crate::state_turns::Turn;
use crate::sys::clock;
use crate::worker::async_wakeup::AsyncWakeup;
use crate::worker::current::{CurrentLane, Unfinished};
use crate::worker::host_state::HostState;
use crate::worker::sleep::RELEASE_AFTER;

/// The end of an attempt to run an input.
enum Attempt {
    Made,
    /// The task did not begin, because a state is in use (rule N8).
    Refused,
}

/// A lane: the part that its tasks see, its wake-up eventfd, and the state that it shares with the others.
pub(in crate::worker) struct HostedLane {
    pub(in crate::worker) current: CurrentLane,
    pub(in crate::worker) lane_wakeup: Rc<AsyncWakeup>,
    pub(in crate::worker) host: Rc<HostState>,
    /// Whether it reports the CPU time and memory of the host, as one lane does for all.
    pub(in crate::worker) measures_usage: bool,
}

impl WorkerLoop {
    /// Runs chunks until the lane has to leave.
    pub(in crate::worker) async fn serve_lane(&mut self, lane: &HostedLane) {
        let map = Arc::clone(&self.sleeper.page);
        let page = map.view();
        page.set_phase(Phase::Idle);
        while !page.is_abandoned() {
            if lane.host.takes_more()
                && let Some((position, descriptor)) = self.next()
            {
                self.lane_chunk(lane, position, &descriptor).await;
                if self.leaving {
                    lane.host.retire();
                }
                // The other lanes have their turn, even if no task of this one ever waits.
                tokio::task::yield_now().await;
            } else if lane.host.takes_more() && !page.is_asked_to_leave() {
                self.rest(lane).await;
            }
            if !lane.host.takes_more() || (page.is_asked_to_leave() && !self.has_direct()) {
                break;
            }
        }
        if self.stopwatch.is_some() {
            self.report_usage();
        }
        page.set_phase(Phase::Leaving);
        self.sleeper.wake_dispatcher();
    }

    async fn lane_chunk(&mut self, lane: &HostedLane, position: u64, descriptor: &Descriptor) {
        let (map, tasks) = (Arc::clone(&self.sleeper.page), Arc::clone(&self.tasks));
        let page = map.view();
        let begun = self.begin_chunk(page, position, descriptor);
        lane.current.chunk.set((descriptor.task, descriptor.first, descriptor.span));
        let most = lane.host.reserve(u64::from(descriptor.count));
        let mut progress = ChunkProgress::new(position, descriptor, most);
        match registry::get(descriptor.task) {
            Some(entry) => {
                let run = ChunkRun::new(descriptor, page, &tasks, entry.registration.thunk, begun);
                self.lane_inputs(lane, &run, &mut progress).await;
            }
            None => self.unknown_task(&mut progress, page),
        }
        lane.current.input.end();
        lane.host.give_back(most, progress.taken() as u64);
        self.end_chunk(page, &progress, descriptor, begun);
    }

    /// Runs the inputs of a chunk, each with a call of its own, so that one which does not begin can be put back.
    async fn lane_inputs(
        &mut self,
        lane: &HostedLane,
        run: &ChunkRun<'_>,
        progress: &mut ChunkProgress,
    ) {
        let ChunkRun { page, soft_timeout, .. } = *run;
        self.begin_times(run);
        if let Some(stopwatch) = self.stopwatch.as_mut().filter(|_| !lane.measures_usage) {
            stopwatch.without_usage();
        }
        let mut turn: Option<Turn<'_>> = None;
        while progress.pause_after(1) && !lane.host.is_retired() {
            if soft_timeout != 0 {
                lane.current.input.begin(soft_timeout);
            }
            let (before, at) = (progress.clone(), clock::now());
            let turns = &lane.host.turns;
            let may_use = turn.as_ref().map_or_else(|| turns.are_free(), Turn::is_next);
            match self.attempt(lane, run, progress, may_use).await {
                Attempt::Made => turn = None,
                Attempt::Refused => {
                    *progress = before;
                    page.clear_started();
                    let turn = turn.get_or_insert_with(|| turns.enter());
                    turn.wait().await;
                    // The time of the input begins when it may run.
                    page.set_chunk(progress.position(), clock::now());
                    continue;
                }
            }
            if !self.ran_inputs(run, before.taken(), at, progress) {
                break;
            }
        }
        self.report_times(run.task);
    }

    async fn attempt(
        &mut self,
        lane: &HostedLane,
        run: &ChunkRun<'_>,
        progress: &mut ChunkProgress,
        may_use: bool,
    ) -> Attempt {
        let ChunkRun { page, tasks, thunk, .. } = *run;
        let WorkerLoop { producer, output, original, .. } = self;
        let chunk = ChunkAtWork { progress: &mut *progress, producer, page, tasks };
        let mut call = Call::of_chunk(chunk, output.sink(), *original).in_lane(may_use);
        let outcome = lane.current.run(&lane.lane_wakeup, call.run(thunk, &lane.host.turns)).await;
        let (phase, refused) = (call.phase, call.was_refused());
        drop(call);
        match outcome {
            Ok(Ok(())) | Err(Unfinished::Abandoned) => {}
            // A state that no other input uses does not become available by waiting.
            Ok(Err(_)) if refused && (!may_use || lane.host.turns.are_used()) => {
                return Attempt::Refused;
            }
            Ok(Err(stop)) => self.stopped(progress.present(), stop),
            Err(Unfinished::Panicked(payload)) => {
                self.panicked(progress.present(), phase, payload);
            }
        }
        Attempt::Made
    }

    /// Waits for work (rules Q16 and N4).
    async fn rest(&mut self, lane: &HostedLane) {
        flush();
        if self.stopwatch.is_some() {
            self.report_usage();
        }
        let (map, tasks) = (Arc::clone(&self.sleeper.page), Arc::clone(&self.tasks));
        let page = map.view();
        loop {
            let seen = page.wake_word().load(Ordering::SeqCst);
            self.sleeper.pool_page().idle.set(self.sleeper.number);
            fence(Ordering::SeqCst);
            let region: &Tasks = tasks.view(0);
            if self.sleeper.pool_page().claims().cursor() < region.tail()
                || page.is_asked_to_leave()
                || !lane.host.takes_more()
                || self.has_direct()
            {
                break;
            }
            page.set_phase(Phase::Idle);
            self.wait_or_release(lane).await;
            if page.wake_word().load(Ordering::SeqCst) != seen {
                break;
            }
        }
        self.sleeper.pool_page().idle.clear(self.sleeper.number);
    }

    async fn wait_or_release(&mut self, lane: &HostedLane) {
        if self.output.is_trimmed() && handle::keeps_nothing() {
            return lane.lane_wakeup.woken().await;
        }
        if tokio::time::timeout(RELEASE_AFTER, lane.lane_wakeup.woken()).await.is_err() {
            self.output.trim();
            handle::let_go(true);
        }
    }
}
