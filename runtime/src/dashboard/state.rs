//! The state that all requests of a dashboard share.

use std::sync::{Arc, Mutex};

use tokio::sync::{Semaphore, watch};

use super::access::Access;
use super::model::Model;

/// The maximum number of connections that receive messages.
pub(super) const STREAMS: usize = 16;

/// The state of a server.
pub(super) struct ServerState {
    pub(super) access: Access,
    pub(super) model: Mutex<Model>,
    /// The number of the last tick.
    pub(super) ticks: watch::Sender<u64>,
    pub(super) streams: Arc<Semaphore>,
}

pub(super) type ServerRef = Arc<ServerState>;

impl ServerState {
    pub(super) fn new(access: Access) -> ServerRef {
        let (ticks, streams) = (watch::Sender::new(0), Arc::new(Semaphore::new(STREAMS)));
        Arc::new(ServerState { access, model: Mutex::new(Model::new()), ticks, streams })
    }
}
