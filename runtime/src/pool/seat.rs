//! Seats: the places of a pool for workers, and who sits there.
//!
//! A seat has a number, its bit on the board. Whoever sits there has an id that no
//! other worker of the pool ever has.
//!
//! ```text
//!  empty ──launch──► starting ──greeted──► initializing ──ready──► serving ──┬─► leaving ─┐
//!    ▲                  │                      │                      │      └─► doomed ──┤
//!    └──────────────────┴──────────────────────┴──────────────────────┴───── ended ◄──────┘
//! ```

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::threads::ThreadBody;
use crate::error::Error;
use crate::queue::{Consumer, DeskMap};
use crate::start::Exit;
use crate::sys::fds::Kept;

/// Where a worker is in its life, as the caller sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Being started; it has not greeted.
    Starting,
    /// Runs its initializers.
    Initializing,
    /// Serves.
    Serving,
}

/// Why the caller killed a worker.
pub(super) enum Verdict {
    /// Its task ran too long.
    TimedOut(Duration),
    /// The pool ends.
    Terminated,
    /// It was to leave, and did not end in time.
    LeaveTimeout(Duration),
    /// It broke the protocol, or did not get ready; says how.
    Broken(Error),
}

/// What there is of a worker besides its desk.
pub(super) enum Body {
    /// Asked for; no process is known yet.
    Expected,
    Process {
        pid: u32,
        pidfd: Arc<OwnedFd>,
    },
    Thread(ThreadBody),
}

/// Who sits in a seat.
pub(super) struct Seat {
    pub(super) id: usize,
    pub(super) stage: Stage,
    pub(super) body: Body,
    pub(super) control: Option<Arc<OwnedFd>>,
    /// Its control socket once more, for as long as it lives: when this end is shut, the
    /// kernel kills the process, also where this one may not.
    pub(super) wire: Option<Kept>,
    pub(super) desk: Arc<DeskMap>,
    pub(super) consumer: Consumer,
    /// The chunk whose CHUNK message came and whose END did not.
    pub(super) chunk: Option<u64>,
    /// The direct chunk that was given to it and has not ended.
    pub(super) direct: Option<u64>,
    pub(super) born: Instant,
    pub(super) verdict: Option<Verdict>,
    /// It was to be killed, and may not be: since when, and why.
    pub(super) refused: Option<(Instant, String)>,
    /// It was asked to leave.
    pub(super) leaving: bool,
    /// Since when nothing is left for it but to end.
    pub(super) left: Option<Instant>,
    /// When it was last seen idle, or looked at closely.
    pub(super) looked: Instant,
    /// Its main thread was gone then.
    pub(super) half: bool,
    /// Its process is over; how, is not known yet.
    pub(super) ended: Option<Instant>,
    /// How its process ended, where that came before the end was seen.
    pub(super) exit: Option<Exit>,
    /// Since when it has nothing to do.
    pub(super) idle_since: Option<Instant>,
}

impl Seat {
    pub(super) fn pid(&self) -> u32 {
        match &self.body {
            Body::Process { pid, .. } => *pid,
            Body::Thread(_) => std::process::id(),
            Body::Expected => 0,
        }
    }

    pub(super) fn is_serving(&self) -> bool {
        self.stage == Stage::Serving && self.ended.is_none()
    }
}
