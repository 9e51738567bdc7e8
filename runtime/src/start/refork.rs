//! A template in which the initializers of a pool have run (rule L12): how the caller makes one, and what
//! runs in it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::link::{Link, Lost};
use super::order::{self, Parts};
use super::peer::Peer;
use super::preload::{self, PreloadRefusal, PreloadTimeouts, ServerPhase};
use super::wire::{self, Frame};
use super::{Exit, LaunchEvent, Preload, ServerRole};
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{Object, ObjectId};
use crate::inputs::{self, Inputs};
use crate::sys::fds::{self, Kept};
use crate::sys::limits::ResourceLimits;
use crate::sys::process;
use crate::sys::rights::{PresentRights, Rights};
use crate::sys::socket::{self, Wait};

/// The name of the new server in messages.
const WHAT: &str = "the new template";

/// The maximum number of handles in the inputs of the initializers, which have to fit in one message.
const MOST_OBJECTS: usize = 16;

/// The interval in which a waiting caller checks whether the pool has ended, and whether a server is
/// stopped.
const CHECK: Duration = Duration::from_millis(50);

/// Returns the error of a start method without a server.
pub(crate) fn unsupported(method: StartMethod) -> Error {
    let reason = match method {
        StartMethod::Thread => "threads share the memory of this process; use preload(..)",
        _ => {
            "each worker executes the program again and shares no memory with others; use \
             StartMethod::ForkServer"
        }
    };
    let text = format!("refork() does not work with the start method {}: {reason}", method.name());
    Error::new(ErrorKind::Configuration, text)
}

/// Returns the error of a pool whose workers share processes.
#[cfg(feature = "tokio")]
pub(super) fn with_lanes() -> Error {
    let text = "refork() does not work with concurrency(..) above 1, because workers that share a process \
                cannot be replaced one after another; use preload(..)";
    Error::new(ErrorKind::Configuration, text)
}

/// A connection to the origin of a new template.
pub(crate) struct ReforkRequest {
    link: Link,
    origin: Arc<Peer>,
    present: PresentRights,
    /// The name of the origin in messages.
    what: &'static str,
    events: Vec<LaunchEvent>,
}

/// The data of the pool that a new template needs.
pub(crate) struct ReforkInputs<'a> {
    pub(crate) preloads: &'a [Preload],
    pub(crate) initializers: &'a [Preload],
    pub(crate) env: &'a [(std::ffi::OsString, std::ffi::OsString)],
    pub(crate) directory: Option<BorrowedFd<'a>>,
    pub(crate) init_timeout: Option<Duration>,
    pub(crate) start_timeout: Duration,
    /// Returns an error if the template is not needed any more.
    pub(crate) wanted: &'a dyn Fn() -> Result<()>,
}

/// A new template that accepts orders. Dropping it ends it.
pub(crate) struct Template {
    // Closed first.
    pub(super) link: Link,
    pub(super) server: Arc<Peer>,
    pub(super) origin: Arc<Peer>,
    pub(super) rights: Rights,
    /// The inputs of the initializers that each worker runs itself.
    pub(super) own_inputs: Option<Kept>,
}

impl ReforkRequest {
    pub(super) fn new(
        link: Link,
        origin: Arc<Peer>,
        present: PresentRights,
        what: &'static str,
    ) -> Self {
        ReforkRequest { link, origin, present, what, events: Vec::new() }
    }

    /// Makes the template, on any thread.
    ///
    /// # Errors
    ///
    /// Returns an error if an initializer fails, or if a process ends, is stopped, or takes too long. Then
    /// nothing of the template is left.
    pub(crate) fn make(mut self, inputs: &ReforkInputs<'_>) -> Result<Template> {
        let cannot =
            |e: std::io::Error| Error::start(format!("a new template cannot be forked: {e}"));
        // The initializers of the library belong to one worker each.
        let (own, shared): (Vec<_>, Vec<_>) =
            inputs.initializers.iter().partition(|initializer| initializer.is_internal());
        let own_inputs = match own.is_empty() {
            true => None,
            false => Some(Kept::new(inputs::pack(&own).map_err(cannot)?)),
        };
        let shared: Vec<Preload> = shared.into_iter().cloned().collect();
        self.wait_for_origin(inputs)?;
        let (main, theirs) = socket::pair().map_err(cannot)?;
        self.send(inputs, &shared, theirs.as_fd())?;
        drop(theirs);
        let (pid, pidfd) = self.wait_for_fork(inputs)?;
        let server = Arc::new(Peer::new(main, pidfd, pid));
        let link = self.wait_for_template(inputs, &shared, &server);
        // What is dropped here is killed, because it may be in an initializer that never ends.
        let link = link.inspect_err(|_| server.give_up())?;
        // If the origin has ended, the template has outlived it already.
        let release = Frame::Release { pid }.write();
        let _ = socket::send(self.link.socket.as_fd(), &release, &[], Wait::Never);
        Ok(Template { link, server, origin: self.origin, rights: self.present.rights, own_inputs })
    }

