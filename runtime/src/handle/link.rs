//! The sockets through which a worker and its caller exchange objects (rules H4 and H5).
//!
//! Each worker process has a separate socket pair for objects. Nothing can be sent to its control
//! socket, because the kernel kills the worker when that socket becomes readable. One message contains
//! one object.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use super::{Object, ObjectId};
use crate::poison::IgnorePoison;
use crate::sys::fds::Checked;
use crate::sys::socket::{self, Message, Wait};

/// From a worker: a request for an object.
const WANT: u8 = 1;
/// From a caller: the requested object.
const GIVEN: u8 = 2;
/// From a caller: the object is not offered.
const GONE: u8 = 3;
/// From a worker: a part of its next output.
const HELD: u8 = 4;
/// From a caller: the object is offered, but its descriptors cannot be sent.
const REFUSED: u8 = 5;

/// The maximum number of objects in one output, which limits how many descriptors a worker can make
/// its caller open at once.
pub(crate) const MOST_HELD: usize = 1024;

const LEN: usize = 1 + ObjectId::LEN;

fn message(tag: u8, id: ObjectId) -> [u8; LEN] {
    let mut bytes = [tag; LEN];
    bytes[1..].copy_from_slice(id.as_bytes());
    bytes
}

fn send(socket: BorrowedFd<'_>, tag: u8, object: &Object, wait: Wait) -> io::Result<()> {
    let fds: Vec<_> = object.fds().collect();
    socket::send(socket, &message(tag, object.id()), &fds, wait)
}

/// The end of a worker.
pub(crate) struct ObjectLink {
    way: ObjectRoute,
    /// Whether the socket no longer works.
    lost: AtomicBool,
}

enum ObjectRoute {
    Socket {
        socket: Mutex<Checked>,
        /// Makes the caller read its end.
        wake: Box<dyn Fn() + Send + Sync>,
    },
    /// The link to a caller in the same process.
    Here(Arc<ObjectQueue>),
}

/// Objects in transit between threads.
pub(crate) type ObjectQueue = Mutex<VecDeque<Arc<Object>>>;

impl ObjectLink {
    /// Creates the end of a worker process. `wake` makes the caller read the other end.
    ///
    /// # Errors
    ///
    /// Fails if the socket is closed.
    pub(crate) fn new(
        socket: OwnedFd,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let socket = Mutex::new(Checked::new(socket)?);
        let way = ObjectRoute::Socket { socket, wake: Box::new(wake) };
        Ok(ObjectLink { way, lost: AtomicBool::new(false) })
    }

    /// Creates the end of a worker that is a thread of its caller.
    pub(crate) fn in_process(queue: Arc<ObjectQueue>) -> Self {
        ObjectLink { way: ObjectRoute::Here(queue), lost: AtomicBool::new(false) }
    }

    /// Sends the objects of an output (rule H5).
    ///
    /// # Errors
    ///
    /// Fails if there are too many objects, if the kernel refuses to send them, or if the caller
    /// does not read them.
    pub(crate) fn give(&self, objects: &[Arc<Object>]) -> Result<(), NotGiven> {
        if objects.len() > MOST_HELD {
            let text = format!("it holds more than {MOST_HELD} handles");
            return Err(NotGiven { why: io::Error::other(text), worker_has_to_leave: false });
        }
        self.give_all(objects).map_err(|why| NotGiven { why, worker_has_to_leave: true })
    }

    fn give_all(&self, objects: &[Arc<Object>]) -> io::Result<()> {
        match &self.way {
            ObjectRoute::Here(queue) => {
                let mut queue = queue.lock().ignore_poison();
                queue.extend(objects.iter().cloned());
            }
            ObjectRoute::Socket { socket, wake } => {
                let socket = socket.lock().ignore_poison();
                let socket = socket.get()?;
                for object in objects {
                    give_one(socket, object, wake)?;
                }
            }
        }
        Ok(())
    }

