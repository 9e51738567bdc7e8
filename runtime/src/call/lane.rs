//! The call of a task in a lane, where several tasks share a thread (see the rules N1 to N8 in `start/lanes.rs`).

use super::{Call, Outcome, Start, Stop, Thunk};
use crate::failure::TaskPhase;
use crate::state::Missing;
use crate::state_turns::StateTurns;

/// The state of a call in a lane.
pub(super) struct LaneCall<'a> {
    /// Starts the task, if it is asynchronous.
    pub(super) start: Option<Start<'a>>,
    /// Whether it is the turn of this input to use states (rule N8).
    may_use: bool,
    /// Whether the task uses states, and whether it did not get one that is in use.
    uses: bool,
    refused: bool,
}

impl LaneCall<'_> {
    pub(super) fn take_state<R>(
        &mut self,
        take: impl FnOnce() -> Result<R, Missing>,
    ) -> Result<R, Missing> {
        self.uses = true;
        let taken = if self.may_use { take() } else { Err(Missing::InUse) };
        self.refused |= matches!(taken, Err(Missing::InUse));
        taken
    }
}

impl<'a> Call<'a> {
    /// Makes this a call in a lane. Without `may_use` it gets no state.
    pub(crate) fn in_lane(mut self, may_use: bool) -> Self {
        self.lane = Some(LaneCall { start: None, may_use, uses: false, refused: false });
        self
    }

    /// Returns whether the task did not begin because a state is in use.
    pub(crate) fn was_refused(&self) -> bool {
        self.lane.as_ref().is_some_and(|lane| lane.refused)
    }

    /// Runs the task on the next input of the chunk, and answers it; see [`each`](Self::each).
    ///
    /// # Errors
    ///
    /// Returns the errors of [`each`](Self::each).
    pub(crate) async fn run(&mut self, thunk: Thunk, turns: &StateTurns) -> Outcome {
        // This runs a synchronous task. An asynchronous task hands out how it is started.
        let outcome = thunk(self);
        let Some(start) = self.lane.as_mut().and_then(|lane| lane.start.take()) else {
            return outcome;
        };
        let Call { sink: Some(sink), .. } = self else { return Ok(()) };
        let region = sink.start();
        let Some(chunk) = self.chunk.as_mut().filter(|chunk| chunk.has_next()) else {
            return Ok(());
        };
        self.source = chunk.next().ok_or_else(Stop::nowhere)?;
        self.phase = TaskPhase::Decoding;
        let task = start(self)?;
        let uses = self.lane.as_ref().is_some_and(|lane| lane.uses).then(|| turns.begin());
        let give = task.await;
        drop(uses);
        give(self)?;
        self.original.or_end(0);
        if let Call { sink: Some(sink), chunk: Some(chunk), .. } = self {
            chunk.answer(sink, region)?;
        }
        Ok(())
    }

    /// Keeps how an asynchronous task is started, if the worker is a lane. Returns whether it is one.
    pub(crate) fn hand_out(&mut self, start: Start<'a>) -> bool {
        match &mut self.lane {
            Some(lane) => {
                lane.start = Some(start);
                true
            }
            None => false,
        }
    }
}
