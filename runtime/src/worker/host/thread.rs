//! A host that is a thread.

use std::cell::Cell;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use tokio::task::LocalSet;

use super::{LaneParts, open};
use crate::asynchronous::block_on;
use crate::handle::{ObjectLink, ObjectQueue};
use crate::queue::WorkerPageMap;
use crate::sys::memory::Mapping;
use crate::sys::wakeup::Wakeup;
use crate::worker::async_wakeup::AsyncWakeup;
use crate::worker::current::CurrentLane;
use crate::worker::host_state::{HostRegions, HostState};
use crate::worker::serve::WorkerLoop;

/// A lane that is to be opened in a thread.
pub(crate) struct NewThreadLane {
    pub(crate) slot: usize,
    pub(crate) id: usize,
    pub(crate) page: Arc<WorkerPageMap>,
    pub(crate) lane_wakeup: OwnedFd,
    pub(crate) queue: Arc<ObjectQueue>,
    /// Called when the lane serves.
    pub(crate) serves: Box<dyn FnOnce() + Send>,
    pub(crate) end: LaneEnd,
}

/// Reports the end of a lane when it is dropped, whatever became of the lane.
pub(crate) struct LaneEnd(pub(crate) Box<dyn Fn() + Send>);

impl Drop for LaneEnd {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A host of lanes that is the current thread.
pub(crate) struct ThreadHost {
    pub(crate) tasks: Arc<Mapping>,
    pub(crate) pool_page: Arc<Mapping>,
    pub(crate) wakeup: Arc<Wakeup>,
    pub(crate) max_tasks: Option<u64>,
    /// The lanes that are to be opened, and the eventfd that announces them.
    pub(crate) orders: Receiver<NewThreadLane>,
    pub(crate) order_wakeup: OwnedFd,
    /// Whether no more lanes are opened (rule N1).
    pub(crate) is_closed: Arc<AtomicBool>,
}

/// The last lane of a host, which leaves when the host has dropped its states.
type LastLane = Cell<Option<LaneEnd>>;

impl ThreadHost {
    /// Runs the lanes of this thread, until the last one has left. Returns the report of its end.
    ///
    /// # Errors
    ///
    /// Returns an error if the runtime cannot watch a descriptor.
    pub(crate) fn run(self) -> io::Result<Option<LaneEnd>> {
        let ThreadHost { tasks, pool_page, wakeup, max_tasks, orders, order_wakeup, is_closed } =
            self;
        let regions = HostRegions { tasks, pool_page, wakeup };
        let local = LocalSet::new();
        let last = Rc::new(LastLane::default());
        block_on(local.run_until(async {
            let order_wakeup = AsyncWakeup::new(order_wakeup)?;
            let state = Rc::new(HostState::new(max_tasks));
            loop {
                while let Ok(lane) = orders.try_recv() {
                    open_thread_lane(&state, &regions, lane, &last, &is_closed)?;
                }
                if !state.waits_for(|context| order_wakeup.poll_woken(context)).await {
                    return Ok::<_, io::Error>(());
                }
            }
        }))?;
        drop(local);
        Ok(last.take())
    }
}

fn open_thread_lane(
    state: &Rc<HostState>,
    regions: &HostRegions,
    lane: NewThreadLane,
    last: &Rc<LastLane>,
    is_closed: &Arc<AtomicBool>,
) -> io::Result<()> {
    let NewThreadLane { slot, id, page, lane_wakeup, queue, serves, end } = lane;
    let lane_wakeup = Rc::new(AsyncWakeup::new(lane_wakeup)?);
    let link = Arc::new(ObjectLink::in_process(queue));
    let worker = WorkerLoop::of_lane(slot, &page, regions, &link);
    let current = CurrentLane::new(id, page, link, None);
    serves();
    let (last, is_closed) = (Rc::clone(last), Arc::clone(is_closed));
    open(state, LaneParts { worker, current, lane_wakeup }, move |others_remain| {
        is_closed.store(true, Ordering::Release);
        if others_remain {
            return drop(end);
        }
        last.set(Some(end));
    });
    Ok(())
}