    /// Waits until the origin has run its preloads and accepts requests.
    fn wait_for_origin(&mut self, inputs: &ReforkInputs<'_>) -> Result<()> {
        let limit = match inputs.preloads.is_empty() {
            true => Some(inputs.start_timeout),
            false => inputs.init_timeout,
        };
        let timeouts = PreloadTimeouts::new(inputs.preloads, limit, inputs.start_timeout);
        let waited = Waited { what: self.what, server: &self.origin, timeouts: &timeouts };
        let events = &mut self.events;
        waited
            .until(&mut self.link, events, inputs.wanted, |link, _| link.ready.then_some(()))
            .map_err(|lost| {
                let running = ServerPhase::Preloads.phrase(inputs.preloads);
                lost.into_error(|| self.origin.lost(self.what, &running))
            })
    }

    /// Sends the request.
    fn send(
        &self,
        inputs: &ReforkInputs<'_>,
        initializers: &[Preload],
        main: BorrowedFd<'_>,
    ) -> Result<()> {
        let cannot =
            |e: std::io::Error| Error::start(format!("a new template cannot be ordered: {e}"));
        let objects: Vec<_> = initializers.iter().flat_map(|i| &i.objects).collect();
        if objects.len() > MOST_OBJECTS {
            let text = format!(
                "the inputs of the initializers hold {} handles, and refork() can pass on at most \
                 {MOST_OBJECTS}; give the others to tasks",
                objects.len()
            );
            return Err(Error::new(ErrorKind::Configuration, text));
        }
        let blob = inputs::pack(&initializers.iter().collect::<Vec<_>>()).map_err(cannot)?;
        let env = order::pack_environment(&order::environment(inputs.env)?)?;
        let current = fds::directory();
        let directory = inputs.directory.or(current.as_ref().map(AsFd::as_fd));
        let more: Vec<_> =
            std::iter::once(blob.as_fd()).chain(objects.iter().flat_map(|o| o.fds())).collect();
        let frame = Frame::Refork(wire::ReforkFrame {
            order: wire::OrderFrame {
                ticket: 0,
                fds: more.len() as u8,
                env: true,
                directory: directory.is_some(),
                stdio: [false; 3],
                limits: Some(ResourceLimits::present(self.present.umask).into()),
            },
            objects: objects.iter().map(|o| (o.id(), o.len() as u8)).collect(),
        });
        let mut all = vec![main, env.as_fd()];
        all.extend(directory);
        all.extend(more);
        socket::send(self.link.socket.as_fd(), &frame.write(), &all, Wait::Never).map_err(cannot)
    }

    /// Waits until the origin has forked the template.
    fn wait_for_fork(&mut self, inputs: &ReforkInputs<'_>) -> Result<(u32, OwnedFd)> {
        let limit = Some(inputs.start_timeout);
        let timeouts = PreloadTimeouts::new(&[], limit, inputs.start_timeout);
        let waited = Waited { what: self.what, server: &self.origin, timeouts: &timeouts };
        let events = &mut self.events;
        let answer = waited.until(&mut self.link, events, inputs.wanted, |_, events| {
            // The exit of a template may have been read as well.
            (!events.is_empty()).then(|| events.remove(0))
        });
        match answer {
            Ok(LaunchEvent::Started { pid, pidfd, .. }) => Ok((pid, pidfd)),
            Ok(LaunchEvent::NotStarted { error, .. }) => Err(error),
            Ok(_) => Err(Error::start("the server of workers sent something unexpected")),
            Err(lost) => Err(lost.into_error(|| self.origin.lost(self.what, ""))),
        }
    }

    /// Waits until the initializers have run, and returns a connection to the template.
    fn wait_for_template(
        &mut self,
        inputs: &ReforkInputs<'_>,
        initializers: &[Preload],
        server: &Peer,
    ) -> Result<Link> {
        let cannot = |e: std::io::Error| Error::start(format!("{WHAT} cannot be reached: {e}"));
        let (ours, theirs) = socket::pair().map_err(cannot)?;
        let mut link = Link::new(Kept::new(ours), ServerPhase::Initializers);
        let limit = match initializers.is_empty() {
            true => Some(inputs.start_timeout),
            false => inputs.init_timeout,
        };
        let phase = ServerPhase::Initializers;
        let timeouts = PreloadTimeouts::of(phase, initializers, limit, inputs.start_timeout);
        let waited = Waited { what: WHAT, server, timeouts: &timeouts };
        let attached = match server.attach(&theirs) {
            // It has ended; the connection tells.
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        };
        attached.map_err(cannot)?;
        drop(theirs);
        let mut events = Vec::new();
        let ready = |link: &Link, _: &mut Vec<LaunchEvent>| link.ready.then_some(());
        match waited.until(&mut link, &mut events, inputs.wanted, ready) {
            Ok(()) => Ok(link),
            Err(lost) => Err(lost.into_error(|| {
                let exit = self.reported_exit();
                server.lost_with(WHAT, &phase.phrase(initializers), exit)
            })),
        }
    }

