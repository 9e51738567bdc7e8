//! Threads that are hosts of lanes (see the rules N1 to N8 in `start/lanes.rs`).

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::threads::ThreadInstance;
use super::{Settings, SharedPool};
use crate::error::{Error, Result};
use crate::handle::ObjectQueue;
use crate::queue::WorkerPageMap;
use crate::start::Preload;
use crate::state::Share;
use crate::sys::wakeup::Wakeup;
use crate::worker::{self, Failure, FailureKind, LaneEnd, NewThreadLane, Original, ThreadHost};

/// The hosts of a pool.
#[derive(Default)]
pub(super) struct ThreadHosts(Vec<HostThread>);

struct HostThread {
    group: usize,
    orders: Sender<NewThreadLane>,
    /// Makes the thread take the orders.
    order_wakeup: Wakeup,
    /// Whether it opens no more lanes.
    is_closed: Arc<AtomicBool>,
    /// Whether nothing of the program runs on it any more.
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// The parts of a lane that its instance shares with its thread.
pub(super) struct LaneOrder<'a> {
    pub(super) slot: usize,
    pub(super) id: usize,
    pub(super) page: Arc<WorkerPageMap>,
    pub(super) queue: Arc<ObjectQueue>,
    pub(super) lane_wakeup: OwnedFd,
    pub(super) instance: &'a ThreadInstance,
}

impl ThreadHosts {
    /// Opens a lane, in a new thread if there is no open host in its group.
    pub(super) fn open(
        &mut self,
        shared: &Arc<SharedPool>,
        order: LaneOrder<'_>,
        shares: &Arc<Vec<Share>>,
    ) -> Result<()> {
        let group = order.slot / shared.settings.concurrency;
        let wakeup = Arc::clone(&shared.wakeup);
        let is_open =
            |host: &&HostThread| host.group == group && !host.is_closed.load(Ordering::Acquire);
        let host = self.0.iter().rev().find(is_open);
        let lane = NewThreadLane {
            slot: order.slot,
            id: order.id,
            page: Arc::clone(&order.page),
            lane_wakeup: order.lane_wakeup,
            queue: order.queue,
            serves: order.instance.lane_serves(Arc::clone(&wakeup)),
            end: LaneEnd(order.instance.lane_ends(wakeup)),
        };
        if let Some(host) = host {
            // If the thread has ended, dropping the order reports the end of the lane.
            let _ = host.orders.send(lane);
            host.order_wakeup.wake();
            return Ok(());
        }
        let instance = order.instance.shared();
        let host = start(shared, group, lane, Arc::clone(shares), instance)?;
        self.0.push(host);
        Ok(())
    }

    /// Opens no more lanes in the hosts of a worker slot, because one of them may be stuck.
    pub(super) fn close(&self, shared: &SharedPool, slot: usize) {
        let group = slot / shared.settings.concurrency;
        for host in self.0.iter().filter(|host| host.group == group) {
            host.is_closed.store(true, Ordering::Release);
        }
    }

    /// Joins the threads that have ended.
    pub(super) fn join(&mut self) {
        self.0.retain_mut(|host| {
            let is_over = host.is_over.load(Ordering::Acquire);
            if is_over && let Some(thread) = host.thread.take() {
                // The thread has caught all panics.
                let _ = thread.join();
            }
            !is_over
        });
    }
}

/// Starts the thread of a host with its first lane.
fn start(
    shared: &Arc<SharedPool>,
    group: usize,
    lane: NewThreadLane,
    shares: Arc<Vec<Share>>,
    instance: ThreadInstance,
) -> Result<HostThread> {
    let failed = |error| Error::start(format!("failed to start a worker thread: {error}"));
    let order_wakeup = Wakeup::new().map_err(failed)?;
    let own_wakeup = order_wakeup.as_fd().try_clone_to_owned().map_err(failed)?;
    let (orders, own_orders) = channel();
    let (is_closed, is_over) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
    let regions = &shared.regions;
    let host = ThreadHost {
        tasks: Arc::clone(&regions.tasks),
        pool_page: Arc::clone(&regions.pool_page),
        wakeup: Arc::clone(&shared.wakeup),
        max_tasks: shared.settings.max_tasks,
        orders: own_orders,
        order_wakeup: own_wakeup,
        is_closed: Arc::clone(&is_closed),
    };
    let Settings { initializers, pin_cpus, name, .. } = &shared.settings;
    let cpu = pin_cpus.then(|| crate::sys::limits::cpu_of(group)).flatten();
    let (initializers, pool, depth) = (initializers.clone(), shared.id, shared.depth + 1);
    let thread_name = format!("{name}-worker-{}", lane.id);
    let (id, page) = (lane.id, Arc::clone(&lane.page));
    let (closed, over) = (Arc::clone(&is_closed), Arc::clone(&is_over));
    // The first order is there when the thread looks for orders.
    orders.send(lane).map_err(failed_order)?;
    let work = move || {
        let original = Original::here();
        worker::enter_thread(id, depth, pool, &page);
        if let Some(cpu) = cpu {
            // If the CPU does not exist any more, the worker runs without a restriction.
            let _ = crate::sys::limits::pin(cpu);
        }
        crate::state::adopt(&shares);
        let mut last = None;
        match worker::initialize(initializers.iter().map(Preload::parts)) {
            Ok(()) => {
                // The thread reports the ends of its lanes in any case.
                match catch_unwind(AssertUnwindSafe(|| host.run())) {
                    Ok(Ok(end)) => last = end,
                    Ok(Err(error)) => {
                        let kind = FailureKind::Initializer;
                        instance.fail(Box::new(Failure::plain(kind, error.to_string())));
                    }
                    Err(_) => {}
                }
            }
            Err(failure) => {
                instance.fail(failure);
                drop(host);
            }
        }
        closed.store(true, Ordering::Release);
        let _ = catch_unwind(crate::state::clear);
        original.or_end(0);
        over.store(true, Ordering::Release);
        // The dispatcher then joins the thread.
        drop(last);
    };
    let thread = std::thread::Builder::new()
        .name(thread_name)
        .stack_size(crate::config::stack_size())
        .spawn(work)
        .map_err(failed)?;
    Ok(HostThread { group, orders, order_wakeup, is_closed, is_over, thread: Some(thread) })
}

fn failed_order<T>(_: std::sync::mpsc::SendError<T>) -> Error {
    Error::start("a worker thread takes no orders")
}
