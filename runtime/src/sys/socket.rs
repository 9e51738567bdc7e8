//! Sequenced-packet sockets, which transfer ordered messages and file descriptors.

#![allow(unsafe_code, reason = "control messages are parsed by hand, to lose no fd")]

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use super::stdio;
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};

/// The maximum number of descriptors in one message.
pub(crate) const FDS: usize = 64;

/// The space for [`FDS`] descriptors, aligned like `cmsghdr`.
#[repr(C, align(8))]
struct Control([u8; 16 + FDS * mem::size_of::<RawFd>() + 16]);

/// Whether a call may wait.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    Block,
    Never,
}

impl Wait {
    fn flag(self) -> i32 {
        match self {
            Wait::Block => 0,
            Wait::Never => libc::MSG_DONTWAIT,
        }
    }
}

/// One message.
pub(crate) struct Message<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) fds: Vec<OwnedFd>,
    /// Whether the message was too long for the buffer, or some of its descriptors could not be opened
    /// here. It then has none.
    pub(crate) cut: bool,
}

/// Returns whether a message was not sent because the user has too many descriptors in transit. There is
/// room again after some were received.
pub(crate) fn has_too_many_fds(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ETOOMANYREFS)
}

/// Creates two connected sockets, which programs that are executed later do not inherit.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (one, other) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    Ok((stdio::above_stdio(one)?, stdio::above_stdio(other)?))
}

/// Sends one message, either as a whole or not at all; never raises SIGPIPE.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    fds: &[BorrowedFd<'_>],
    wait: Wait,
) -> io::Result<()> {
    if fds.len() > FDS || bytes.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let raw: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut control = Control([0; _]);
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all zeroes are a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    if !raw.is_empty() {
        let length = mem::size_of_val(raw.as_slice()) as u32;
        header.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the macro only computes a number.
        header.msg_controllen = unsafe { libc::CMSG_SPACE(length) } as _;
        // SAFETY: `control` is aligned and large enough for `FDS` descriptors, so that the first header
        // and its data are within it.
        unsafe {
            let first = libc::CMSG_FIRSTHDR(&raw const header);
            (*first).cmsg_level = libc::SOL_SOCKET;
            (*first).cmsg_type = libc::SCM_RIGHTS;
            (*first).cmsg_len = libc::CMSG_LEN(length) as _;
            std::ptr::copy_nonoverlapping(
                raw.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(first),
                length as usize,
            );
        }
    }
    loop {
        // SAFETY: the header refers to living memory, which the kernel only reads.
        let sent = unsafe {
            libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_NOSIGNAL | wait.flag())
        };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Receives one message of at most `buffer.len()` bytes and `limit` descriptors.
///
/// Returns `None` at the end, when the other side has closed the socket and no message is left. A
/// message that was cut short, or has more than `limit` descriptors, is an `InvalidData` error, and its
/// descriptors are closed.
pub(crate) fn recv<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut [u8],
    limit: usize,
    wait: Wait,
) -> io::Result<Option<Message<'a>>> {
    match receive(socket, buffer, wait)? {
        Some(message) if message.cut || message.fds.len() > limit => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a message was cut short (too long, or too many open files)",
        )),
        message => Ok(message),
    }
}

/// Like [`recv`], but returns a message that was cut short, and marks it.
pub(crate) fn receive<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut [u8],
    wait: Wait,
) -> io::Result<Option<Message<'a>>> {
    receive_with(socket, buffer, wait.flag())
}

/// Like [`receive`], without waiting. The message stays in the socket; its descriptors are duplicates.
pub(crate) fn peek<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut [u8],
) -> io::Result<Option<Message<'a>>> {
    receive_with(socket, buffer, libc::MSG_DONTWAIT | libc::MSG_PEEK)
}

/// Reads the bytes of the next message without waiting, and without its descriptors. The message stays
/// in the socket. Returns `None` if there is none.
pub(crate) fn peek_bytes(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<usize> {
    receive_bytes(socket, buffer, libc::MSG_DONTWAIT | libc::MSG_PEEK).ok()?
}

/// Returns the length of the next message without waiting, or `None` at the end, like [`recv`]. The message stays in the
/// socket.
pub(crate) fn next_len(socket: BorrowedFd<'_>) -> io::Result<Option<usize>> {
    receive_bytes(socket, &mut [], libc::MSG_DONTWAIT | libc::MSG_PEEK | libc::MSG_TRUNC)
}

/// Removes the next message with its descriptors; returns false if there is none.
pub(crate) fn discard(socket: BorrowedFd<'_>) -> bool {
    matches!(receive_bytes(socket, &mut [0; 8], libc::MSG_DONTWAIT), Ok(Some(_)))
}

fn receive_bytes(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    flags: libc::c_int,
) -> io::Result<Option<usize>> {
    let mut resets = 0;
    loop {
        // SAFETY: the buffer is writable for its length. Without space for control messages, the kernel
        // opens no descriptors.
        let got = unsafe {
            libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags)
        };
        if let Ok(got) = usize::try_from(got) {
            // 0 is the end, because no message is empty.
            return Ok((got > 0).then_some(got));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECONNRESET) if resets < 2 => resets += 1,
            _ => return Err(error),
        }
    }
}

