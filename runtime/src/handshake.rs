//! The first message of a worker, which proves that it runs the same build and can work.
//!
//! A worker first sends a hello on its control socket, or a refusal with the reason if it cannot work.
//! The caller [`check`]s either message.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::error::{Error, Result};
use crate::registry;
use crate::sys::entry;
use crate::sys::socket::{self, Wait};

const HELLO: [u8; 8] = *b"PROCHELO";
const REFUSAL: [u8; 8] = *b"PROCSORY";
/// The version of the protocol, which has to be increased whenever data between caller and worker
/// changes its form.
const PROTOCOL: u32 = 3;

/// The size of a hello: magic, protocol, pid, fingerprint, digest.
pub(crate) const SIZE: usize = 32;
/// The maximum length of a first message.
pub(crate) const LIMIT: usize = 1024;

/// Sends the hello of this process.
pub(crate) fn send_hello(control: &OwnedFd) -> io::Result<()> {
    socket::send(control.as_fd(), &own(), &[], Wait::Block)
}

/// Returns the hello of this process.
pub(crate) fn own() -> [u8; SIZE] {
    hello(PROTOCOL, entry::fingerprint(), registry::digest(), std::process::id())
}

/// Sends the reason for which this process cannot be a worker.
pub(crate) fn send_refusal(control: &OwnedFd, reason: &str) {
    let reason = &reason.as_bytes()[..reason.floor_char_boundary(LIMIT - REFUSAL.len())];
    // If sending fails, the caller has ended.
    let _ = socket::send(control.as_fd(), &[&REFUSAL, reason].concat(), &[], Wait::Block);
}

fn hello(protocol: u32, fingerprint: u64, digest: u64, pid: u32) -> [u8; SIZE] {
    let mut bytes = [0; SIZE];
    bytes[..8].copy_from_slice(&HELLO);
    bytes[8..12].copy_from_slice(&protocol.to_le_bytes());
    bytes[12..16].copy_from_slice(&pid.to_le_bytes());
    bytes[16..24].copy_from_slice(&fingerprint.to_le_bytes());
    bytes[24..].copy_from_slice(&digest.to_le_bytes());
    bytes
}

/// Checks the first message of a worker, and returns the pid that the worker has in its own PID
/// namespace.
///
/// # Errors
///
/// Returns an error if the worker belongs to another program or build, could not start, or sent anything
/// else.
pub(crate) fn check(bytes: &[u8]) -> Result<u32> {
    compare(bytes, entry::fingerprint(), registry::digest())
}

fn compare(bytes: &[u8], fingerprint: u64, digest: u64) -> Result<u32> {
    if let Some(reason) = bytes.strip_prefix(&REFUSAL) {
        let reason = String::from_utf8_lossy(&reason[..reason.len().min(LIMIT)]);
        return Err(Error::start(format!("a worker could not start: {reason}")));
    }
    let Ok(bytes) = <&[u8; SIZE]>::try_from(bytes) else {
        return Err(Error::start(
            "a worker did not introduce itself: its first message is no hello",
        ));
    };
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    if bytes[..8] != HELLO {
        return Err(Error::start(
            "a worker did not introduce itself: its first message is no hello",
        ));
    }
    if word(8) != PROTOCOL {
        return Err(Error::start(format!(
            "a worker speaks version {} of the protocol, this program version {PROTOCOL}",
            word(8)
        )));
    }
    if long(16) != fingerprint {
        return Err(Error::start("a worker is of another build of this program"));
    }
    if long(24) != digest {
        return Err(Error::start(
            "a worker has other registered functions than this process; are some in a library \
             that is loaded at run time?",
        ));
    }
    match word(12) {
        0 => Err(Error::start("a worker did not introduce itself: it has no pid")),
        pid => Ok(pid),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hello_is_taken_only_whole_and_equal() {
        let good = hello(PROTOCOL, 7, 9, 42);
        assert_eq!(compare(&good, 7, 9).unwrap(), 42);
        for at in 0..SIZE {
            let mut bad = good;
            bad[at] ^= 0x55;
            let pid = 12..16;
            assert_eq!(compare(&bad, 7, 9).is_ok(), pid.contains(&at), "byte {at}");
            assert!(compare(&good[..at], 7, 9).is_err());
        }
        assert!(compare(&[&good[..], &[0]].concat(), 7, 9).is_err());
        assert!(compare(&hello(PROTOCOL, 7, 9, 0), 7, 9).is_err());
    }

    #[test]
    #[cfg_attr(miri, ignore = "has no such sockets")]
    fn a_refusal_is_an_error_with_its_reason() {
        let (here, there) = socket::pair().unwrap();
        send_refusal(&there, "no such directory");
        let mut buffer = [0; LIMIT];
        let message = socket::recv(here.as_fd(), &mut buffer, 0, Wait::Never).unwrap().unwrap();
        let error = check(message.bytes).unwrap_err();
        assert_eq!(error.to_string(), "a worker could not start: no such directory");
    }
}
