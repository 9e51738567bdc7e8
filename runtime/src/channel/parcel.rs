//! Descriptors of the objects in a message (rule C8).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use super::ring::FoundMessage;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{MOST_HELD, Object, ObjectId, TOO_MANY};
use crate::sys::fds;
use crate::sys::socket::{self, Wait};

/// The most parcels that lie unread in a channel: fewer than fit the buffer of a socket.
pub(super) const MOST_UNREAD: u64 = 128;

/// The bytes of an object in a parcel: its id and how many descriptors it has.
const ENTRY: usize = ObjectId::LEN + 1;
/// The longest parcel: a number and objects with one descriptor each.
const LONGEST: usize = 8 + socket::FDS * ENTRY;

/// Objects that travel together.
#[derive(Debug)]
pub(super) struct Parcel<'a>(Vec<&'a Object>);

/// Divides the objects of a message into parcels.
///
/// # Errors
///
/// If there are too many.
pub(super) fn pack<'a>(objects: impl Iterator<Item = &'a Object>) -> Result<Vec<Parcel<'a>>> {
    let mut parcels: Vec<Parcel<'a>> = Vec::new();
    let (mut count, mut free) = (0, 0);
    for object in objects {
        count += object.len();
        if object.len() > free {
            parcels.push(Parcel(Vec::new()));
            free = socket::FDS;
        }
        free = free.saturating_sub(object.len());
        parcels.last_mut().expect("just made, or with room").0.push(object);
    }
    if count > MOST_HELD {
        let text = format!("a message cannot be sent: it holds more than {MOST_HELD} handles");
        return Err(Error::new(ErrorKind::Encode, text));
    }
    Ok(parcels)
}

impl Parcel<'_> {
    /// Sends it; never waits.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, number: u64) -> Result<()> {
        let mut bytes = number.to_le_bytes().to_vec();
        for object in &self.0 {
            bytes.extend_from_slice(object.id().as_bytes());
            bytes.push(object.len() as u8);
        }
        let fds: Vec<_> = self.0.iter().flat_map(|object| object.fds()).collect();
        socket::send(socket, &bytes, &fds, Wait::Never).map_err(|error| {
            let text = match socket::has_too_many_fds(&error) {
                true => {
                    "more descriptors are under way than RLIMIT_NOFILE allows; raise it (`ulimit -n`), or receive some first"
                        .to_owned()
                }
                false => error.to_string(),
            };
            Error::new(ErrorKind::Encode, format!("the handles in a message cannot be sent: {text}"))
        })
    }
}

/// What lies in front in the socket of the receivers.
enum SocketFront {
    Nothing,
    Token,
    /// The parcel of this number.
    Parcel(u64),
}

fn front(socket: BorrowedFd<'_>) -> SocketFront {
    let mut number = [0; 8];
    // The length that the kernel tells is that of the buffer for longer ones.
    match socket::peek_bytes(socket, &mut number) {
        None => SocketFront::Nothing,
        Some(8) => SocketFront::Parcel(u64::from_le_bytes(number)),
        Some(_) => SocketFront::Token,
    }
}

/// Reads the objects of a message; `None` if a receiver took them that died. The last parcel stays in the socket
/// for [`discard`] after the message was released. Under the lock of the receivers.
///
/// # Errors
///
/// If they cannot be opened here; the message then stays, unless it has more than one parcel.
pub(super) fn read(
    socket: BorrowedFd<'_>,
    found: &FoundMessage,
) -> Result<Option<Vec<Arc<Object>>>> {
    let mut objects = Vec::new();
    let end = found.parcels_end;
    let mut wanted = end.saturating_sub(u64::from(found.entry.parcels)) + 1;
    while wanted <= end {
        match front(socket) {
            SocketFront::Nothing => return Ok(None),
            SocketFront::Parcel(number) if number > wanted => return Ok(None),
            SocketFront::Parcel(number) if number == wanted => {
                open(socket, &mut objects)?;
                if wanted < end {
                    socket::discard(socket);
                }
                wanted += 1;
            }
            // A token, or of a message that was never published.
            SocketFront::Token | SocketFront::Parcel(_) => {
                socket::discard(socket);
            }
        }
    }
    Ok(Some(objects))
}

/// Opens what is in the first parcel, which stays.
fn open(socket: BorrowedFd<'_>, objects: &mut Vec<Arc<Object>>) -> Result<()> {
    let wrong = |text: &str| {
        let text = format!("the handles in a message cannot be received: {text}");
        Err(Error::new(ErrorKind::Decode, text))
    };
    let mut buffer = [0; LONGEST];
    let message = match socket::peek(socket, &mut buffer) {
        Ok(Some(message)) => message,
        Ok(None) => return wrong("they are gone"),
        Err(error) => return wrong(&error.to_string()),
    };
    if message.cut {
        return wrong(TOO_MANY);
    }
    let mut fds = message.fds.into_iter();
    for entry in message.bytes[8..].chunks_exact(ENTRY) {
        let (id, count) = entry.split_at(ObjectId::LEN);
        let Some(id) = ObjectId::from_bytes(id) else { continue };
        let own: Vec<_> = fds.by_ref().take(usize::from(count[0])).collect();
        if own.len() != usize::from(count[0]) || own.is_empty() {
            return wrong("some are missing");
        }
        objects.push(Object::received(id, own));
    }
    Ok(())
}

/// Takes the last parcel of a message away that was released.
pub(super) fn discard(socket: BorrowedFd<'_>, found: &FoundMessage) {
    if let SocketFront::Parcel(number) = front(socket)
        && number <= found.parcels_end
    {
        socket::discard(socket);
    }
}

/// Takes everything away; says whether there was anything.
pub(super) fn drain(socket: BorrowedFd<'_>) {
    // At most what fits its buffer.
    while socket.as_raw_fd() >= 0 && socket::discard(socket) {}
}

/// A memory of its own for the bytes of a long message.
pub(super) fn apart(bytes: &[u8]) -> Result<Arc<Object>> {
    let make = || -> io::Result<Arc<Object>> {
        let file = crate::sys::memory::object_file(bytes.len())?;
        let object = Object::new(vec![file])?;
        object.writable_memory()?.write(0, bytes);
        Ok(object)
    };
    make().map_err(|error| {
        let text = match fds::is_too_many_open(&error) {
            true => TOO_MANY.to_owned(),
            false => error.to_string(),
        };
        let text = format!("a message of {} bytes cannot be sent: {text}", bytes.len());
        Error::new(ErrorKind::OutOfMemory, text)
    })
}
