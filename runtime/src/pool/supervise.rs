//! The life of workers, step by step: births, deadlines, ends.
//!
//! Everything here is done by the dispatcher, which holds the lock for it.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::chunk::Chunk;
use super::core::{Core, Life, Shared};
use super::seat::{Body, Seat, Stage, Verdict};
use crate::error::{Error, ErrorKind};
use crate::queue::{Consumer, DeskMap, Phase, Started};
use crate::start::{Exit, handshake};
use crate::sys::fds::Kept;
use crate::sys::socket;
use crate::sys::{clock, process};
use crate::worker::{Birth, FAILED, Failure, MESSAGE_LEN, READY};

/// How often running tasks with a timeout are looked at.
pub(super) const WATCH: Duration = Duration::from_millis(10);

/// How long the news of how a process ended may take after its end.
const EXIT_PATIENCE: Duration = Duration::from_secs(2);

/// The CPU for a seat when workers are pinned.
pub(super) fn cpu_of(seat: usize) -> Option<usize> {
    let cpus = crate::sys::limits::cpus();
    (!cpus.is_empty()).then(|| cpus[seat % cpus.len()])
}

impl Core {
    /// Makes seats for the workers that are missing; they are to be launched.
    pub(super) fn vacancies(&mut self, shared: &Shared) -> Vec<usize> {
        let dormant =
            shared.settings.idle_timeout.is_some() && self.complete && self.outstanding == 0;
        let spent = !shared.settings.replace && self.next_worker >= self.target;
        if self.broken.is_some() || self.life >= Life::Leaving || dormant || spent {
            return Vec::new();
        }
        if self.seats.len() < self.target {
            self.seats.resize_with(self.target, || None);
        }
        (0..self.target).filter(|at| self.seats[*at].is_none()).collect()
    }

    /// Prepares a seat: its desk and what its worker will be told.
    pub(super) fn occupy(
        &mut self,
        shared: &Shared,
        at: usize,
        control: Option<Arc<std::os::fd::OwnedFd>>,
    ) -> std::io::Result<std::os::fd::OwnedFd> {
        let (desk, file) = DeskMap::create()?;
        desk.desk().set_spin(shared.spinners as u32);
        let settings = &shared.settings;
        let id = self.next_worker;
        let wire = control.as_ref().map(|socket| socket.try_clone()).transpose()?;
        let birth = Birth {
            seat: at,
            id,
            depth: shared.depth + 1,
            max_tasks: settings.max_tasks,
            nice: settings.nice,
            cpu: settings.pin_cpus.then(|| cpu_of(at)).flatten(),
            memory_limit: settings.memory_limit,
        };
        birth.write(&desk)?;
        shared.region().vacate(at);
        self.next_worker += 1;
        self.seats[at] = Some(Seat {
            id,
            stage: Stage::Starting,
            body: Body::Expected,
            control,
            wire: wire.map(Kept::new),
            desk: Arc::new(desk),
            consumer: Consumer::default(),
            chunk: None,
            direct: None,
            born: Instant::now(),
            verdict: None,
            refused: None,
            leaving: false,
            left: None,
            looked: Instant::now(),
            half: false,
            ended: None,
            exit: None,
            idle_since: None,
        });
        Ok(file)
    }

    pub(super) fn seat_of(&self, id: usize) -> Option<usize> {
        self.seats.iter().position(|seat| seat.as_ref().is_some_and(|seat| seat.id == id))
    }

    /// Reads what workers that are not ready yet say.
    pub(super) fn hear(&mut self, shared: &Shared, at: usize) {
        let mut buffer = [0; MESSAGE_LEN];
        loop {
            let Some(seat) = &mut self.seats[at] else {
                return;
            };
            let Some(control) = seat.control.clone() else {
                return;
            };
            let message = match socket::recv(control.as_fd(), &mut buffer, 0, socket::Wait::Never) {
                Ok(Some(message)) => message.bytes,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // The end of the process says more.
                _ => {
                    seat.control = None;
                    return;
                }
            };
            let outcome = match (seat.stage, message) {
                (Stage::Starting, hello) => handshake::check(hello).map(|_| {
                    seat.stage = Stage::Initializing;
                    seat.born = Instant::now();
                }),
                (Stage::Initializing, [READY]) => {
                    self.ready(shared, at);
                    Ok(())
                }
                (Stage::Initializing, [FAILED, report @ ..]) => Err(Failure::of_birth(report)),
                _ => {
                    Err(Error::start("it said something that makes no sense on its control socket"))
                }
            };
            if let Err(error) = outcome {
                self.sentence(at, Verdict::Broken(error));
                return;
            }
        }
    }

