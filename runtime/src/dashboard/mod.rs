//! A web page that shows the pools of this process while they work.
//!
//! [`serve`] starts it, and the environment variable `PROCESSION_DASHBOARD` does so for a program that does not.
//!
//! # Rules
//!
//! - **D1.** One thread serves everything: it samples the pools, keeps the model (`model.rs`), and answers requests. It takes
//!   the lock of a pool only for a snapshot, and never waits for a pool.
//! - **D2.** Every request needs the token, and a `Host` that names this server (`access.rs`). Nothing is
//!   read or done without both.
//! - **D3.** Memory is bounded: rings of fixed length for lanes and records, the latest calls of each pool, and for each
//!   connection one hash for each thing that it was told of (`stream.rs`).
//! - **D4.** A forked copy of this process has no such thread, and closes the sockets when it begins
//!   (`sys/unshared.rs`).
//! - **D5.** Whatever happens here, pools go on. A dashboard that cannot start by the environment variable says
//!   so once on standard error.

mod access;
mod lanes;
mod model;
mod pools;
mod report;
mod requests;
mod server;
mod state;
mod stream;

pub(crate) use pools::attach;

use std::fmt;
use std::net::SocketAddr;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::generation::Original;

/// A running dashboard, returned by [`serve`]. It ends when this is dropped.
///
/// Dropping it closes its connections and its socket. Pools are not affected.
pub struct Dashboard {
    address: SocketAddr,
    url: String,
    server: Option<server::ServerThread>,
    original: Original,
}

impl Dashboard {
    /// Returns the URL of the page, which contains the token.
    ///
    /// Whoever knows it can see the pools, cancel calls and resize pools.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the address that the dashboard listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The URL is a secret.
        f.debug_struct("Dashboard").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        let server = self.server.take();
        match self.original.is_here() {
            true => {
                pools::note_stopped();
                drop(server);
            }
            // The thread is the parent's.
            false => std::mem::forget(server),
        }
    }
}

/// Serves a web page with all pools of this process.
///
/// The page shows the calls with their progress, the workers with their last minute, the functions with their
/// times, warnings, and, with the feature `log`, the records of the workers. Calls can be cancelled there, and
/// pools resized. [Timelines](crate::Insights::write_timeline), [traces](crate::Insights::write_trace) and a report can be
/// downloaded. The page is part of the program and works offline.
///
/// `address` is an IP address and a port, such as `127.0.0.1:8080`; port 0 selects a free port. Use a loopback
/// address: the connection is not encrypted. The URL contains a random token, without which every request is
/// refused. Requests whose `Host` names another server are refused too, so that other web sites cannot reach
/// the page through a browser.
///
/// While a dashboard runs, all pools collect [insights](crate::PoolBuilder::insights), those that were built before
/// from now on. Its memory is bounded, however long it runs.
///
/// The environment variable `PROCESSION_DASHBOARD`, with an address as its value, starts a dashboard when the
/// process builds its first pool, and writes the URL to standard error. Workers do not start one.
///
/// ```
/// let dashboard = runtime::dashboard::serve("127.0.0.1:0")?;
/// assert!(dashboard.url().starts_with("http://127.0.0.1:"));
/// println!("{}", dashboard.url());
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// # Errors
///
/// Returns [`ErrorKind::Configuration`] if `address` is no address, or if the program cannot listen there, for
/// instance because the port is in use; and [`ErrorKind::Start`] if the thread cannot be started.
pub fn serve(address: &str) -> Result<Dashboard> {
    let wrong = |text: String| Error::new(ErrorKind::Configuration, text);
    let named = address.replacen("localhost:", "127.0.0.1:", 1);
    let parsed: SocketAddr = named.parse().map_err(|_| {
        wrong(format!(
            "{address:?} is no address to listen on; give an IP address and a port, such as 127.0.0.1:8080"
        ))
    })?;
    let cannot =
        |error: std::io::Error| wrong(format!("the dashboard cannot listen on {parsed}: {error}"));
    let listener = std::net::TcpListener::bind(parsed).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let token = access::new_token().map_err(cannot)?;
    let url = format!("http://{address}/?token={token}");
    let server = server::start(listener, access::Access::new(token, address))?;
    pools::note_started();
    Ok(Dashboard { address, url, server: Some(server), original: Original::here() })
}

/// Starts the dashboard that the environment asks for, once, unless this is a worker (rule D5).
pub(crate) fn start_by_environment() {
    let is_worker = crate::worker::depth() > 0 || crate::identity::is_worker_process();
    if is_worker || !pools::has_to_read_variable() {
        return;
    }
    let Some(address) = crate::env::dashboard() else { return };
    match serve(&address) {
        Ok(dashboard) => {
            eprintln!("dashboard: {}", dashboard.url());
            pools::keep(dashboard);
        }
        Err(error) => eprintln!("PROCESSION_DASHBOARD: {error}"),
    }
}
