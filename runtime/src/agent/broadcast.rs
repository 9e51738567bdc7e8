//! Broadcasts: inputs that each worker of this agent runs (rule J8).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use futures_util::StreamExt;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use super::delivery::deliver;
use super::state::{Agent, PAUSE, all_failed, options};
use crate::cluster::{BroadcastMessage, RunMessage, decoded};
use crate::error::{Error, ErrorKind};
use crate::failure::Failure;
use crate::pool::Pool;
use crate::remote::{RemoteInputs, RemoteOutcome};

/// The number of broadcasts that are remembered, so that none runs twice.
const REMEMBERED: usize = 1024;

/// The broadcasts that run.
pub(super) type RunningBroadcasts = Mutex<JoinSet<()>>;

/// Receives broadcasts, and runs each of them once. Every message is confirmed, as a sign that this agent is there.
pub(super) async fn serve(agent: Arc<Agent>, id: String, running: Arc<RunningBroadcasts>) {
    let client = &agent.connection.client;
    let subject = agent.connection.subjects.agent(&id);
    let mut known: VecDeque<(String, u64)> = VecDeque::new();
    loop {
        if let Ok(mut messages) = client.subscribe(subject.clone()).await {
            while let Some(message) = messages.next().await {
                if let Some(content) = decoded::<BroadcastMessage>(&message.payload) {
                    let key = (content.run.clone(), content.chunk);
                    if !known.contains(&key) {
                        known.push_back(key);
                        if known.len() > REMEMBERED {
                            known.pop_front();
                        }
                        let mut running = running.lock().await;
                        running.spawn(Arc::clone(&agent).broadcast(content));
                        while running.try_join_next().is_some() {}
                    }
                }
                if let Some(to) = message.reply {
                    // Otherwise the program sends it again.
                    let _ = client.publish(to, "".into()).await;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits for the broadcasts that run.
pub(super) async fn finish(running: &RunningBroadcasts) {
    let mut running = running.lock().await;
    while running.join_next().await.is_some() {}
}

impl Agent {
    async fn broadcast(self: Arc<Self>, content: BroadcastMessage) {
        let BroadcastMessage { run, chunk, setup, is_stored, mut input } = content;
        let (workers, host) = (self.workers, self.host.clone());
        let fetched = match is_stored {
            true => self.fetch_input(&run, chunk, &mut input).await,
            false => Ok(true),
        };
        let is_there = |is_there| match is_there {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Cluster, "the server has lost its input")),
        };
        if let Err(error) = fetched.and_then(is_there) {
            let failed = all_failed(workers, &error, &host);
            return self.report(&run, self.packed(&run, chunk, failed, 0).await).await;
        }
        let work = move |pool: &Pool, is_unwanted: &AtomicBool| {
            run_on_all(pool, &input, workers, &host, is_unwanted)
        };
        let Some((outcomes, took)) = self.in_pool(&run, setup, workers, work).await else { return };
        self.report(&run, self.packed(&run, chunk, outcomes, took).await).await;
    }

    async fn report(&self, run: &str, messages: Vec<RunMessage>) {
        for message in &messages {
            if deliver(&self.connection, &self.ended_runs, run, message).await.is_none() {
                return;
            }
        }
    }
}

/// Runs an input on all workers of a pool.
fn run_on_all(
    pool: &Pool,
    input: &RemoteInputs,
    workers: usize,
    host: &str,
    is_unwanted: &AtomicBool,
) -> Vec<RemoteOutcome> {
    match pool.broadcast_encoded(input.task, &options(input), &input.bytes, is_unwanted) {
        Ok(mut outcomes) => {
            let failure = |error| Box::new(Failure::on_host(&error, host));
            let left = || Error::new(ErrorKind::Cancelled, "its worker has left the pool");
            outcomes.resize_with(workers, || None);
            let outcomes =
                outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(left())));
            outcomes.map(|outcome| outcome.map_err(failure)).collect()
        }
        Err(error) => all_failed(workers, &error, host),
    }
}
