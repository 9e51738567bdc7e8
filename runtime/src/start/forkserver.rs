//! The start method `ForkServer`: a server executes the program once and forks each worker.
//!
//! Pools with the same preloads and the same rights share a server, which ends with the last of them.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};

use super::caller::Caller;
use super::peer::Peer;
use super::preload::ServerPhase;
use super::served::{Host, Served};
use super::wire::{Frame, Setup};
use super::{Preload, ServerRole, order, preload, server, spawn};
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::Object;
use crate::inputs::{self, Inputs};
use crate::poison::IgnorePoison;
use crate::sys::entry;
use crate::sys::generation::PerProcess;
use crate::sys::process;
use crate::sys::rights::Rights;
use crate::sys::socket::{self, Wait};

#[derive(Clone)]
struct Key {
    preloads: Vec<Preload>,
    threads_allowed: bool,
    /// The rights of its workers.
    rights: Rights,
}

impl Key {
    /// Returns a copy for comparisons, which keeps no objects alive.
    fn without_objects(&self) -> Key {
        let mut key = self.clone();
        key.preloads.iter_mut().for_each(|preload| preload.objects.clear());
        key
    }

    /// Returns whether a server with this key can be used for `other`, which has the current rights.
    fn suits(&self, other: &Key) -> bool {
        self.preloads == other.preloads
            && self.threads_allowed == other.threads_allowed
            && self.rights.difference(&other.rights).is_empty()
    }
}

/// The maximum number of handles in the inputs of preloads, which have to fit in one message.
const MOST_OBJECTS: usize = 16;

type Servers = Mutex<Vec<(Key, Weak<Peer>)>>;

static SERVERS: PerProcess<Servers> = PerProcess::new();

/// The host of one pool.
pub(super) struct ForkServer {
    key: Key,
    server: Option<Arc<Peer>>,
    /// If the server is a template that was made by a refork: the server that forked it. It makes the
    /// next template, and forks the workers if the template is lost.
    origin: Option<Arc<Peer>>,
}

/// Connects a pool to the server with these preloads.
pub(super) fn start(
    preloads: &[Preload],
    threads_allowed: bool,
    timeouts: &preload::PreloadTimeouts,
) -> Result<Served<ForkServer>> {
    entry::check().map_err(Error::start)?;
    let key = Key { preloads: preloads.to_vec(), threads_allowed, rights: Rights::default() };
    Served::new(Caller::here(), ForkServer { key, server: None, origin: None }, timeouts)
}

impl Host for ForkServer {
    const WHAT: &'static str = "the forkserver";

    fn suits(&self, rights: &Rights) -> Result<bool> {
        Ok(self.key.rights.difference(rights).is_empty())
    }

    fn leave(&mut self) -> Option<Arc<Peer>> {
        self.origin = None;
        self.server.take()
    }

    fn peer(&self) -> Option<&Peer> {
        self.server.as_deref()
    }

    fn replace(&mut self) -> Option<Arc<Peer>> {
        let server = self.server.take()?;
        server.give_up();
        Some(server)
    }

    fn give_up(&mut self) {
        // Other pools may wait longer for it.
        if let Some(server) = self.server.as_ref().filter(|s| Arc::strong_count(s) == 1) {
            server.give_up();
        }
    }

    fn attach(&mut self, connection: OwnedFd, rights: &Rights) -> Result<()> {
        let server = self.attach_origin(&connection, rights);
        self.origin = None;
        self.server = Some(server?);
        Ok(())
    }

    fn attach_origin(&mut self, connection: &OwnedFd, rights: &Rights) -> Result<Arc<Peer>> {
        self.key.rights = rights.clone();
        // Two attempts, because a server that is about to end may still look alive.
        for last in [false, true] {
            let server = find(&self.key)?;
            match server.attach(connection) {
                Ok(()) => return Ok(server),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    forget(&self.key, Some(&server));
                    if last {
                        let running = ServerPhase::Preloads.phrase(&self.key.preloads);
                        return Err(server.lost(Self::WHAT, &running));
                    }
                }
                Err(error) => {
                    return Err(Error::start(format!("the forkserver cannot be reached: {error}")));
                }
            }
        }
        Err(Error::start("the forkserver was lost"))
    }

    fn renew(
        &mut self,
        template: Arc<Peer>,
        origin: Arc<Peer>,
        rights: &Rights,
    ) -> Option<Arc<Peer>> {
        self.key.rights = rights.clone();
        self.origin = Some(origin);
        self.server.replace(template)
    }

    fn is_reforked(&self) -> bool {
        self.origin.is_some()
    }

    fn lost(&mut self, was_ready: bool) -> Error {
        // The server is dead or useless, so later pools must not find it.
        forget(&self.key, self.server.as_ref());
        let running = if was_ready {
            String::new()
        } else {
            ServerPhase::Preloads.phrase(&self.key.preloads)
        };
        match self.server.take() {
            Some(server) => server.lost(Self::WHAT, &running),
            None => Error::start("the forkserver was lost"),
        }
    }
}

