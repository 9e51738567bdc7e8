//! The settings of a pool that uses a cluster.

use std::time::Duration;

/// How a pool reaches its workers on other hosts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterSettings {
    /// The addresses of the servers, as given by the user.
    pub(crate) url: String,
    /// The maximum time without any agent of this program.
    pub(crate) agents_timeout: Duration,
    /// The number of times that an input is sent to another host after its host was lost.
    pub(crate) host_retries: u32,
    /// The number of workers that the user has asked for.
    pub(crate) workers: Option<usize>,
    /// The name of the start method that the user has asked for.
    pub(crate) method: Option<String>,
}

impl ClusterSettings {
    pub(crate) fn new(url: String) -> Self {
        ClusterSettings {
            url,
            agents_timeout: Duration::from_secs(20),
            host_retries: 2,
            workers: None,
            method: None,
        }
    }
}
