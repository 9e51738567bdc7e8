//! Preloads: functions run once in a server, before it forks.

use std::io;
use std::os::fd::OwnedFd;

use super::server::Role;
use super::wire::Frame;
use super::{Preload, gate};
use crate::error::ErrorKind;
use crate::sys::{fds, process};

/// Why a server will not serve: what to tell its callers.
pub(super) type Refusal = (Frame, Option<OwnedFd>);

/// Runs the preloads, and looks what they left.
pub(super) fn run(role: Role, preloads: &[Preload]) -> Result<(), Refusal> {
    let refused = |kind: ErrorKind, text: String| {
        let threads = kind == ErrorKind::ForkWithThreads;
        Err((Frame::Refused { threads, text }, None))
    };
    if !preloads.is_empty() {
        let done = crate::worker::preload(preloads);
        process::flush();
        if let Err(report) = done {
            return match fds::blob(&report) {
                Ok(report) => Err((Frame::Failed, Some(report))),
                Err(e) => refused(
                    ErrorKind::Start,
                    format!("a preload failed; its report is lost: {e}"),
                ),
            };
        }
    }
    // Rule 4.
    let threads = gate::threads_left();
    if !threads.is_empty() && !role.threads_allowed {
        let text = format!(
            "after the preloads the server of workers has other threads ({}), which no worker \
             forked from it would have; do not start threads in a preload, use \
             StartMethod::Spawn, or take the risk with allow_fork_with_threads()",
            gate::list(&threads)
        );
        return refused(ErrorKind::ForkWithThreads, text);
    }
    Ok(())
}

/// The preloads as a blob: for each, task, length and input.
pub(super) fn pack(preloads: &[Preload]) -> io::Result<OwnedFd> {
    let mut bytes = Vec::new();
    for preload in preloads {
        bytes.extend(preload.task.to_le_bytes());
        bytes.extend((preload.input.len() as u64).to_le_bytes());
        bytes.extend(&preload.input);
    }
    fds::blob(&bytes)
}

/// Reads what [`pack`] wrote.
pub(super) fn unpack(blob: OwnedFd) -> Option<Vec<Preload>> {
    let bytes = fds::read_blob(blob).ok()?;
    let mut rest = bytes.as_slice();
    let mut preloads = Vec::new();
    while !rest.is_empty() {
        let (task, tail) = rest.split_first_chunk()?;
        let (length, tail) = tail.split_first_chunk()?;
        let (input, tail) =
            tail.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        preloads.push(Preload {
            task: u32::from_le_bytes(*task),
            input: input.to_vec(),
        });
        rest = tail;
    }
    Some(preloads)
}
