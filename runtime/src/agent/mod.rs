//! Agents: processes that run the tasks of programs on other hosts (rules J1 to J8 in `cluster/mod.rs`).
//!
//! An agent is the same executable as the program. If it is started with the variable `PROCESSION_AGENT`, the entry
//! before `main` continues here, and `main` never runs. An agent asks the server for one chunk for each free worker,
//! runs it in an ordinary pool, and sends the outcomes to the program. It ends by SIGTERM or SIGINT when the chunks
//! that it has are done.

mod broadcast;
mod delivery;
mod pools;
mod presence;
mod serve;
mod state;
mod values;

use std::time::Duration;

use crate::config;
use crate::env;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::entry::{BecomesAgent, Executed};
use pools::Pools;

/// The settings of an agent.
pub(crate) struct AgentSettings {
    url: String,
    workers: usize,
    /// The time after which the server gives the chunks of an agent that reports nothing to another one.
    host_timeout: Duration,
}

impl BecomesAgent for Executed {
    fn become_agent(url: String) -> ! {
        let code = match run(url) {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("procession agent: {error}");
                1
            }
        };
        std::process::exit(code)
    }
}

impl AgentSettings {
    fn new(url: String) -> Result<Self> {
        let workers = match env::agent_workers() {
            Some(text) => number(env::AGENT_WORKERS, &text)?,
            None => config::usable_cpus(),
        };
        let seconds = match env::host_timeout() {
            Some(text) => number(env::HOST_TIMEOUT, &text)?,
            None => 15,
        };
        let host_timeout = Duration::from_secs(seconds as u64);
        Ok(AgentSettings { url, workers, host_timeout })
    }
}

fn number(name: &str, text: &str) -> Result<usize> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
        let text = format!("{name} is `{text}`, but has to be a number above 0");
        Error::new(ErrorKind::Configuration, text)
    })
}

fn run(url: String) -> Result<()> {
    let settings = AgentSettings::new(url)?;
    // The usual pool starts before there are other threads, so that every start method can be used.
    let pools = Pools::new(settings.workers)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::start(format!("its runtime cannot start: {error}")))?;
    let outcome = runtime.block_on(serve::serve(settings, pools));
    runtime.shutdown_background();
    outcome
}
