//! The start method `Fork`: a template is forked from the caller once and forks each worker.
//!
//! All workers of a pool, including replacements, see the memory of the caller as it was when the pool
//! was built. Rule L9 describes how this snapshot survives the death of the template.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::caller::Caller;
use super::peer::Peer;
use super::preload::ServerPhase;
use super::served::{Host, Served};
use super::wire::Frame;
use super::{NoUnwind, Preload, ServerRole, fork_lock, preload, server, wire};
use std::sync::Arc;

use crate::config::StartMethod;
use crate::error::{Error, Result};
use crate::handle::{self, Object};
use crate::sys::rights::Rights;
use crate::sys::socket::{self, Wait};
use crate::sys::{fds, process, signals, taken};

/// The host of one pool.
pub(super) struct Fork {
    current: TemplatePair,
    /// If the current template was made by a refork: the template that was forked from the caller
    /// (rule L12).
    origin: Option<TemplatePair>,
    /// Whether it has accepted a connection. Before that, a preload may have ended it.
    reached: bool,
    /// The rights with which it was forked.
    rights: Rights,
    /// The names of the preloads that it runs first.
    preloads: String,
}

/// A template and its standby (rule L9).
struct TemplatePair {
    template: Arc<Peer>,
    standby: Option<Peer>,
}

impl TemplatePair {
    fn new(template: Arc<Peer>) -> Self {
        TemplatePair { template, standby: None }
    }

    /// Reads the messages of the template.
    fn tend(&mut self) {
        let mut buffer = [0; wire::LIMIT];
        let main = self.template.main.as_fd();
        while let Ok(Some(message)) = socket::recv(main, &mut buffer, 2, Wait::Never) {
            let frame = Frame::read(message.bytes, message.fds.len());
            if let (Some(Frame::Standby { pid }), Ok([main, pidfd])) =
                (frame, <[OwnedFd; 2]>::try_from(message.fds))
            {
                self.standby = Some(Peer::new(main, pidfd, pid));
            }
        }
    }

    /// Passes a connection to the template, or to the standby that replaces it. Returns `None` if both
    /// have ended.
    fn attach(&mut self, connection: &OwnedFd) -> Result<Option<&Arc<Peer>>> {
        // Each iteration handles one standby that has replaced the template and died since.
        loop {
            self.tend();
            if self.template.is_alive() {
                match self.template.attach(connection) {
                    Ok(()) => return Ok(Some(&self.template)),
                    Err(e) if e.kind() == io::ErrorKind::BrokenPipe => {}
                    Err(e) => {
                        return Err(Error::start(format!("the template cannot be reached: {e}")));
                    }
                }
            }
            match self.standby.take() {
                Some(standby) => self.template = Arc::new(standby),
                None => return Ok(None),
            }
        }
    }
}

/// Returns the error for a pool whose templates are all lost.
fn both_killed() -> Error {
    Error::start(
        "the template of this pool and its standby were both killed, and with them the memory that its \
         workers start from; build another pool",
    )
}