    /// A worker serves from now on.
    pub(super) fn ready(&mut self, shared: &Shared, at: usize) {
        let Some(seat) = &mut self.seats[at] else {
            return;
        };
        seat.stage = Stage::Serving;
        seat.control = None;
        self.failed_births = 0;
        self.note_complete();
        self.give_direct(shared);
        shared.changed.notify_all();
    }

    /// Notes when all workers serve and are known; a worker may be ready before the
    /// news of its birth came.
    pub(super) fn note_complete(&mut self) {
        let is_known = |seat: &&Seat| seat.is_serving() && !matches!(seat.body, Body::Expected);
        let known = self.seats.iter().flatten().filter(is_known).count();
        self.complete |= known >= self.target;
    }

    /// Kills a worker for a reason; a thread cannot be killed and is left to itself.
    pub(super) fn sentence(&mut self, at: usize, verdict: Verdict) {
        let Some(seat) = &mut self.seats[at] else {
            return;
        };
        if seat.verdict.is_some() {
            return;
        }
        seat.verdict = Some(verdict);
        match &seat.body {
            Body::Process { .. } => self.signal(at, libc::SIGKILL),
            Body::Thread(_) => {
                seat.desk.desk().abandon();
                seat.desk.desk().wake();
            }
            // Killed as soon as it is known; the kernel may do it before.
            Body::Expected => {
                if let Some(wire) = &seat.wire {
                    let _ = socket::shut(wire.as_fd());
                }
            }
        }
    }

    /// Sends a signal to the process of a seat. Where this process has not the right to, it
    /// has the kernel kill the worker, and whoever made it is asked to.
    fn signal(&mut self, at: usize, signal: i32) {
        let Some(seat) = &mut self.seats[at] else { return };
        let Body::Process { pidfd, .. } = &seat.body else { return };
        let Err(error) = process::signal(pidfd.as_fd(), signal) else { return };
        if signal == libc::SIGKILL {
            if let Some(wire) = &seat.wire {
                // Refused if the worker is gone.
                let _ = socket::shut(wire.as_fd());
            }
            seat.refused = Some((Instant::now(), error.to_string()));
        }
        self.refused.push((seat.id as u64, signal));
    }

    /// Sends a signal to every worker; a thread is given up.
    pub(super) fn signal_all(&mut self, signal: i32) {
        for at in 0..self.seats.len() {
            match self.seats[at].as_ref().map(|seat| &seat.body) {
                Some(Body::Process { .. }) => self.signal(at, signal),
                Some(Body::Thread(_)) => {
                    let text = "it was told to end, but its worker is a thread, which cannot be \
                                killed; it was left behind";
                    let error = Error::new(ErrorKind::Cancelled, text);
                    self.sentence(at, Verdict::Broken(error));
                }
                _ => {}
            }
        }
    }

    /// Ends tasks whose time is over; tells how long it takes until the next may be.
    pub(super) fn watch_time(&mut self, shared: &Shared) -> Option<Duration> {
        if self.timeouts.is_empty() {
            return None;
        }
        let now = clock::now();
        let mut next: Option<Duration> = None;
        for at in 0..self.seats.len() {
            let Some(seat) = self.seats[at].as_ref().filter(|seat| seat.verdict.is_none()) else {
                continue;
            };
            let (position, since) = seat.desk.desk().chunk();
            let timeout = self.chunk(position).and_then(|chunk| chunk.timeout);
            let Some(limit) = timeout else { continue };
            let left = limit.saturating_sub(Duration::from_nanos(now.saturating_sub(since)));
            if !left.is_zero() {
                next = Some(next.map_or(left, |next| next.min(left)));
            } else if self.is_doomed(shared, at, position) {
                self.sentence(at, Verdict::TimedOut(limit));
            }
        }
        next
    }

