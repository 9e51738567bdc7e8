//! Workers whose main thread has ended while others of their threads go on.
//!
//! A thread that ends by itself (`SYS_exit`, `pthread_exit`) does not end its process, and the
//! kernel tells of the end of a process when its last thread ends. Such a worker runs
//! no task any more, though it looks alive. The dispatcher looks for them, seldom, among those
//! that have been busy for long.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::core::Core;
use super::seat::{Body, Seat, Stage, Verdict};
use crate::error::{Error, ErrorKind};
use crate::sys::process;

/// How long a worker is at something before it is looked at, and then from look to look.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// How soon it is looked at again before it is taken for one.
const AGAIN: Duration = Duration::from_millis(200);

impl Core {
    /// Ends the workers that are only half there; tells when to look again.
    pub(super) fn watch_halves(&mut self) -> Option<Duration> {
        let mut next = None;
        for at in 0..self.seats.len() {
            let Some(seat) = &mut self.seats[at] else { continue };
            if !seat.is_at_something() {
                (seat.looked, seat.half) = (Instant::now(), false);
                continue;
            }
            next = Some(LOOK);
            if seat.looked.elapsed() < LOOK {
                continue;
            }
            seat.looked = Instant::now();
            let is_half = match &seat.body {
                Body::Process { pidfd, .. } => process::main_thread_ended(pidfd.as_fd()),
                Body::Thread(body) => body.vanished(),
                Body::Expected => false,
            };
            if is_half && !std::mem::replace(&mut seat.half, true) {
                // It may just be ending as a whole, thread by thread.
                seat.looked = Instant::now().checked_sub(LOOK - AGAIN).unwrap_or(seat.looked);
                next = Some(AGAIN);
            } else if is_half {
                let text = "its main thread ended by itself (SYS_exit or pthread_exit) and not its \
                            process, which was killed";
                self.sentence(at, Verdict::Broken(Error::new(ErrorKind::Exited, text)));
                next = Some(Duration::ZERO);
            }
        }
        next
    }
}

impl Seat {
    fn is_at_something(&self) -> bool {
        let works = self.stage != Stage::Serving
            || self.leaving
            || self.chunk.is_some()
            || self.desk.desk().chunk().0 != 0;
        works && self.verdict.is_none() && self.ended.is_none()
    }
}
