//! The settings of the pool of a program, for the agents that ask for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::Subject;
use tokio::sync::Mutex;

use super::connection::ServerConnection;
use super::message::{PoolSetup, SetupAnswer, room_for_inputs};
use super::values::SETUP;
use crate::failure::encoded;

/// The time for which a stored value counts as there. Afterwards it is stored again if an agent asks, since a server may have been
/// emptied.
const STORED_FOR: Duration = Duration::from_secs(30);

/// The settings of a pool, and when they were stored.
pub(super) struct OfferedSetup {
    setup: PoolSetup,
    pub(super) hash: u64,
    /// The end of the last attempt that succeeded.
    stored: Arc<Mutex<Option<Instant>>>,
}

impl OfferedSetup {
    pub(super) fn new(setup: PoolSetup) -> Self {
        OfferedSetup { hash: setup.hash(), setup, stored: Arc::default() }
    }

    /// Returns the answer to an agent that asks for the settings. Settings that fit no message are stored first, and the answer
    /// is sent later.
    ///
    /// An agent that has waited for some seconds asks again. All its requests wait for the same attempt to store the settings, so
    /// that the last one is answered however long this takes.
    pub(super) fn answer(
        &self,
        connection: &ServerConnection,
        run: &str,
        reply: Option<&Subject>,
    ) -> Option<Vec<u8>> {
        let answer = encoded(&SetupAnswer::Setup(self.setup.clone()));
        if answer.len() <= room_for_inputs(connection.client.max_payload()) {
            return Some(answer);
        }
        let (connection, run, reply) = (connection.clone(), run.to_owned(), reply.cloned());
        let (setup, stored) = (encoded(&self.setup), Arc::clone(&self.stored));
        tokio::spawn(async move {
            let mut stored = stored.lock().await;
            if stored.is_none_or(|at| at.elapsed() > STORED_FOR) {
                // After an error the agent asks again.
                let Ok(_) = connection.put_value(&run, SETUP, &setup).await else { return };
                *stored = Some(Instant::now());
            }
            drop(stored);
            if let Some(to) = reply {
                let answer = encoded(&SetupAnswer::Stored(setup.len() as u64));
                let _ = connection.client.publish(to, answer.into()).await;
            }
        });
        None
    }
}