/// Sends one byte without waiting. Does not report whether it was sent.
pub(crate) fn wake(socket: BorrowedFd<'_>) {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: the byte is alive, and the kernel only reads it.
    while unsafe { libc::send(socket.as_raw_fd(), [0_u8].as_ptr().cast(), 1, flags) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

fn receive_with<'a>(
    socket: BorrowedFd<'_>,
    buffer: &'a mut [u8],
    flags: libc::c_int,
) -> io::Result<Option<Message<'a>>> {
    let mut control = Control([0; _]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes are a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    let mut resets = 0;
    let length = loop {
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = control.0.len() as _;
        let flags = libc::MSG_CMSG_CLOEXEC | flags;
        // SAFETY: the header refers to living memory of the given lengths.
        let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) };
        if let Ok(got) = usize::try_from(got) {
            break got;
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::EINTR) => {}
            // The kernel reports once that the other side died with unread messages. Messages that it
            // had sent before can still be read.
            Some(libc::ECONNRESET) if resets < 2 => resets += 1,
            _ => return Err(error),
        }
    };
    let received = take_fds(&header);
    let count = received.len();
    let mut fds: Vec<OwnedFd> =
        received.into_iter().filter_map(|fd| stdio::above_stdio(fd).ok()).collect();
    let cut = header.msg_flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0 || fds.len() < count;
    if cut {
        fds.clear();
    }
    if length == 0 {
        return Ok(None);
    }
    Ok(Some(Message { bytes: &buffer[..length], fds, cut }))
}

/// Takes ownership of each descriptor that the kernel has opened for this message.
fn take_fds(header: &libc::msghdr) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled the control buffer; the macros stay within `msg_controllen`; every
    // descriptor in it is new and has no other owner.
    unsafe {
        let mut at = libc::CMSG_FIRSTHDR(header);
        while !at.is_null() {
            if (*at).cmsg_level == libc::SOL_SOCKET && (*at).cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(at);
                let bytes = (*at).cmsg_len as usize - (data as usize - at as usize);
                for i in 0..bytes / mem::size_of::<RawFd>() {
                    let raw = data.cast::<RawFd>().add(i).read_unaligned();
                    fds.push(OwnedFd::from_raw_fd(raw));
                }
            }
            at = libc::CMSG_NXTHDR(header, at);
        }
    }
    fds
}

/// Returns the process and the user that created the pair of `fd`, if `fd` is an open sequenced-packet
/// socket of the local family.
pub(crate) fn maker(fd: RawFd) -> Option<libc::ucred> {
    fn option<T>(fd: RawFd, name: libc::c_int) -> Option<T> {
        let mut value = mem::MaybeUninit::<T>::uninit();
        let mut length = mem::size_of::<T>() as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes into `value`.
        let done = unsafe {
            libc::getsockopt(fd, libc::SOL_SOCKET, name, value.as_mut_ptr().cast(), &raw mut length)
        };
        // SAFETY: the value was filled as a whole, and `T` below consists of integers only.
        (done == 0 && length as usize == mem::size_of::<T>())
            .then(|| unsafe { value.assume_init() })
    }
    if option::<libc::c_int>(fd, libc::SO_DOMAIN)? != libc::AF_UNIX
        || option::<libc::c_int>(fd, libc::SO_TYPE)? != libc::SOCK_SEQPACKET
    {
        return None;
    }
    option(fd, libc::SO_PEERCRED)
}

/// Returns whether `fd` is a sequenced-packet socket of the local family.
pub(crate) fn is_local(fd: BorrowedFd<'_>) -> bool {
    maker(fd.as_raw_fd()).is_some()
}

/// Ends a connection for all processes that have one of its ends.
pub(crate) fn shut(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(socket.as_raw_fd(), Shutdown::Both)?)
}

/// Announces that no more messages will be sent. Messages of the other side still arrive.
pub(crate) fn finish(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(shutdown(socket.as_raw_fd(), Shutdown::Write)?)
}
