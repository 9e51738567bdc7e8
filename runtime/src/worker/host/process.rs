//! A host that is a process.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::unix::AsyncFd;
use tokio::task::LocalSet;

use super::{LaneParts, open};
use crate::asynchronous::block_on;
use crate::handle::ObjectLink;
use crate::queue::WorkerPageMap;
use crate::sys::poll::becomes_readable;
use crate::sys::process;
use crate::sys::socket::{self, Wait};
use crate::worker::async_wakeup::{AsyncWakeup, readable};
use crate::worker::connection::{fault_record, link_to_caller, send_message};
use crate::worker::current::CurrentLane;
use crate::worker::host_state::{HostRegions, HostState};
use crate::worker::serve::WorkerLoop;
use crate::worker::{READY, WorkerConfig, orders};

/// A lane that is to be opened in a process.
pub(in crate::worker) struct NewLane {
    pub(in crate::worker) config: WorkerConfig,
    pub(in crate::worker) control: OwnedFd,
    pub(in crate::worker) page: Arc<WorkerPageMap>,
    pub(in crate::worker) link: Arc<ObjectLink>,
    pub(in crate::worker) lane_wakeup: OwnedFd,
}

/// The data of a host, which its lanes use when they leave.
struct ProcessHost {
    regions: HostRegions,
    orders: AsyncFd<OwnedFd>,
    state: Rc<HostState>,
}

/// Runs the lanes of this process, until the last one has left.
pub(in crate::worker) fn run(
    regions: HostRegions,
    orders: OwnedFd,
    first: NewLane,
) -> io::Result<()> {
    let local = LocalSet::new();
    let outcome = block_on(local.run_until(async {
        let orders = readable(orders)?;
        let state = Rc::new(HostState::new(first.config.max_tasks));
        let host = Rc::new(ProcessHost { regions, orders, state });
        host.open(first)?;
        while host.state.waits_for(|context| host.poll_order(context)).await {
            host.take_order();
        }
        // As for the lanes: the descriptors are not closed.
        std::mem::forget(host);
        Ok(())
    }));
    // Tasks that tasks have started may remain.
    drop(local);
    outcome
}

impl ProcessHost {
    fn poll_order(&self, context: &mut Context<'_>) -> Poll<()> {
        match self.orders.poll_read_ready(context) {
            Poll::Ready(Ok(mut ready)) => {
                if becomes_readable(self.orders.get_ref().as_fd(), Duration::ZERO) {
                    return Poll::Ready(());
                }
                ready.clear_ready();
                context.waker().wake_by_ref();
                Poll::Pending
            }
            // The runtime ends.
            Poll::Ready(Err(_)) | Poll::Pending => Poll::Pending,
        }
    }

    /// Takes an order from the socket.
    fn take_order(self: &Rc<Self>) {
        let mut buffer = [0; orders::LEN];
        let socket = self.orders.get_ref().as_fd();
        let message = match socket::receive(socket, &mut buffer, Wait::Never) {
            Ok(Some(message)) => message,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // The launcher has ended, and the kernel kills this process.
            Ok(None) | Err(_) => process::exit_now(0),
        };
        let Some(ticket) = orders::opened(message.bytes) else { return };
        self.tell(&orders::taken_message(ticket));
        let opened = <[OwnedFd; orders::OWN]>::try_from(message.fds)
            .map_err(|_| io::ErrorKind::InvalidData.into())
            .and_then(|own| self.new_lane(own))
            .and_then(|lane| self.open(lane));
        if opened.is_err() {
            // For instance because this process has too many open files.
            self.tell(&orders::left_message(ticket));
        }
    }

    fn tell(&self, message: &[u8]) {
        // If this fails, the caller has ended.
        let _ = socket::send(self.orders.get_ref().as_fd(), message, &[], Wait::Block);
    }

    fn new_lane(
        &self,
        [control, page, link, lane_wakeup]: [OwnedFd; orders::OWN],
    ) -> io::Result<NewLane> {
        let page = Arc::new(WorkerPageMap::open(page.as_fd())?);
        let config = WorkerConfig::read(&page).map_err(io::Error::other)?;
        let wakeup = Arc::clone(&self.regions.wakeup);
        let link = Arc::new(link_to_caller(link, Arc::clone(&page), wakeup)?);
        Ok(NewLane { config, control, page, link, lane_wakeup })
    }

    /// Opens a lane.
    fn open(self: &Rc<Self>, lane: NewLane) -> io::Result<()> {
        let NewLane { config, control, page, link, lane_wakeup } = lane;
        let lane_wakeup = Rc::new(AsyncWakeup::new(lane_wakeup)?);
        let worker = WorkerLoop::of_lane(config.slot, &page, &self.regions, &link);
        let worker = worker.with_growth(config.restart_above);
        let record = Some(fault_record(&page));
        let current = CurrentLane::new(config.id, page, link, record);
        send_message(&control, &[READY])?;
        let host = Rc::clone(self);
        open(&self.state, LaneParts { worker, current, lane_wakeup }, move |others_remain| {
            // Rule N3.
            if others_remain {
                host.tell(&orders::left_message(config.id as u64));
            }
        });
        Ok(())
    }
}
