//! The connection of a worker process to its caller.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crate::handle::ObjectLink;
use crate::queue::WorkerPageMap;
use crate::sys::crash::FaultRecord;
use crate::sys::socket::{Wait, send};
use crate::sys::wakeup::Wakeup;

/// Creates the link over which objects are exchanged with the caller.
pub(super) fn link_to_caller(
    socket: OwnedFd,
    page: Arc<WorkerPageMap>,
    wakeup: Arc<Wakeup>,
) -> io::Result<ObjectLink> {
    ObjectLink::new(socket, move || {
        page.view().ask();
        wakeup.wake();
    })
}

/// Sends a message on the control socket.
pub(super) fn send_message(control: &OwnedFd, message: &[u8]) -> io::Result<()> {
    send(control.as_fd(), message, &[], Wait::Block)
}

/// Returns the fault record of this process. Its worker page is never unmapped.
pub(super) fn fault_record(page: &Arc<WorkerPageMap>) -> &'static FaultRecord {
    let leaked: &'static Arc<WorkerPageMap> = Box::leak(Box::new(Arc::clone(page)));
    &leaked.view().faults
}
