//! Pools whose tasks run on other hosts.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fill::Refused;
use super::producer::{self, OpenCall};
use super::{PoolBuilder, decoding};
use crate::cluster::{ClusterClient, ClusterSettings, PoolSetup};
use crate::codec::{self, EncodeError, Sink, Source};
use crate::config::StartMethod;
use crate::engine::{Answer, Options, Settings, SharedPool};
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::handle;
use crate::queue::MAX_WORKERS;
use crate::registry::Entry;
use crate::remote::{Remote, RemoteInputs, RemoteOptions};
use crate::start::Preload;

/// The number of chunks that are on their way for each worker: one runs, and one waits at the server.
const CHUNKS_PER_WORKER: usize = 2;

impl PoolBuilder {
    /// Runs the tasks on other hosts, which a NATS server at `url` connects; see
    /// [`guide::cluster`](crate::guide::cluster).
    ///
    /// `url` is an address such as `nats://10.0.0.5:4222`, `nats://token@host:4222` or `tls://host:4222`, or several
    /// addresses with commas between them. The server needs JetStream (`nats-server -js`). Each host runs an agent,
    /// which is the same executable, started with `PROCESSION_AGENT` set to the same address and `PROCESSION_WORKERS` set
    /// to the number of its workers.
    ///
    /// [`build`](Self::build) waits for agents. With [`workers`](Self::workers) it waits until they have that many
    /// workers together. Agents that start later take part as well.
    ///
    /// A task runs at least once. If its host is lost, it runs again on another one, so it has to be repeatable.
    ///
    /// # Differences to other pools
    ///
    /// Inputs and outputs must not contain handles, such as [`Shared`](crate::Shared) or [`Fd`](crate::Fd).
    /// [`ordered`](Self::ordered), [`concurrency`](Self::concurrency) and [`capture_output`](Self::capture_output) are
    /// refused. Log records and output stay on the host of the worker.
    /// [`Pool::workers`](crate::Pool::workers) lists the threads that forward chunks, two for each worker of the agents. An
    /// initializer that fails makes the tasks fail, not `build`.
    #[cfg_attr(docsrs, doc(cfg(feature = "cluster")))]
    pub fn cluster(mut self, url: impl Into<String>) -> Self {
        self.cluster_settings().url = url.into();
        self
    }

    /// Sets the maximum time without any agent, when the pool is built and while tasks wait; 20 seconds by default.
    ///
    /// Afterwards `build`, or the tasks that wait, fail with [`ErrorKind::Cluster`]. The time
    /// includes that in which the server is not reachable.
    #[cfg_attr(docsrs, doc(cfg(feature = "cluster")))]
    pub fn agents_timeout(mut self, time: Duration) -> Self {
        self.cluster_settings().agents_timeout = time;
        self
    }

    /// Sets how often an input is sent to another host after its host was lost; 2 by default.
    ///
    /// Then it fails with [`ErrorKind::HostLost`]. A host is lost if its agent ends without finishing its work, or
    /// reports nothing for 15 seconds. With 0 a task never runs on a second host.
    #[cfg_attr(docsrs, doc(cfg(feature = "cluster")))]
    pub fn host_retries(mut self, retries: u32) -> Self {
        self.cluster_settings().host_retries = retries;
        self
    }

    fn cluster_settings(&mut self) -> &mut ClusterSettings {
        self.settings.cluster.get_or_insert_with(|| ClusterSettings::new(String::new()))
    }

    /// Completes the settings of a cluster from the environment.
    pub(super) fn with_cluster_settings(mut self) -> Self {
        // A `Process`, a manager and `fork_map` stay on this host, and so do the pools of tasks.
        let is_local = !self.settings.limits.replace
            || self.method == Some(StartMethod::Fork)
            || crate::worker::depth() > 0;
        let is_named =
            self.settings.cluster.as_ref().is_some_and(|cluster| !cluster.url.is_empty());
        if !is_named {
            match env::cluster().filter(|_| !is_local) {
                Some(url) => self.cluster_settings().url = url,
                None => self.settings.cluster = None,
            }
        }
        let workers = self.asked_workers;
        if let Some(cluster) = &mut self.settings.cluster {
            cluster.workers = workers;
            cluster.method = self.method.map(|method| method.name().to_owned());
        }
        self
    }
}

/// Connects a pool that uses other hosts, and sets the number of its workers.
pub(super) fn connect(settings: &mut Settings) -> Result<Option<Arc<ClusterClient>>> {
    let Some(cluster) = settings.cluster.clone() else { return Ok(None) };
    let setup = setup(settings, &cluster)?;
    let (client, workers) = ClusterClient::start(cluster, setup)?;
    let client = Arc::new(client);
    settings.limits.workers = forwarders(workers);
    settings.remote = Some(Arc::clone(&client) as Arc<dyn Remote>);
    Ok(Some(client))
}

/// Adds workers to the pool when agents are added.
pub(super) fn follow(client: &Arc<ClusterClient>, shared: &Arc<SharedPool>) {
    let shared = Arc::downgrade(shared);
    client.watch(Box::new(move |workers| {
        if let Some(shared) = shared.upgrade() {
            // A pool that is ending needs no more.
            let _ = shared.lock().resize(&shared, forwarders(workers));
        }
    }));
}

