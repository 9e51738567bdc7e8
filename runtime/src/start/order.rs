//! The data that a worker receives at its start: packed by the caller, unpacked by the worker.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use super::{Order, wire};
use crate::config::StartMethod;
use crate::error::{Error, ErrorKind, Result};
use crate::handshake;
use crate::sys::entry::MARKER;
use crate::sys::limits::ResourceLimits;
use crate::sys::socket::{self, Wait};
use crate::sys::{execute, fds, process};
use crate::worker::{self, Inherited};

/// The maximum number of descriptors of an order, so that it fits in one message.
const FDS: usize = 32;

/// Returns the current environment of the caller, with the variables `extra`, as `NAME=value`.
pub(super) fn environment(extra: &[(OsString, OsString)]) -> Result<Vec<CString>> {
    for (name, value) in extra {
        let bad = |text: &OsStr, byte| text.as_bytes().contains(&byte);
        if name.is_empty() || bad(name, b'=') || bad(name, 0) || bad(value, 0) {
            return Err(Error::new(
                ErrorKind::Configuration,
                format!(
                    "{name:?} cannot be an environment variable of a worker: a name is not empty \
                     and has no `=`, and neither name nor value has a NUL"
                ),
            ));
        }
    }
    let given = extra.iter().enumerate().filter(|(i, (name, _))| {
        let later = &extra[i + 1..];
        later.iter().all(|(other, _)| other != name)
    });
    let given = given.map(|(_, (name, value))| (name.clone(), value.clone()));
    let present = std::env::vars_os().filter(|(name, _)| {
        name.as_bytes() != MARKER.to_bytes() && extra.iter().all(|(other, _)| other != name)
    });
    let join = |(mut text, value): (OsString, OsString)| {
        text.push("=");
        text.push(value);
        execute::c_string(text)
    };
    Ok(present.chain(given).map(join).collect())
}

/// Writes an environment to a file.
pub(super) fn pack_environment(strings: &[CString]) -> Result<OwnedFd> {
    let block: Vec<u8> = strings.iter().flat_map(|s| s.as_bytes_with_nul()).copied().collect();
    fds::blob(&[&block])
        .map_err(|e| Error::start(format!("the environment of a worker cannot be stored: {e}")))
}

/// Replaces the environment of this process by one from a file.
pub(super) fn unpack_environment(blob: OwnedFd) -> std::io::Result<()> {
    process::set_environment(fds::read_blob(blob)?);
    Ok(())
}

/// The parts of an order that a worker does not inherit from the caller under a start method.
#[derive(Clone, Copy, Default)]
pub(super) struct OrderAttachments<'a> {
    pub(super) env: Option<&'a OwnedFd>,
    pub(super) directory: Option<BorrowedFd<'a>>,
    pub(super) limits: Option<ResourceLimits>,
    /// Whether the streams of the order are sent.
    pub(super) stdio: bool,
    /// The inputs of the initializers that the worker runs.
    pub(super) initializers: Option<BorrowedFd<'a>>,
}

/// Sends an order.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    order: &Order<'_>,
    along: OrderAttachments<'_>,
) -> std::io::Result<()> {
    let OrderAttachments { env, directory, limits, stdio, initializers } = along;
    let streams = if stdio { order.stdio } else { [None; 3] };
    let frame = wire::Frame::Order(wire::OrderFrame {
        ticket: order.ticket,
        fds: (order.fds.len() + usize::from(initializers.is_some())) as u8,
        env: env.is_some(),
        directory: directory.is_some(),
        stdio: streams.map(|stream| stream.is_some()),
        limits: limits.map(Box::new),
    });
    let mut all = vec![order.control];
    all.extend(env.map(AsFd::as_fd));
    all.extend(directory);
    all.extend(streams.into_iter().flatten());
    all.extend(order.fds);
    all.extend(initializers);
    socket::send(socket, &frame.write(), &all, Wait::Never)
}

/// Refuses an order that has too many descriptors.
pub(super) fn validate(order: &Order<'_>) -> Result<()> {
    if order.fds.len() + usize::from(order.initializers.is_some()) > FDS {
        return Err(Error::start(format!("a worker cannot be given more than {FDS} open files")));
    }
    Ok(())
}

/// The descriptors of an order, by purpose.
pub(super) struct Parts {
    pub(super) control: OwnedFd,
    env: Option<OwnedFd>,
    directory: Option<OwnedFd>,
    stdio: [Option<OwnedFd>; 3],
    limits: Option<Box<ResourceLimits>>,
    pub(super) fds: Vec<OwnedFd>,
}

impl Parts {
    /// Assigns the descriptors that came with `order`.
    pub(super) fn new(order: wire::OrderFrame, fds: Vec<OwnedFd>) -> Parts {
        let mut fds = fds.into_iter();
        let mut next = || fds.next().expect("a frame is read only with all its fds");
        let control = next();
        let env = order.env.then(&mut next);
        let directory = order.directory.then(&mut next);
        let stdio = order.stdio.map(|there| there.then(&mut next));
        Parts { control, env, directory, stdio, limits: order.limits, fds: fds.collect() }
    }

    /// Runs the worker in its own process.
    pub(super) fn work(mut self, caller: u32, method: StartMethod) -> ! {
        if let Err(reason) = self.settle() {
            handshake::send_refusal(&self.control, &reason);
            process::exit_now(1)
        }
        worker::process(Inherited { control: self.control, fds: self.fds, parent: caller, method })
    }

    /// Enters the environment that came with the order.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        if let Some(env) = self.env.take() {
            unpack_environment(env).map_err(|e| format!("its environment cannot be read: {e}"))?;
        }
        if let Some(directory) = self.directory.take() {
            fds::enter(directory.as_fd())
                .map_err(|e| format!("its directory cannot be entered: {e}"))?;
        }
        for (number, stream) in (0..).zip(&mut self.stdio) {
            if let Some(stream) = stream.take() {
                fds::replace_stdio(number, stream.as_fd())
                    .map_err(|e| format!("its standard stream {number} cannot be replaced: {e}"))?;
            }
        }
        // The limits come last, because they may prevent the steps before.
        if let Some(limits) = &self.limits {
            limits.apply().map_err(|e| format!("the caller's limits cannot be set: {e}"))?;
        }
        Ok(())
    }
}
