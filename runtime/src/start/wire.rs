//! The messages between a caller and the processes that it starts.
//!
//! A message is one packet: a tag, fixed fields, and as many descriptors as the fields announce.
//! [`Frame::read`] accepts nothing else, and does not panic for any bytes. Long data is sent as the
//! descriptor of a file that contains it.

use super::Exit;
use crate::handle::ObjectId;
use crate::sys::limits::ResourceLimits;

/// The maximum length of a message.
pub(super) const LIMIT: usize = 1024;
/// The maximum length of a text in a message; a longer one is cut.
const TEXT: usize = 512;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// From the caller to a new process: serve as a server. Descriptors: the pidfd of the caller, the
    /// preloads, the environment if it was too large for the call, and the objects.
    Setup(Setup),
    /// From the caller to a server, on its main socket: serve this connection. Descriptors: the end of
    /// the connection.
    Attach,
    /// From the caller to a server, or to a new process that is the worker itself.
    Order(OrderFrame),
    /// From a server: the preloads are done, and orders are accepted.
    Ready,
    /// From a server: a preload failed. Descriptors: the report.
    Failed,
    /// From a server: it will not serve, for this reason.
    Refused { threads: bool, text: String },
    /// From a server: a worker has started. Descriptors: its pidfd.
    Started { ticket: u64, pid: u32 },
    /// From a server: a worker could not be started.
    NotStarted { ticket: u64, text: String },
    /// From a server: a worker has ended.
    Exited { pid: u32, exit: Exit },
    /// From the caller to a server: send a signal to a worker, because the caller is not permitted to.
    Kill { pid: u32, signal: i32 },
    /// From a server: it is not permitted to send the signal either.
    NotKilled { pid: u32, text: String },
    /// From a template, on its main socket: a standby has started. Descriptors: its main socket and its
    /// pidfd.
    Standby { pid: u32 },
    /// From the caller to a server: fork a template, which runs initializers (rule L12). Descriptors: as
    /// with an order, whose control socket is the main socket of the template and whose other
    /// descriptors are the inputs and the objects.
    Refork(ReforkFrame),
    /// From the caller to a server: the template that it forked serves, and outlives it.
    Release { pid: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) caller: u32,
    pub(super) threads_allowed: bool,
    pub(super) env: bool,
    /// The objects in the inputs of the preloads, and the number of descriptors of each.
    pub(super) objects: Vec<(ObjectId, u8)>,
}

impl Setup {
    fn count(&self) -> usize {
        2 + usize::from(self.env) + count(&self.objects)
    }
}

/// Returns the number of descriptors of objects.
fn count(objects: &[(ObjectId, u8)]) -> usize {
    objects.iter().map(|(_, fds)| usize::from(*fds)).sum()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReforkFrame {
    /// What the template receives, as a worker does.
    pub(super) order: OrderFrame,
    /// The objects in the inputs of the initializers, and the number of descriptors of each.
    pub(super) objects: Vec<(ObjectId, u8)>,
}

/// The descriptors that come with an order, in this sequence: control socket, environment, directory,
/// standard streams, then `fds` more.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct OrderFrame {
    pub(super) ticket: u64,
    pub(super) fds: u8,
    pub(super) env: bool,
    pub(super) directory: bool,
    pub(super) stdio: [bool; 3],
    /// The limits that the worker sets; `None` if it has inherited them.
    pub(super) limits: Option<Box<ResourceLimits>>,
}

impl OrderFrame {
    fn count(&self) -> usize {
        let flags = [self.env, self.directory].into_iter().chain(self.stdio);
        1 + usize::from(self.fds) + flags.filter(|&there| there).count()
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.ticket.to_le_bytes());
        bytes.push(self.fds);
        bytes.extend([self.env, self.directory].map(u8::from));
        bytes.extend(self.stdio.map(u8::from));
        bytes.push(u8::from(self.limits.is_some()));
        if let Some(limits) = &self.limits {
            bytes.extend(limits.umask.unwrap_or(u32::MAX).to_le_bytes());
            let values = limits.resources.iter().flat_map(|&(soft, hard)| [soft, hard]);
            values.for_each(|value| bytes.extend(value.to_le_bytes()));
        }
    }
}

impl Frame {
    fn tag(&self) -> u8 {
        match self {
            Frame::Setup(_) => 1,
            Frame::Attach => 2,
            Frame::Order(_) => 3,
            Frame::Ready => 4,
            Frame::Failed => 5,
            Frame::Refused { .. } => 6,
            Frame::Started { .. } => 7,
            Frame::NotStarted { .. } => 8,
            Frame::Exited { .. } => 9,
            Frame::Standby { .. } => 10,
            Frame::Kill { .. } => 11,
            Frame::NotKilled { .. } => 12,
            Frame::Refork(_) => 13,
            Frame::Release { .. } => 14,
        }
    }

    /// Returns the number of descriptors of the message.
    fn fds(&self) -> usize {
        match self {
            Frame::Setup(setup) => setup.count(),
            Frame::Standby { .. } => 2,
            Frame::Attach | Frame::Failed | Frame::Started { .. } => 1,
            Frame::Order(order) => order.count(),
            Frame::Refork(refork) => refork.order.count(),
            _ => 0,
        }
    }