    /// Returns whether objects can no longer be fetched, because a task closed the socket. The
    /// worker then has to leave.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Requests an object from the caller (rule H4).
    ///
    /// # Errors
    ///
    /// Fails if the caller does not send the object.
    pub(super) fn fetch(&self, id: ObjectId) -> io::Result<Arc<Object>> {
        let ObjectRoute::Socket { socket, wake } = &self.way else {
            return Err(io::Error::other("its last handle was dropped"));
        };
        let socket = socket.lock().ignore_poison();
        let mut buffer = [0; LEN];
        let answer = socket.get().and_then(|socket| {
            socket::send(socket, &message(WANT, id), &[], Wait::Block)?;
            wake();
            let answer = socket::receive(socket, &mut buffer, Wait::Block)?;
            answer.ok_or_else(|| io::Error::other("the caller is gone"))
        });
        let Message { bytes, fds, cut } =
            answer.inspect_err(|_| self.lost.store(true, Ordering::Relaxed))?;
        match bytes {
            _ if cut => Err(io::Error::other(TOO_MANY)),
            [GIVEN, ..] if !fds.is_empty() => Ok(Object::received(id, fds)),
            [REFUSED, ..] => Err(io::Error::other(
                "its caller could not send it; more descriptors are under way than RLIMIT_NOFILE allows",
            )),
            _ => Err(io::Error::other("its caller does not have it any more")),
        }
    }
}

/// The reason why the objects of an output were not sent.
pub(crate) struct NotGiven {
    pub(crate) why: io::Error,
    /// Whether some objects may have been sent, which the caller would take for those of the next
    /// output.
    pub(crate) worker_has_to_leave: bool,
}

/// The number of attempts to write to a full socket, and the pause between them. The caller reads the
/// socket as soon as it is woken.
const TRIES: u32 = 5000;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(1);

fn give_one(socket: BorrowedFd<'_>, object: &Object, wake: &dyn Fn()) -> io::Result<()> {
    let mut tries = 0;
    loop {
        let error = match send(socket, HELD, object, Wait::Never) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // The buffer is full, or the user has too many descriptors in transit.
        let full = error.kind() == io::ErrorKind::WouldBlock || socket::has_too_many_fds(&error);
        if !full || tries == TRIES {
            return Err(error);
        }
        tries += 1;
        wake();
        std::thread::sleep(PAUSE);
    }
}

/// The message for a process that cannot open more files.
pub(crate) const TOO_MANY: &str =
    "this process has too many open files; raise RLIMIT_NOFILE (`ulimit -n`) or keep fewer handles";

/// The objects that a caller has read from a worker.
pub(crate) enum Received {
    /// The worker requests an object.
    Wanted(ObjectId),
    /// A part of the next output; `None` if the descriptors could not be opened in this process.
    Held(Option<Arc<Object>>),
    /// No message has arrived.
    Nothing,
}

/// Reads a message of a worker without waiting.
///
/// # Errors
///
/// Fails if the message does not follow the protocol.
pub(crate) fn read(socket: BorrowedFd<'_>) -> io::Result<Received> {
    let mut buffer = [0; LEN];
    let message = match socket::receive(socket, &mut buffer, Wait::Never) {
        Ok(Some(message)) => message,
        Ok(None) => return Ok(Received::Nothing),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(Received::Nothing),
        Err(error) => return Err(error),
    };
    let unknown = || io::Error::from(io::ErrorKind::InvalidData);
    let (tag, id) = message.bytes.split_first().ok_or_else(unknown)?;
    let id = ObjectId::from_bytes(id).ok_or_else(unknown)?;
    match *tag {
        WANT => Ok(Received::Wanted(id)),
        HELD if message.cut => Ok(Received::Held(None)),
        HELD if !message.fds.is_empty() => {
            Ok(Received::Held(Some(Object::received(id, message.fds))))
        }
        _ => Err(unknown()),
    }
}

/// Answers the request of a worker.
pub(crate) fn give(socket: BorrowedFd<'_>, id: ObjectId, object: Option<&Object>) {
    let sent = match object {
        Some(object) => send(socket, GIVEN, object, Wait::Never),
        None => socket::send(socket, &message(GONE, id), &[], Wait::Never),
    };
    if sent.is_err() {
        // If the worker has ended, it needs no answer. Otherwise the user has too many descriptors
        // in transit.
        let _ = socket::send(socket, &message(REFUSED, id), &[], Wait::Never);
    }
}