/// Returns the number of threads that forward chunks to this number of workers.
fn forwarders(workers: usize) -> usize {
    workers.saturating_mul(CHUNKS_PER_WORKER).clamp(1, MAX_WORKERS)
}

/// Returns the settings of the pools on the other hosts.
fn setup(settings: &Settings, cluster: &ClusterSettings) -> Result<PoolSetup> {
    let one = |preload: &Preload| match preload.objects.is_empty() {
        true => Ok((preload.task, preload.input.to_vec())),
        false => {
            let text =
                format!("the input of an initializer contains {}", crate::handle::ON_ONE_HOST);
            Err(Error::new(ErrorKind::Encode, text))
        }
    };
    let bytes = |text: &OsString| text.as_os_str().as_bytes().to_vec();
    Ok(PoolSetup {
        method: cluster.method.clone(),
        initializers: settings.initializers.iter().map(one).collect::<Result<_>>()?,
        preloads: settings.preloads.iter().map(one).collect::<Result<_>>()?,
        max_tasks: settings.max_tasks,
        restart_above: settings.restart_above,
        memory_limit: settings.memory_limit,
        env: settings.env.iter().map(|(key, value)| (bytes(key), bytes(value))).collect(),
        nice: settings.nice,
        pin_cpus: settings.pin_cpus,
        init_timeout: settings
            .limits
            .init_timeout
            .map(|limit| u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)),
    })
}

/// Runs a task once on each worker of all hosts, and returns the outcomes in the order of the hosts.
///
/// # Errors
///
/// Returns an error if the input cannot be encoded, or the pool is closed or ends.
pub(super) fn broadcast<T: Serialize, R: DeserializeOwned>(
    shared: &Arc<SharedPool>,
    remote: &dyn Remote,
    entry: Entry,
    options: &Options,
    input: &T,
) -> Result<Vec<Result<R>>> {
    let mut bytes = Vec::new();
    let mut sink = Sink::over(&mut bytes);
    let (encoded, objects) = handle::collect(|| codec::encode(input, &mut sink));
    sink.finish();
    let refused = |error: EncodeError| Refused::NotEncoded(error.to_string());
    encoded.map_err(|error| producer::not_encoded(entry, refused(error)))?;
    if !objects.is_empty() {
        return Err(producer::on_one_host(entry));
    }
    // While it is open, a pool that is being closed does not end.
    let call = OpenCall::new(Arc::clone(shared), entry, options)?;
    call.open_inputs();
    let inputs = RemoteInputs {
        task: entry.id,
        options: RemoteOptions::new(options.scheduling.timeout, options.scheduling.retries),
        soft_timeout: options.soft_timeout(),
        lengths: vec![bytes.len() as u64],
        bytes,
        ..RemoteInputs::default()
    };
    let (answer, outcomes) = std::sync::mpsc::sync_channel(1);
    remote.run_on_all(inputs, answer);
    let ended = |_| Error::new(ErrorKind::Cancelled, "the pool has ended").on_task(entry.name());
    let outcomes = outcomes.recv().map_err(ended)?.outcomes;
    let decoded = outcomes.into_iter().enumerate().map(|(index, outcome)| match outcome {
        Ok(output) => decoding::decoded(entry, index, Answer::Value(Source::new(&output)), None),
        Err(failure) => Err(failure.into_error().on_task(entry.name()).at(index)),
    });
    Ok(decoded.collect())
}

impl PoolBuilder {
    /// Applies the settings of a pool on another host. The pool itself is on this host.
    ///
    /// # Errors
    ///
    /// Returns an error if the start method does not exist in this build.
    pub(crate) fn with_setup(mut self, setup: PoolSetup) -> Result<Self> {
        let inputs = |list: Vec<(u32, Vec<u8>)>| -> Vec<Preload> {
            let one = |(task, input): (u32, Vec<u8>)| Preload {
                task,
                input: input.into(),
                objects: Vec::new(),
            };
            list.into_iter().map(one).collect()
        };
        if let Some(name) = setup.method {
            let unknown = |error: crate::ParseStartMethodError| {
                Error::new(ErrorKind::Configuration, error.to_string())
            };
            self.method = Some(name.parse().map_err(unknown)?);
        }
        let settings = &mut self.settings;
        settings.initializers = inputs(setup.initializers);
        settings.preloads = inputs(setup.preloads);
        settings.max_tasks = setup.max_tasks;
        settings.restart_above = setup.restart_above;
        settings.memory_limit = setup.memory_limit;
        settings.env = setup.env.into_iter().map(|(key, value)| (text(key), text(value))).collect();
        settings.nice = setup.nice;
        settings.pin_cpus = setup.pin_cpus;
        settings.limits.init_timeout = setup.init_timeout.map(Duration::from_nanos);
        Ok(self)
    }
}

fn text(bytes: Vec<u8>) -> OsString {
    OsString::from_vec(bytes)
}
