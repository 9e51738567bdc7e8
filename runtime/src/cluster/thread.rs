//! The thread of the client (rule J11), and the handle to it.

use std::cell::RefCell;
use std::future::Future;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, mpsc};
use std::thread::JoinHandle;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::message::PoolSetup;
use super::settings::ClusterSettings;
use super::submitter::{Command, OnWorkers, Submitter};
use crate::error::{Error, Result};
use crate::poison::IgnorePoison;
use crate::remote::{Remote, RemoteInputs, RemoteOutcomes};
use crate::start::fork_lock::{self, Working};

/// The client of a pool, whose thread owns the connection.
pub(crate) struct ClusterClient {
    commands: UnboundedSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl ClusterClient {
    /// Connects to the server and waits for agents. Also returns the number of their workers.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Cluster`](crate::ErrorKind::Cluster) if the server cannot be reached or no agent
    /// answers.
    pub(crate) fn start(settings: ClusterSettings, setup: PoolSetup) -> Result<(Self, usize)> {
        let (commands, received) = unbounded_channel();
        let (ready, is_ready) = mpsc::sync_channel(1);
        let run = async move {
            match Submitter::start(settings, setup).await {
                Ok(submitter) => {
                    let _ = ready.send(Ok(submitter.workers()));
                    submitter.run(received).await;
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            }
        };
        let thread = spawn("cluster", run)?;
        let ended = |_| Err(Error::start("the thread of the cluster has ended"));
        match is_ready.recv().unwrap_or_else(ended) {
            Ok(workers) => {
                Ok((ClusterClient { commands, thread: Mutex::new(Some(thread)) }, workers))
            }
            Err(error) => {
                let _ = thread.join();
                Err(error)
            }
        }
    }

    /// Sets the function that is called with the number of workers of all agents when it grows.
    pub(crate) fn watch(&self, on_workers: OnWorkers) {
        let _ = self.commands.send(Command::Watch(on_workers));
    }
}

impl Remote for ClusterClient {
    fn run(&self, inputs: RemoteInputs, answer: SyncSender<RemoteOutcomes>) {
        // If the thread has ended, the receiver learns it from the dropped sender.
        let _ = self.commands.send(Command::Run(inputs, answer));
    }

    fn run_on_all(&self, input: RemoteInputs, answer: SyncSender<RemoteOutcomes>) {
        let _ = self.commands.send(Command::RunOnAll(input, answer));
    }

    fn end(&self) {
        let _ = self.commands.send(Command::End);
        if let Some(thread) = self.thread.lock().ignore_poison().take() {
            // A panic of it has been reported by the hook.
            let _ = thread.join();
        }
    }
}

thread_local! {
    /// Held by the thread while it is not blocked.
    static WORKING: RefCell<Option<Working>> = const { RefCell::new(None) };
}

/// Runs a future on a thread of its own.
fn spawn(name: &str, future: impl Future<Output = ()> + Send + 'static) -> Result<JoinHandle<()>> {
    let failed = |error: std::io::Error| {
        Error::start(format!("the thread of the cluster cannot start: {error}"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .on_thread_park(|| drop(WORKING.take()))
        .on_thread_unpark(|| drop(WORKING.replace(Some(fork_lock::working()))))
        .build()
        .map_err(failed)?;
    let run = move || {
        let _registered = fork_lock::register();
        WORKING.set(Some(fork_lock::working()));
        runtime.block_on(future);
        // What waits for names of hosts must not keep the pool.
        runtime.shutdown_background();
        drop(WORKING.take());
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(run).map_err(failed)
}
