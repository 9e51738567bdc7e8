//! The data that is stored with a call for the thread or executor that made it.

use std::sync::{Arc, Condvar};
use std::task::Waker;
use std::thread::ThreadId;

use super::Inbox;
use crate::registry::Entry;

/// The caller's side of a call.
pub(crate) struct Client {
    pub(super) entry: Entry,
    /// The results that have arrived and were not taken.
    pub(super) inbox: Inbox,
    /// Wakes the thread that waits here as a follower.
    pub(super) follower: Option<Arc<Condvar>>,
    pub(super) waker: Option<Waker>,
    /// The thread that hands in inputs.
    pub(super) producer: Option<ThreadId>,
}

impl Client {
    pub(super) fn new(entry: Entry) -> Self {
        Client { entry, inbox: Inbox::default(), follower: None, waker: None, producer: None }
    }
}