    pub(super) fn write(&self) -> Vec<u8> {
        let mut bytes = vec![self.tag()];
        match self {
            Frame::Setup(setup) => {
                bytes.extend(setup.caller.to_le_bytes());
                bytes.extend([setup.threads_allowed, setup.env].map(u8::from));
                write_objects(&setup.objects, &mut bytes);
            }
            Frame::Order(order) => order.write(&mut bytes),
            Frame::Refork(refork) => {
                refork.order.write(&mut bytes);
                write_objects(&refork.objects, &mut bytes);
            }
            Frame::Refused { threads, text } => {
                bytes.push(u8::from(*threads));
                bytes.extend(cut(text));
            }
            Frame::Started { ticket, pid } => {
                bytes.extend(ticket.to_le_bytes());
                bytes.extend(pid.to_le_bytes());
            }
            Frame::NotStarted { ticket, text } => {
                bytes.extend(ticket.to_le_bytes());
                bytes.extend(cut(text));
            }
            Frame::Exited { pid, exit } => {
                let (kind, value) = match *exit {
                    Exit::Code(code) => (0, code),
                    Exit::Signal(signal) => (1, signal),
                    Exit::Unknown => (2, 0),
                };
                bytes.extend(pid.to_le_bytes());
                bytes.push(kind);
                bytes.extend(value.to_le_bytes());
            }
            Frame::Standby { pid } | Frame::Release { pid } => bytes.extend(pid.to_le_bytes()),
            Frame::Kill { pid, signal } => {
                bytes.extend(pid.to_le_bytes());
                bytes.extend(signal.to_le_bytes());
            }
            Frame::NotKilled { pid, text } => {
                bytes.extend(pid.to_le_bytes());
                bytes.extend(cut(text));
            }
            Frame::Attach | Frame::Ready | Frame::Failed => {}
        }
        bytes
    }

    /// Reads a message that came with `fds` fds.
    pub(super) fn read(bytes: &[u8], fds: usize) -> Option<Frame> {
        Frame::read_cut(bytes).filter(|frame| frame.fds() == fds)
    }

    /// Reads a message whose fds did not arrive.
    pub(super) fn read_cut(bytes: &[u8]) -> Option<Frame> {
        let mut from = FrameReader(bytes);
        let frame = match from.byte()? {
            1 => Frame::Setup(Setup {
                caller: from.word()?,
                threads_allowed: from.flag()?,
                env: from.flag()?,
                objects: from.objects()?,
            }),
            2 => Frame::Attach,
            3 => Frame::Order(from.order()?),
            4 => Frame::Ready,
            5 => Frame::Failed,
            6 => Frame::Refused { threads: from.flag()?, text: from.text() },
            7 => Frame::Started { ticket: from.long()?, pid: from.word()? },
            8 => Frame::NotStarted { ticket: from.long()?, text: from.text() },
            9 => Frame::Exited {
                pid: from.word()?,
                exit: match (from.byte()?, from.word()?.cast_signed()) {
                    (0, code) => Exit::Code(code),
                    (1, signal) => Exit::Signal(signal),
                    (2, _) => Exit::Unknown,
                    _ => return None,
                },
            },
            10 => Frame::Standby { pid: from.word()? },
            11 => Frame::Kill { pid: from.word()?, signal: from.word()?.cast_signed() },
            12 => Frame::NotKilled { pid: from.word()?, text: from.text() },
            13 => {
                let refork = ReforkFrame { order: from.order()?, objects: from.objects()? };
                // The inputs come before the objects.
                (usize::from(refork.order.fds) == 1 + count(&refork.objects))
                    .then_some(Frame::Refork(refork))?
            }
            14 => Frame::Release { pid: from.word()? },
            _ => return None,
        };
        from.0.is_empty().then_some(frame)
    }
}

fn write_objects(objects: &[(ObjectId, u8)], bytes: &mut Vec<u8>) {
    bytes.push(objects.len() as u8);
    for (id, fds) in objects {
        bytes.extend(id.as_bytes());
        bytes.push(*fds);
    }
}

/// Returns the start of a text, at a border of characters.
fn cut(text: &str) -> &[u8] {
    &text.as_bytes()[..text.floor_char_boundary(TEXT)]
}

struct FrameReader<'a>(&'a [u8]);

impl FrameReader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn order(&mut self) -> Option<OrderFrame> {
        Some(OrderFrame {
            ticket: self.long()?,
            fds: self.byte()?,
            env: self.flag()?,
            directory: self.flag()?,
            stdio: [self.flag()?, self.flag()?, self.flag()?],
            limits: if self.flag()? { Some(self.limits()?.into()) } else { None },
        })
    }

    fn limits(&mut self) -> Option<ResourceLimits> {
        let umask = self.word()?;
        let mut resources = [(0, 0); _];
        for limit in &mut resources {
            *limit = (self.long()?, self.long()?);
        }
        Some(ResourceLimits { umask: (umask != u32::MAX).then_some(umask), resources })
    }

    fn objects(&mut self) -> Option<Vec<(ObjectId, u8)>> {
        let count = self.byte()?;
        (0..count).map(|_| Some((ObjectId::from(self.take()?), self.byte()?))).collect()
    }

    fn text(&mut self) -> String {
        String::from_utf8_lossy(std::mem::take(&mut self.0)).into_owned()
    }
}
