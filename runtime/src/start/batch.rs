//! What is read once for workers that the dispatcher starts together.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::caller::Caller;
use super::{Order, order};
use crate::error::Result;
use crate::sys::fds;
use crate::sys::limits::ResourceLimits;
use crate::sys::rights::PresentRights;

/// The time after which a batch reads everything again. A start takes about as long, so that a change comes into effect about as
/// soon as it would if each start read everything.
const AGE: Duration = Duration::from_millis(1);

/// What the caller has at the moment, as far as it was read for workers that are started together.
///
/// To read the rights takes about 20 system calls, and to pack the environment and the limits as many, which is a considerable
/// part of a start.
#[derive(Default)]
pub(crate) struct StartBatch {
    /// The time of the oldest value.
    read: Option<Instant>,
    rights: Option<PresentRights>,
    surroundings: Option<Surroundings>,
}

/// What a worker that is forked by a server does not inherit from the caller.
pub(super) struct Surroundings {
    pub(super) env: OwnedFd,
    directory: Option<OwnedFd>,
    pub(super) limits: ResourceLimits,
}

impl Surroundings {
    /// Returns the directory of the caller, if it could be opened.
    pub(super) fn directory(&self) -> Option<BorrowedFd<'_>> {
        self.directory.as_ref().map(AsFd::as_fd)
    }
}

impl StartBatch {
    /// Forgets what is too old for the start of another worker.
    pub(super) fn next(&mut self) {
        if self.read.is_some_and(|read| read.elapsed() >= AGE) {
            *self = StartBatch::default();
        }
    }

    /// Returns the rights of the caller (rule L10).
    ///
    /// # Errors
    ///
    /// Fails as [`Caller::present`] does.
    pub(super) fn rights(&mut self, caller: &mut Caller) -> Result<&PresentRights> {
        if self.rights.is_none() {
            self.read.get_or_insert_with(Instant::now);
            self.rights = Some(caller.present()?);
        }
        Ok(self.rights.as_ref().expect("just read"))
    }

    /// Returns what a forked worker does not inherit, with the variables that all workers of the pool receive.
    ///
    /// # Errors
    ///
    /// Returns an error if the environment cannot be stored.
    pub(super) fn surroundings(&mut self, order: &Order<'_>) -> Result<&Surroundings> {
        if self.surroundings.is_none() {
            self.read.get_or_insert_with(Instant::now);
            let umask = self.rights.as_ref().and_then(|present| present.umask);
            self.surroundings = Some(Surroundings {
                env: order::pack_environment(&order::environment(order.env)?)?,
                directory: fds::directory(),
                limits: ResourceLimits::present(umask),
            });
        }
        Ok(self.surroundings.as_ref().expect("just read"))
    }
}