/// Forks the template of a pool, on the thread that builds the pool (rule L5).
pub(super) fn start(
    preloads: &[Preload],
    threads_allowed: bool,
    timeouts: &preload::PreloadTimeouts,
) -> Result<Served<Fork>> {
    let cannot = |e: std::io::Error| Error::start(format!("this process cannot be forked: {e}"));
    let caller = std::process::id();
    let thread = Caller::here();
    let rights = thread.rights().clone();
    let (ours, theirs) = socket::pair().map_err(cannot)?;
    let watch = process::open(caller).map_err(cannot)?;
    let closed = fork_lock::close(threads_allowed)?;
    // Otherwise the child would write the buffered output as well.
    process::flush();
    let (kept, taken, connections) = (fds::kept(), taken::open(), handle::connections());
    let blocked = signals::block();
    let Some(pid) = process::fork().map_err(cannot)? else {
        let _guard = NoUnwind;
        std::mem::forget((closed, blocked));
        drop(ours);
        fds::close_kept(&kept, &[]);
        taken::disconnect(&taken);
        signals::reset();
        fds::open_stdio();
        if !process::die_with_parent(caller) {
            process::exit_now(0);
        }
        let role = ServerRole { method: StartMethod::Fork, caller, threads_allowed };
        // The memory of the child contains these objects, but its table does not.
        let objects = preloads.iter().flat_map(|preload| &preload.objects);
        let adopted: Vec<_> = objects.map(Object::adopt).collect();
        handle::disconnect(&connections);
        let preloaded =
            preload::run(role, ServerPhase::Preloads, preloads.iter().map(Preload::parts));
        drop(adopted);
        server::serve(role, theirs, watch, preloaded)
    };
    drop(blocked);
    drop(closed);
    drop(theirs);
    let pidfd = process::open(pid).map_err(|e| {
        process::discard(pid);
        cannot(e)
    })?;
    let current = TemplatePair::new(Arc::new(Peer::new(ours, pidfd, pid)));
    let preloads = ServerPhase::Preloads.phrase(preloads);
    Served::new(thread, Fork { current, origin: None, reached: false, rights, preloads }, timeouts)
}

impl Host for Fork {
    const WHAT: &'static str = "the template";

    fn suits(&self, rights: &Rights) -> Result<bool> {
        let differ = self.rights.difference(rights);
        if differ.is_empty() {
            return Ok(true);
        }
        Err(Error::start(format!(
            "the rights of this process changed ({}) since the template of this pool was forked \
             from it, and a worker forked from the template would have the former ones; build \
             another pool, or use StartMethod::ForkServer, whose workers follow",
            differ.join(", ")
        )))
    }

    fn leave(&mut self) -> Option<Arc<Peer>> {
        None
    }

    fn peer(&self) -> Option<&Peer> {
        Some(&self.current.template)
    }

    fn replace(&mut self) -> Option<Arc<Peer>> {
        self.tend();
        let works = |peer: &Peer| peer.is_alive() && !peer.is_stopped();
        let template = if let Some(standby) = self.current.standby.take_if(|standby| works(standby))
        {
            // The standby is newer than the messages that the template has not read.
            std::mem::replace(&mut self.current.template, Arc::new(standby))
        } else {
            let origin = self.origin.take_if(|origin| works(&origin.template))?;
            std::mem::replace(&mut self.current, origin).template
        };
        template.give_up();
        Some(template)
    }

    fn give_up(&mut self) {
        self.current.template.give_up();
    }

    fn attach(&mut self, connection: OwnedFd, _rights: &Rights) -> Result<()> {
        loop {
            if self.current.attach(&connection)?.is_some() {
                self.reached = true;
                return Ok(());
            }
            match self.origin.take() {
                Some(origin) => self.current = origin,
                None if !self.reached => return Err(self.lost(false)),
                None => return Err(both_killed()),
            }
        }
    }

    fn attach_origin(&mut self, connection: &OwnedFd, _rights: &Rights) -> Result<Arc<Peer>> {
        let origin = self.origin.as_mut().unwrap_or(&mut self.current);
        origin.attach(connection)?.cloned().ok_or_else(both_killed)
    }

    fn renew(
        &mut self,
        template: Arc<Peer>,
        _origin: Arc<Peer>,
        _rights: &Rights,
    ) -> Option<Arc<Peer>> {
        let former = std::mem::replace(&mut self.current, TemplatePair::new(template));
        let server = Arc::clone(&former.template);
        if self.origin.is_none() {
            self.origin = Some(former);
        }
        Some(server)
    }

    fn is_reforked(&self) -> bool {
        self.origin.is_some()
    }

    fn lost(&mut self, was_ready: bool) -> Error {
        self.current.template.lost(Self::WHAT, if was_ready { "" } else { &self.preloads })
    }

    fn tend(&mut self) {
        self.current.tend();
        if let Some(origin) = &mut self.origin {
            origin.tend();
        }
    }
}
