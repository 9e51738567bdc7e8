//! The packets that carry the descriptors of the objects in a message (rule C8).

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::error::ChannelError;
use super::ring::FoundMessage;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{MOST_HELD, Object, ObjectId, TOO_MANY};
use crate::sys::fds;
use crate::sys::socket::{self, Wait};

/// The maximum number of unread packets in a channel, which fit the buffer of its socket.
pub(super) const MOST_UNREAD: u64 = 128;

/// The bytes of an object in a packet: its id and the number of its descriptors.
const ENTRY: usize = ObjectId::LEN + 1;
/// The length of the longest packet: its number, and objects with one descriptor each.
const LONGEST: usize = 8 + socket::FDS * ENTRY;

/// Objects that are sent together.
#[derive(Debug)]
pub(super) struct Packet<'a>(Vec<&'a Object>);

/// Divides the objects of a message into packets.
///
/// # Errors
///
/// Fails if there are more than [`MOST_HELD`] descriptors.
pub(super) fn pack<'a>(objects: impl Iterator<Item = &'a Object>) -> Result<Vec<Packet<'a>>> {
    let mut packets: Vec<Packet<'a>> = Vec::new();
    let (mut count, mut free) = (0, 0);
    for object in objects {
        count += object.len();
        if object.len() > free {
            packets.push(Packet(Vec::new()));
            free = socket::FDS;
        }
        free = free.saturating_sub(object.len());
        packets.last_mut().expect("just made, or with room").0.push(object);
    }
    if count > MOST_HELD {
        let text = format!("a message cannot be sent: it holds more than {MOST_HELD} handles");
        return Err(Error::new(ErrorKind::Encode, text));
    }
    Ok(packets)
}

impl Packet<'_> {
    /// Sends the packet without waiting.
    ///
    /// # Errors
    ///
    /// Fails if the kernel refuses the descriptors, and if no receiver exists.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, number: u64) -> Result<(), ChannelError> {
        let mut bytes = number.to_le_bytes().to_vec();
        for object in &self.0 {
            bytes.extend_from_slice(object.id().as_bytes());
            bytes.push(object.len() as u8);
        }
        let fds: Vec<_> = self.0.iter().flat_map(|object| object.fds()).collect();
        socket::send(socket, &bytes, &fds, Wait::Never).map_err(|error| {
            // The last receiver may have ended after the sender looked for it.
            if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) {
                return ChannelError::Disconnected;
            }
            let text = match socket::has_too_many_fds(&error) {
                true => {
                    "more descriptors are under way than RLIMIT_NOFILE allows; raise it (`ulimit -n`), or receive some first"
                        .to_owned()
                }
                false => error.to_string(),
            };
            let text = format!("the handles in a message cannot be sent: {text}");
            Error::new(ErrorKind::Encode, text).into()
        })
    }
}

/// The first item in the socket of the receivers.
enum SocketFront {
    Nothing,
    /// A wake-up (rule C7).
    Token,
    /// The packet with this number.
    Packet(u64),
}

fn front(socket: BorrowedFd<'_>) -> SocketFront {
    let mut number = [0; 8];
    // For longer packets the kernel returns the length of the buffer.
    match socket::peek_bytes(socket, &mut number) {
        None => SocketFront::Nothing,
        Some(8) => SocketFront::Packet(u64::from_le_bytes(number)),
        Some(_) => SocketFront::Token,
    }
}

/// Reads the objects of a message; returns `None` if a receiver that died had taken them. The last packet stays in the socket
/// until [`discard`] is called after the message was taken. Called under the lock of the receivers.
///
/// # Errors
///
/// Fails if this process cannot open the descriptors. The message then stays, unless it has more than one packet.
pub(super) fn read(
    socket: BorrowedFd<'_>,
    found: &FoundMessage,
) -> Result<Option<Vec<Arc<Object>>>> {
    let mut objects = Vec::new();
    let end = found.packets_end;
    let mut wanted = end.saturating_sub(u64::from(found.entry.packets)) + 1;
    while wanted <= end {
        match front(socket) {
            SocketFront::Nothing => return Ok(None),
            SocketFront::Packet(number) if number > wanted => return Ok(None),
            SocketFront::Packet(number) if number == wanted => {
                open(socket, &mut objects)?;
                if wanted < end {
                    socket::discard(socket);
                }
                wanted += 1;
            }
            // A packet with a smaller number belongs to a message that was never published.
            SocketFront::Token | SocketFront::Packet(_) => {
                socket::discard(socket);
            }
        }
    }
    Ok(Some(objects))
}

/// Opens the objects in the first packet, which stays in the socket.
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

/// Discards the last packet of a message that was taken.
pub(super) fn discard(socket: BorrowedFd<'_>, found: &FoundMessage) {
    if let SocketFront::Packet(number) = front(socket)
        && number <= found.packets_end
    {
        socket::discard(socket);
    }
}

/// Discards everything in the socket.
pub(super) fn drain(socket: BorrowedFd<'_>) {
    while socket::discard(socket) {}
}

/// Creates separate memory with the bytes of a long message.
///
/// # Errors
///
/// Fails if there is not enough memory or no descriptor.
pub(super) fn separate(bytes: &[u8]) -> Result<Arc<Object>> {
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