    /// Whether a worker is still at the one input of a chunk; if so it does not begin
    /// another one (rule 15).
    fn is_doomed(&mut self, shared: &Shared, at: usize, position: u64) -> bool {
        let Some(seat) = &self.seats[at] else {
            return false;
        };
        let desk = Arc::clone(&seat.desk);
        let started = Started { position, index: 0 };
        desk.desk().set_doom(Some(started));
        self.drain_seat(shared, at, None);
        let at_it = self.seats[at].as_ref().is_some_and(|seat| seat.chunk == Some(position))
            && self.chunk(position).is_some_and(|chunk| chunk.answered == 0)
            && desk.desk().started() == Some(started);
        if !at_it {
            desk.desk().set_doom(None);
            desk.desk().wake();
        }
        at_it
    }

    /// Looks at a process that may have ended; `exit` is what is known of it.
    pub(super) fn may_have_ended(&mut self, shared: &Shared, at: usize, exit: Option<Exit>) {
        let Some(seat) = &mut self.seats[at] else {
            return;
        };
        let since = *seat.ended.get_or_insert_with(Instant::now);
        let known = exit.or(seat.exit.take());
        match known {
            // What it said before its end counts.
            Some(exit) => {
                self.hear(shared, at);
                self.bury(shared, at, exit);
            }
            None if since.elapsed() > EXIT_PATIENCE => self.bury(shared, at, Exit::Unknown),
            None => {}
        }
    }

    /// Asks workers to leave that were idle too long.
    pub(super) fn watch_idlers(&mut self, limit: Duration) {
        if !self.complete {
            return;
        }
        for seat in self.seats.iter_mut().flatten().filter(|seat| seat.is_serving()) {
            let desk = seat.desk.desk();
            if self.outstanding > 0 || desk.phase() != Phase::Idle {
                seat.idle_since = None;
            } else if seat.idle_since.get_or_insert_with(Instant::now).elapsed() >= limit {
                seat.leave();
            }
        }
    }

    /// Asks the workers over the target, or all, to leave.
    pub(super) fn dismiss(&mut self, from: usize) {
        self.seats.iter_mut().skip(from).flatten().for_each(Seat::leave);
    }

    /// Gives waiting direct chunks to their workers.
    pub(super) fn give_direct(&mut self, shared: &Shared) {
        let waiting = std::mem::take(&mut self.waiting_direct);
        for chunk in waiting {
            let at = chunk.only.expect("a direct chunk names its seat");
            if at >= self.target && self.seats.get(at).is_none_or(Option::is_none) {
                // Its worker left before it came to it, and counts no more: a broadcast is
                // for the workers that stay.
                self.count_answers(shared, chunk.call, chunk.count);
                self.tell_follower(chunk.call);
                continue;
            }
            let seat = self.seats.get_mut(at).and_then(Option::as_mut);
            let may_take = |seat: &&mut Seat| {
                seat.is_serving()
                    && seat.direct.is_none()
                    && seat.desk.desk().phase() != Phase::Leaving
            };
            match seat.filter(may_take) {
                Some(seat) => {
                    let position = self.next_direct;
                    self.next_direct += 1;
                    seat.direct = Some(position);
                    shared.region().direct(at, position, &chunk.descriptor());
                    let desk = Arc::clone(&seat.desk);
                    let id = chunk.call;
                    self.direct.insert(position, chunk);
                    if let Some(call) = self.call(id) {
                        call.active += 1;
                    }
                    shared.board().idle.clear(at);
                    desk.desk().wake();
                }
                None => self.waiting_direct.push_back(chunk),
            }
        }
    }

    /// Hands in chunks that each have their worker.
    pub(super) fn push_direct(&mut self, shared: &Shared, chunk: Chunk) {
        let Some(call) = self.call(chunk.call) else {
            return;
        };
        let is_first = call.outstanding == 0;
        call.outstanding += chunk.count;
        self.outstanding += chunk.count;
        let (id, timeout) = (chunk.call, chunk.timeout);
        if is_first {
            self.timeouts.add(timeout);
        }
        self.waiting_direct.push_back(chunk);
        self.wake_dispatcher_for(shared, timeout);
        self.give_direct(shared);
        self.refuse_if_over(shared, id);
    }
}

impl Seat {
    /// Asks the worker to leave when its chunk is done.
    pub(super) fn leave(&mut self) {
        if !self.leaving {
            self.leaving = true;
            self.desk.desk().ask_to_leave();
            self.desk.desk().wake();
        }
    }

    pub(super) fn verdict_is_broken(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Broken(_)))
    }
}
