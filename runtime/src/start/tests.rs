//! Tests of the messages and sockets.

use std::os::fd::{AsFd, OwnedFd};

use super::Exit;
use super::wire::{Frame, OrderFrame, ReforkFrame, Setup};
use crate::handle::ObjectId;
use crate::sys::fds;
use crate::sys::limits::ResourceLimits;
use crate::sys::socket::{self, Wait};

fn frames() -> Vec<(Frame, usize)> {
    let order = OrderFrame {
        ticket: u64::MAX - 1,
        fds: 7,
        env: true,
        directory: false,
        stdio: [true, false, true],
        limits: None,
    };
    let limits =
        ResourceLimits { umask: Some(0o27), resources: std::array::from_fn(|n| (n as u64, 9)) };
    let limited = OrderFrame { limits: Some(limits.into()), ..order.clone() };
    let setup = Setup { caller: 77, threads_allowed: true, env: false, objects: Vec::new() };
    let objects = vec![(ObjectId::from([7; 16]), 1), (ObjectId::from([8; 16]), 3)];
    vec![
        (Frame::Setup(setup.clone()), 2),
        (Frame::Setup(Setup { env: true, ..setup.clone() }), 3),
        (Frame::Setup(Setup { objects: objects.clone(), ..setup }), 6),
        (
            Frame::Refork(ReforkFrame { order: OrderFrame { fds: 5, ..limited.clone() }, objects }),
            9,
        ),
        (Frame::Release { pid: 5 }, 0),
        (Frame::Attach, 1),
        (Frame::Order(order), 11),
        (Frame::Order(limited), 11),
        (Frame::Ready, 0),
        (Frame::Failed, 1),
        (Frame::Refused { threads: true, text: "no".into() }, 0),
        (Frame::Started { ticket: 3, pid: 4 }, 1),
        (Frame::NotStarted { ticket: 3, text: "ä".into() }, 0),
        (Frame::Exited { pid: 9, exit: Exit::Code(-1) }, 0),
        (Frame::Exited { pid: 9, exit: Exit::Signal(9) }, 0),
        (Frame::Exited { pid: 9, exit: Exit::Unknown }, 0),
        (Frame::Standby { pid: 5 }, 2),
        (Frame::Kill { pid: 5, signal: 15 }, 0),
        (Frame::NotKilled { pid: 5, text: "no".into() }, 0),
    ]
}

#[test]
fn frames_are_read_as_written_and_only_with_their_fds() {
    for (frame, fds) in frames() {
        let bytes = frame.write();
        assert_eq!(Frame::read(&bytes, fds), Some(frame));
        assert_eq!(Frame::read(&bytes, fds + 1), None);
    }
}

#[test]
fn any_bytes_are_read_without_a_panic() {
    let mut state = 1u64;
    for (frame, fds) in frames() {
        let whole = frame.write();
        for cut in 0..whole.len() {
            let _ = Frame::read(&whole[..cut], fds);
        }
        for _ in 0..if cfg!(miri) { 20 } else { 2000 } {
            let mut bytes = whole.clone();
            for byte in &mut bytes {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if state >> 61 == 0 {
                    *byte = (state >> 33) as u8;
                }
            }
            let _ = Frame::read(&bytes, fds);
        }
    }
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    let frame = Frame::NotStarted { ticket: 1, text: "é".repeat(5000) };
    let Some(Frame::NotStarted { text, .. }) = Frame::read(&frame.write(), 0) else { panic!() };
    assert_eq!(text, "é".repeat(256));
}

#[test]
#[cfg_attr(miri, ignore = "has no such sockets")]
fn a_message_arrives_whole_or_not_at_all() {
    let (a, b) = socket::pair().unwrap();
    let blob = fds::blob(&[b"content"]).unwrap();
    let two = [blob.as_fd(), a.as_fd()];
    let mut buffer = [0; 16];

    socket::send(a.as_fd(), b"hello", &two, Wait::Never).unwrap();
    let message = socket::recv(b.as_fd(), &mut buffer, 2, Wait::Never).unwrap().unwrap();
    assert_eq!(message.bytes, b"hello");
    let fds: Vec<OwnedFd> = message.fds;
    assert_eq!(fds.len(), 2);
    assert_eq!(fds::read_blob(fds.into_iter().next().unwrap()).unwrap(), b"content");

    let kind = |result: std::io::Result<Option<socket::Message<'_>>>| result.err().unwrap().kind();
    socket::send(a.as_fd(), b"hello", &two, Wait::Never).unwrap();
    let got = socket::recv(b.as_fd(), &mut buffer, 1, Wait::Never);
    assert_eq!(kind(got), std::io::ErrorKind::InvalidData);
    socket::send(a.as_fd(), &[1; 17], &[], Wait::Never).unwrap();
    let got = socket::recv(b.as_fd(), &mut buffer, 1, Wait::Never);
    assert_eq!(kind(got), std::io::ErrorKind::InvalidData);
    let got = socket::recv(b.as_fd(), &mut buffer, 1, Wait::Never);
    assert_eq!(kind(got), std::io::ErrorKind::WouldBlock);
}

#[test]
#[cfg_attr(miri, ignore = "has no such sockets")]
fn what_was_sent_before_a_death_is_still_read() {
    let (a, b) = socket::pair().unwrap();
    // Unread by the side that closes: the other is told of a reset.
    socket::send(b.as_fd(), b"unread", &[], Wait::Never).unwrap();
    socket::send(a.as_fd(), b"last words", &[], Wait::Never).unwrap();
    drop(a);
    let mut buffer = [0; 16];
    let message = socket::recv(b.as_fd(), &mut buffer, 0, Wait::Never).unwrap().unwrap();
    assert_eq!(message.bytes, b"last words");
    assert!(socket::recv(b.as_fd(), &mut buffer, 0, Wait::Never).unwrap().is_none());
}
