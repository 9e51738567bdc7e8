//! The host of lanes: one thread that runs the tasks of several workers (rules N1 to N8 in `start/lanes.rs`).

mod process;
mod thread;

pub(super) use process::{NewLane, run};
pub(crate) use thread::{LaneEnd, NewThreadLane, ThreadHost};

use std::rc::Rc;

use super::async_wakeup::AsyncWakeup;
use super::current::CurrentLane;
use super::host_state::HostState;
use super::serve::{HostedLane, WorkerLoop};
use crate::sys::process::exit_now;

/// A lane whose parts exist.
struct LaneParts {
    worker: WorkerLoop,
    current: CurrentLane,
    lane_wakeup: Rc<AsyncWakeup>,
}

/// Runs a lane on this thread. `left` is called when it has left, and learns whether other lanes remain.
fn open(state: &Rc<HostState>, parts: LaneParts, left: impl FnOnce(bool) + 'static) {
    let LaneParts { mut worker, current, lane_wakeup } = parts;
    let measures_usage = state.enter(&lane_wakeup);
    let host = Rc::clone(state);
    tokio::task::spawn_local(async move {
        let guard = EndsProcess(current.is_in_process());
        let lane = HostedLane { current, lane_wakeup, host, measures_usage };
        worker.serve_lane(&lane).await;
        left(lane.host.leave());
        if lane.current.is_in_process() {
            // A task may have closed the descriptors of the lane, and opened other files with the same numbers.
            std::mem::forget((lane, worker));
        }
        drop(guard);
    });
}

/// Ends the process, if the worker is one, on a panic outside of tasks.
struct EndsProcess(bool);

impl Drop for EndsProcess {
    fn drop(&mut self) {
        if self.0 && std::thread::panicking() {
            exit_now(101);
        }
    }
}