/// Removes the servers with this key that have ended, and `lost`.
fn forget(key: &Key, lost: Option<&Arc<Peer>>) {
    let mut servers = SERVERS.get().lock().ignore_poison();
    let is_lost = |server: &Arc<Peer>| lost.is_some_and(|lost| Arc::ptr_eq(lost, server));
    let of_use = |server: Arc<Peer>| server.is_of_use() && !is_lost(&server);
    servers.retain(|(other, server)| !other.suits(key) || server.upgrade().is_some_and(of_use));
}

/// Returns a living server with this key, which is started if there is none.
fn find(key: &Key) -> Result<Arc<Peer>> {
    let mut servers = SERVERS.get().lock().ignore_poison();
    let living = |server: &Weak<Peer>| server.upgrade().filter(|server| server.is_of_use());
    if let Some(server) =
        servers.iter().find_map(|(other, s)| living(s).filter(|_| other.suits(key)))
    {
        return Ok(server);
    }
    let server = Arc::new(execute(key)?);
    servers.retain(|(other, server)| !other.suits(key) && server.strong_count() > 0);
    servers.push((key.without_objects(), Arc::downgrade(&server)));
    Ok(server)
}

fn execute(key: &Key) -> Result<Peer> {
    let cannot = |e: std::io::Error| Error::start(format!("the forkserver cannot be started: {e}"));
    let objects: Vec<_> = key.preloads.iter().flat_map(|preload| &preload.objects).collect();
    if objects.len() > MOST_OBJECTS {
        let text = format!(
            "the inputs of the preloads hold {} handles, and a server takes at most {MOST_OBJECTS}; \
             give the others to initializers",
            objects.len()
        );
        return Err(Error::new(ErrorKind::Configuration, text));
    }
    let preloads = inputs::pack(&key.preloads.iter().collect::<Vec<_>>()).map_err(cannot)?;
    let caller = process::open(std::process::id()).map_err(cannot)?;
    let child = spawn::execute(order::environment(&[])?, [None; 3])?;
    let setup = Frame::Setup(Setup {
        caller: std::process::id(),
        threads_allowed: key.threads_allowed,
        env: child.env.is_some(),
        objects: objects.iter().map(|object| (object.id(), object.len() as u8)).collect(),
    });
    let mut fds = vec![caller.as_fd(), preloads.as_fd()];
    fds.extend(child.env.as_ref().map(AsFd::as_fd));
    fds.extend(objects.iter().flat_map(|object| object.fds()));
    let sent = socket::send(child.socket.as_fd(), &setup.write(), &fds, Wait::Never);
    let peer = Peer::new(child.socket, child.pidfd, child.pid);
    sent.map_err(cannot)?;
    Ok(peer)
}

/// Serves in the process that was executed for this.
pub(super) fn executed(main: OwnedFd, setup: Setup, fds: Vec<OwnedFd>) -> ! {
    let mut fds = fds.into_iter();
    let mut next = || fds.next().expect("a frame is read only with all its fds");
    let (watch, preloads) = (next(), Inputs::open(&next()));
    let env = setup.env.then(&mut next).map_or(Ok(()), order::unpack_environment);
    let (Ok(preloads), Ok(())) = (preloads, env) else { process::exit_now(1) };
    // Decoding finds these objects. The values that the preloads keep refer to them afterwards.
    let objects: Vec<_> = setup
        .objects
        .iter()
        .map(|(id, count)| Object::received(*id, (0..*count).map(|_| next()).collect()))
        .collect();
    let role = ServerRole {
        method: StartMethod::ForkServer,
        caller: setup.caller,
        threads_allowed: setup.threads_allowed,
    };
    let preloaded = preload::run(role, ServerPhase::Preloads, preloads.iter());
    drop((preloads, objects));
    server::serve(role, main, watch, preloaded)
}
