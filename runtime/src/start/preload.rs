//! Preloads: functions that a server runs once, before it forks.

use std::os::fd::{AsFd, OwnedFd};

use std::time::Duration;

use super::wire::{self, Frame};
use super::{Preload, ServerRole, fork_lock};
use crate::codec::Source;
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind};
use crate::registry;
use crate::sys::poll::wait_readable;
use crate::sys::socket::{self, Wait};
use crate::sys::{fds, process, termination};

/// The times that a new server has until it accepts requests.
pub(crate) struct PreloadTimeouts {
    pub(crate) limit: Option<Duration>,
    /// The time after which a server that is stopped is abandoned.
    pub(super) stopped: Duration,
    /// The functions that the server runs before, as a part of a sentence.
    functions: String,
}

/// What a new server runs before it accepts requests: the preloads, or, in a template that was made by
/// a refork, the initializers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerPhase {
    Preloads,
    Initializers,
}

impl ServerPhase {
    fn word(self) -> &'static str {
        match self {
            ServerPhase::Preloads => "preload",
            ServerPhase::Initializers => "initializer",
        }
    }

    /// Returns one of its functions as a part of a sentence.
    pub(super) fn any(self) -> &'static str {
        match self {
            ServerPhase::Preloads => "a preload",
            ServerPhase::Initializers => "an initializer",
        }
    }

    /// Returns its functions by name, as a part of a sentence; empty if there are none.
    pub(super) fn phrase(self, functions: &[Preload]) -> String {
        let word = self.word();
        match functions {
            [] => String::new(),
            [_] => format!("the {word} {}", names(functions)),
            _ => format!("the {word}s {}", names(functions)),
        }
    }

    /// Returns the error for a server that has other threads afterwards.
    fn refuse_threads(self, threads: &[String]) -> String {
        let instead = match self {
            ServerPhase::Preloads => "a preload, use StartMethod::Spawn,",
            ServerPhase::Initializers => "the initializers of a pool that is reforked,",
        };
        format!(
            "after the {}s the server of workers has other threads ({}), which no worker forked \
             from it would have; do not start threads in {instead} or take the risk with \
             allow_fork_with_threads()",
            self.word(),
            fork_lock::list(threads)
        )
    }
}

impl PreloadTimeouts {
    pub(crate) fn new(preloads: &[Preload], limit: Option<Duration>, start: Duration) -> Self {
        Self::of(ServerPhase::Preloads, preloads, limit, start)
    }

    pub(super) fn of(
        phase: ServerPhase,
        functions: &[Preload],
        limit: Option<Duration>,
        start: Duration,
    ) -> Self {
        let stopped = limit.map_or(start, |limit| limit.min(start));
        PreloadTimeouts { limit, stopped, functions: phase.phrase(functions) }
    }

    /// Returns the error when the time is over.
    pub(crate) fn over(&self) -> Error {
        let limit = self.limit.unwrap_or_default();
        if self.functions.is_empty() {
            let text = format!(
                "the server of workers was not ready within {limit:?}; give it more time with \
                 start_timeout(..)"
            );
            return Error::start(text);
        }
        let text = format!(
            "{} did not finish within {limit:?}; give it more time with init_timeout(..)",
            self.functions
        );
        Error::new(ErrorKind::Initializer, text)
    }
}

/// Returns the functions of preloads or initializers by their names, as a person lists them.
pub(crate) fn names<'a>(preloads: impl IntoIterator<Item = &'a Preload>) -> String {
    let names = preloads.into_iter().filter_map(|p| Some(registry::get(p.task)?.name()));
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Why a server will not serve: what to tell its callers.
pub(super) type PreloadRefusal = (Frame, Option<OwnedFd>);

/// Runs the preloads or the initializers, and looks what they left.
pub(super) fn run<'a>(
    role: ServerRole,
    phase: ServerPhase,
    preloads: impl Iterator<Item = (u32, Source<'a>)>,
) -> Result<(), PreloadRefusal> {
    let refused = |kind: ErrorKind, text: String| {
        let threads = kind == ErrorKind::ForkWithThreads;
        Err((Frame::Refused { threads, text }, None))
    };
    crate::config::inherit(role.method);
    termination::follow(role.caller);
    let mut preloads = preloads.peekable();
    if preloads.peek().is_some() {
        let done = crate::worker::preload(preloads);
        process::flush();
        if let Err(report) = done {
            return match fds::blob(&[&report]) {
                Ok(report) => Err((Frame::Failed, Some(report))),
                Err(e) => refused(
                    ErrorKind::Start,
                    format!("{} failed; its report is lost: {e}", phase.any()),
                ),
            };
        }
    }
    // Rule L4.
    let threads = fork_lock::threads_left();
    if !threads.is_empty() && !role.threads_allowed {
        return refused(ErrorKind::ForkWithThreads, phase.refuse_threads(&threads));
    }
    Ok(())
}

/// Tells those who attached why there is no server, and ends.
pub(super) fn give_up(
    role: ServerRole,
    main: &OwnedFd,
    watch: &OwnedFd,
    refusal: PreloadRefusal,
) -> ! {
    let (frame, report) = refusal;
    let mut told = false;
    let mut buffer = [0; wire::LIMIT];
    let fds: Vec<_> = report.iter().map(|report| report.as_fd()).collect();
    loop {
        // At least one client attaches: the process that started this one.
        if !told && !wait(main, watch) {
            break;
        }
        let Ok(Some(message)) = socket::recv(main.as_fd(), &mut buffer, socket::FDS, Wait::Never)
        else {
            break;
        };
        for connection in &message.fds {
            let _ = socket::send(connection.as_fd(), &frame.write(), &fds, Wait::Never);
            told = true;
        }
    }
    process::leave(1, role.method == StartMethod::Fork)
}

/// Waits for a message on the main socket; false if the caller ended.
fn wait(main: &OwnedFd, watch: &OwnedFd) -> bool {
    let [_, ended] = wait_readable([main.as_fd(), watch.as_fd()]);
    !ended
}