    /// Returns the exit of the template, which the origin reports.
    fn reported_exit(&mut self) -> Option<Exit> {
        let end = Instant::now() + Duration::from_secs(1);
        loop {
            let read = self.link.read(&mut self.events);
            let exit = self.events.iter().find_map(|event| match event {
                LaunchEvent::Exited { exit, .. } => Some(*exit),
                _ => None,
            });
            let left = end.saturating_duration_since(Instant::now());
            if exit.is_some() || read.is_err() || left.is_zero() {
                return exit;
            }
            process::ended(self.link.socket.as_fd(), left);
        }
    }
}

/// A server that a caller waits for.
struct Waited<'a> {
    what: &'a str,
    server: &'a Peer,
    timeouts: &'a PreloadTimeouts,
}

/// Why a server did not answer.
enum NoAnswer {
    /// Its connection ended. It may have reported the reason.
    Lost(Option<Error>),
    Because(Error),
}

impl NoAnswer {
    fn into_error(self, lost: impl FnOnce() -> Error) -> Error {
        match self {
            NoAnswer::Lost(reported) => reported.unwrap_or_else(lost),
            NoAnswer::Because(error) => error,
        }
    }
}

impl Waited<'_> {
    /// Reads the messages of a connection until `answer` returns something.
    fn until<R>(
        &self,
        link: &mut Link,
        events: &mut Vec<LaunchEvent>,
        wanted: &dyn Fn() -> Result<()>,
        answer: impl Fn(&Link, &mut Vec<LaunchEvent>) -> Option<R>,
    ) -> Result<R, NoAnswer> {
        let begun = Instant::now();
        loop {
            let read = link.read(events);
            if let Some(answer) = answer(link, events) {
                return Ok(answer);
            }
            match read {
                Ok(()) => {}
                Err(Lost::Closed) => return Err(NoAnswer::Lost(link.take_failure())),
                Err(Lost::Because(text)) => return Err(NoAnswer::Because(Error::start(text))),
            }
            wanted().map_err(NoAnswer::Because)?;
            let (past, limit) = (begun.elapsed(), self.timeouts.limit);
            if past >= self.timeouts.stopped && self.server.is_stopped() {
                return Err(NoAnswer::Because(self.of_stopped()));
            }
            let left = limit.map_or(CHECK, |limit| limit.saturating_sub(past));
            if left.is_zero() {
                return Err(NoAnswer::Because(self.timeouts.over()));
            }
            process::ended(link.socket.as_fd(), left.min(CHECK));
        }
    }

    fn of_stopped(&self) -> Error {
        let (what, pid, limit) = (self.what, self.server.pid(), self.timeouts.stopped);
        Error::start(format!(
            "{what} (pid {pid}) is stopped, by a signal such as SIGSTOP or by a debugger, and has not \
             answered within {limit:?}; the pool continues without a refork"
        ))
    }
}

/// Runs the initializers in a new template (rule L12), and returns its main socket.
pub(super) fn run(
    role: ServerRole,
    mut parts: Parts,
    objects: &[(ObjectId, u8)],
) -> (OwnedFd, Result<(), PreloadRefusal>) {
    let settled = parts.settle();
    let Parts { control: main, fds, .. } = parts;
    let mut fds = fds.into_iter();
    let mut next = || fds.next().expect("a frame is read only with all its fds");
    let initializers = settled.and_then(|()| {
        Inputs::open(&next())
            .map_err(|e| format!("the inputs of its initializers cannot be read: {e}"))
    });
    let initializers = match initializers {
        Ok(initializers) => initializers,
        Err(text) => return (main, Err((Frame::Refused { threads: false, text }, None))),
    };
    // Decoding finds these objects. The values that the initializers return refer to them afterwards.
    let objects: Vec<_> = objects
        .iter()
        .map(|(id, count)| Object::received(*id, (0..*count).map(|_| next()).collect()))
        .collect();
    let initialized = preload::run(role, ServerPhase::Initializers, initializers.iter());
    drop((initializers, objects));
    (main, initialized)
}
