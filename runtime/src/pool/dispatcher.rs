//! The one background thread of a pool: births, deaths, deadlines, and results that
//! nobody waits for.
//!
//! It is blocked in `poll` unless something happens there. It keeps to the
//! [gate](crate::start::gate): a fork finds it there or in `poll`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::time::TimeSpec;

use super::core::{Core, Life, Shared};
use super::seat::{Body, Stage, Verdict};
use super::supervise::WATCH;
use super::wait::TICK;
use crate::error::Error;
use crate::start::{Event, Exit, Launcher, Order, gate};
use crate::state::Share;
use crate::sys::bell::Bell;
use crate::sys::socket;

/// How long after the last work memory is given back.
const IDLE: Duration = Duration::from_secs(1);

pub(super) struct Dispatcher {
    shared: Arc<Shared>,
    launcher: Option<Box<dyn Launcher>>,
    shares: Arc<Vec<Share>>,
    /// Workers that did not end in time, with what they may still read.
    abandoned: Vec<Abandoned>,
    audited: Instant,
    suspects: Vec<u64>,
    peak_is_over: bool,
}

/// How long a process that this one may not kill has to end in another way.
const REFUSED: Duration = Duration::from_millis(500);

/// A worker that was given up.
struct Abandoned {
    body: Left,
    _chunk: Option<super::chunk::Chunk>,
}

enum Left {
    Thread(super::threads::ThreadBody),
    Process(u64, Arc<OwnedFd>),
}

impl Abandoned {
    /// Whether it has ended since; nothing is left of it then.
    fn is_over(&mut self, launcher: Option<&mut Box<dyn Launcher>>) -> bool {
        match &mut self.body {
            Left::Thread(body) => {
                let over = body.is_over();
                if over {
                    body.join();
                }
                over
            }
            Left::Process(ticket, pidfd) => {
                let over = crate::sys::process::ended(pidfd.as_fd(), Duration::ZERO);
                if over && let Some(launcher) = launcher {
                    // Its end was told already; it is reaped.
                    launcher.exit_of(*ticket, pidfd.as_fd());
                }
                over
            }
        }
    }
}

/// Starts the thread; it makes the workers.
pub(super) fn start(
    shared: Arc<Shared>,
    launcher: Option<Box<dyn Launcher>>,
    shares: Vec<Share>,
) -> Result<JoinHandle<()>, Error> {
    let name = format!("{}-dispatcher", shared.settings.name);
    let dispatcher = Dispatcher {
        shared,
        launcher,
        shares: Arc::new(shares),
        abandoned: Vec::new(),
        audited: Instant::now(),
        suspects: Vec::new(),
        peak_is_over: false,
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(move || dispatcher.run())
        .map_err(|error| Error::start(format!("the dispatcher could not be started: {error}")))
}

impl Dispatcher {
    fn run(mut self) {
        let _registered = gate::register();
        let _end = End(Arc::clone(&self.shared));
        loop {
            let working = gate::working();
            let (fds, time) = match self.step() {
                Some(next) => next,
                None => break,
            };
            let launcher = self.launcher.as_ref().map(|launcher| launcher.fds());
            if std::mem::take(&mut self.peak_is_over) {
                crate::sys::memory::trim_heap();
            }
            drop(working);
            sleep(&self.shared.bell, &launcher.unwrap_or_default(), &fds, time);
        }
        // Workers are gone; the launcher ends its server here, on the thread that used it.
        drop(self.launcher.take());
        super::threads::drop_shares(&self.shared, std::mem::take(&mut self.shares));
    }

    /// Does everything there is to do; says what to wait for, or that all is over.
    fn step(&mut self) -> Option<(Vec<Arc<OwnedFd>>, Option<Duration>)> {
        self.shared.bell.clear();
        self.events();
        self.look_at_bodies();
        self.launch();
        let shared = Arc::clone(&self.shared);
        let mut core = shared.lock();
        core.drain(&shared, None);
        core.publish(&shared);
        let next_timeout = core.watch_time(&shared);
        core.cut_slow(&shared);
        let births = core.watch_births(&shared);
        self.give_up_bodies(&mut core);
        self.audit(&mut core);
        if core.step_life(&shared) {
            return None;
        }
        let mut time = births.map(|end| end.saturating_duration_since(Instant::now()));
        let mut at_most = |limit: Duration| time = Some(time.map_or(limit, |time| time.min(limit)));
        if let Some(limit) = core.until_timeout(next_timeout) {
            at_most(limit);
        }
        if core.outstanding > 0 || core.life > Life::Open || !self.abandoned.is_empty() {
            at_most(TICK);
        }
        if !core.vacancies(&shared).is_empty() {
            // One could not be launched; it is tried again.
            at_most(TICK);
        }
        if let Some(limit) = shared.settings.idle_timeout {
            core.watch_idlers(limit);
            at_most((limit / 4).max(WATCH));
        }
        if core.seats.iter().flatten().any(|seat| seat.refused.is_some()) {
            at_most(WATCH);
        }
        if let Some(time) = core.watch_halves() {
            at_most(time);
        }
        if let Some(end) = core.watch_leaving(&shared) {
            at_most(end.saturating_duration_since(Instant::now()));
        }
        let ended = core.seats.iter().flatten().any(|seat| {
            seat.ended.is_some() || matches!(&seat.body, Body::Thread(body) if body.is_ending())
        });
        if ended {
            at_most(Duration::from_millis(1));
        }
        if !core.trimmed {
            self.trim(&mut core);
            let more = core.outstanding == 0 && core.last_work.elapsed() >= IDLE;
            at_most(if more && !core.trimmed { Duration::from_millis(1) } else { IDLE });
        }
        core.tell_leader(&shared);
        core.note_sleep(time);
        core.pass_on(&shared, None);
        let fds = core.seats.iter().flatten().flat_map(|seat| {
            let pidfd = match &seat.body {
                Body::Process { pidfd, .. } if seat.ended.is_none() => Some(Arc::clone(pidfd)),
                _ => None,
            };
            pidfd.into_iter().chain(seat.control.clone())
        });
        Some((fds.collect(), time))
    }

    fn events(&mut self) {
        let Some(launcher) = &mut self.launcher else {
            return;
        };
        let mut events = Vec::new();
        for (ticket, signal) in std::mem::take(&mut self.shared.lock().refused) {
            // Refused as well: the seat is given up in time.
            let _ = launcher.signal(ticket, signal);
        }
        launcher.events(&mut events);
        let shared = &*self.shared;
        let mut core = shared.lock();
        for event in events {
            match event {
                Event::Born { ticket, pid, pidfd } => {
                    let Some(at) = core.seat_of(ticket as usize) else {
                        // Given up before it was born.
                        if crate::sys::process::signal(pidfd.as_fd(), libc::SIGKILL).is_err() {
                            let _ = launcher.signal(ticket, libc::SIGKILL);
                        }
                        continue;
                    };
                    let Some(seat) = &mut core.seats[at] else {
                        continue;
                    };
                    seat.body = Body::Process { pid, pidfd: Arc::new(pidfd) };
                    if let Some(verdict) = seat.verdict.take() {
                        core.sentence(at, verdict);
                    }
                    core.note_complete();
                    shared.changed.notify_all();
                }
                Event::NotBorn { ticket, error } => {
                    let Some(at) = core.seat_of(ticket as usize) else {
                        continue;
                    };
                    core.seats[at] = None;
                    core.failed_birth(shared, error);
                }
                Event::Exited { ticket, exit } => {
                    let Some(at) = core.seat_of(ticket as usize) else {
                        continue;
                    };
                    core.may_have_ended(shared, at, Some(exit));
                }
                Event::NotKilled { ticket, text } => {
                    let seat = core.seat_of(ticket as usize).and_then(|at| core.seats[at].as_mut());
                    if let Some((_, why)) = seat.and_then(|seat| seat.refused.as_mut()) {
                        *why = format!("{why}; {text}");
                    }
                }
                // Its workers die with it, and are buried one by one.
                Event::Gone(_) => {}
            }
        }
    }

    /// Looks at controls, processes and threads.
    fn look_at_bodies(&mut self) {
        let shared = &*self.shared;
        let mut core = shared.lock();
        for at in 0..core.seats.len() {
            core.hear(shared, at);
            let Some(seat) = &mut core.seats[at] else {
                continue;
            };
            match &mut seat.body {
                Body::Expected => {}
                Body::Process { pidfd, .. } => {
                    let (ticket, pidfd) = (seat.id as u64, Arc::clone(pidfd));
                    if seat.ended.is_some()
                        || crate::sys::process::ended(pidfd.as_fd(), Duration::ZERO)
                    {
                        let exit =
                            self.launcher.as_mut().and_then(|l| l.exit_of(ticket, pidfd.as_fd()));
                        core.may_have_ended(shared, at, exit);
                    }
                }
                Body::Thread(body) => {
                    let (news, over) = (body.news(), body.is_over());
                    match news {
                        Some(Ok(())) => core.ready(shared, at),
                        Some(Err(failure)) => {
                            let error = failure.into_initializer_error("an initializer");
                            seat.verdict.get_or_insert(Verdict::Broken(error));
                        }
                        None => {}
                    }
                    if over
                        && let Some(Body::Thread(body)) =
                            core.seats[at].as_mut().map(|s| &mut s.body)
                    {
                        body.join();
                        core.bury(shared, at, Exit::Code(0));
                    }
                }
            }
        }
    }

    /// A thread past its time cannot be killed, nor can a process that has rights which
    /// this one has given up, if all else fails: its seat is given to another, and it is
    /// left to end by itself.
    fn give_up_bodies(&mut self, core: &mut Core) {
        let mut launcher = self.launcher.as_mut();
        self.abandoned.retain_mut(|left| !left.is_over(launcher.as_deref_mut()));
        for at in 0..core.seats.len() {
            let Some(seat) = core.seats[at].as_mut().filter(|seat| seat.verdict.is_some()) else {
                continue;
            };
            let late = seat.refused.as_ref().is_some_and(|(at, _)| at.elapsed() > REFUSED);
            let body = match &mut seat.body {
                Body::Thread(body) => Left::Thread(body.leave_behind()),
                Body::Process { pidfd, .. } if late && seat.ended.is_none() => {
                    seat.desk.desk().abandon();
                    seat.desk.desk().wake();
                    Left::Process(seat.id as u64, Arc::clone(pidfd))
                }
                _ => continue,
            };
            let position = seat.chunk;
            let chunk = position.and_then(|position| core.chunk(position).cloned());
            self.abandoned.push(Abandoned { body, _chunk: chunk });
            core.bury(&self.shared, at, Exit::Unknown);
        }
    }

    /// Launches the workers that are missing.
    fn launch(&mut self) {
        let shared = Arc::clone(&self.shared);
        let vacancies = shared.lock().vacancies(&shared);
        for at in vacancies {
            if let Err(error) = self.launch_one(at) {
                let mut core = shared.lock();
                core.seats[at] = None;
                core.failed_birth(&shared, error);
                break;
            }
            self.events();
        }
    }

    fn launch_one(&mut self, at: usize) -> Result<(), Error> {
        let shared = &*self.shared;
        let failed = |error: std::io::Error| {
            Error::start(format!("what a new worker needs could not be had: {error}"))
        };
        let Some(launcher) = &mut self.launcher else {
            let mut core = shared.lock();
            if at >= core.target {
                return Ok(());
            }
            core.occupy(shared, at, None).map_err(failed)?;
            let Some(seat) = &core.seats[at] else {
                return Ok(());
            };
            let (id, desk) = (seat.id, Arc::clone(&seat.desk));
            let body = super::threads::start(shared, at, id, desk, Arc::clone(&self.shares))?;
            if let Some(seat) = &mut core.seats[at] {
                seat.body = Body::Thread(body);
                seat.stage = Stage::Initializing;
            }
            return Ok(());
        };
        let (ours, theirs) = socket::pair().map_err(failed)?;
        let mut core = shared.lock();
        // The pool may have been resized since the vacancy was seen, and those who are to
        // leave been told so.
        if at >= core.target {
            return Ok(());
        }
        let desk = core.occupy(shared, at, Some(Arc::new(ours))).map_err(failed)?;
        let id = core.seats[at].as_ref().map_or(0, |seat| seat.id);
        drop(core);
        let stdio = shared.settings.take_stdio();
        let mut fds = vec![
            desk.as_fd(),
            shared.tasks_fd.as_fd(),
            shared.board_fd.as_fd(),
            shared.bell.as_fd(),
        ];
        fds.extend(shared.inputs_fd.as_ref().map(AsFd::as_fd));
        launcher.launch(&Order {
            ticket: id as u64,
            fds: &fds,
            stdio: [0, 1, 2].map(|at: usize| stdio[at].as_ref().map(AsFd::as_fd)),
            env: &shared.settings.env,
            directory: shared.settings.directory.as_ref().map(AsFd::as_fd),
            control: theirs.as_fd(),
        })
    }

    /// Once in a while, sets right what a worker that scribbles over the board may have
    /// done (rule 19): a claim in the name of a worker that knows nothing of it.
    fn audit(&mut self, core: &mut Core) {
        if core.outstanding == 0 || self.audited.elapsed() < TICK {
            return;
        }
        self.audited = Instant::now();
        core.audit_cursor(&self.shared);
        let (suspects, guilty) = core.stray_claims(&self.shared, &self.suspects);
        self.suspects = suspects;
        for at in guilty {
            let error = Error::start("a chunk was claimed in its name that it does not run");
            core.sentence(at, Verdict::Broken(error));
        }
    }

    fn trim(&mut self, core: &mut Core) {
        if core.outstanding > 0 {
            core.last_work = Instant::now();
        } else if core.last_work.elapsed() >= IDLE {
            core.trimmed = self.shared.arena.trim();
            self.peak_is_over = core.trimmed && std::mem::take(&mut core.peak_is_over);
        }
    }
}

/// Ends the pool when the dispatcher ends, however that is: nobody waits for ever.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut core = self.0.lock();
        core.life = Life::Ended;
        core.end_calls(&self.0, &super::lost::cancelled());
        core.tell_leader(&self.0);
        let waker = core.end_waker.take();
        core.wakers.extend(waker);
        self.0.changed.notify_all();
    }
}

/// Waits until an fd is readable or the time is over.
fn sleep(bell: &Bell, launcher: &[BorrowedFd<'_>], fds: &[Arc<OwnedFd>], time: Option<Duration>) {
    if cfg!(miri) {
        // Has no `poll`; the bell is looked at often instead.
        return std::thread::sleep(Duration::from_millis(1));
    }
    let mut polled: Vec<PollFd<'_>> = std::iter::once(bell.as_fd())
        .chain(launcher.iter().copied())
        .chain(fds.iter().map(|fd| fd.as_fd()))
        .map(|fd| PollFd::new(fd, PollFlags::POLLIN))
        .collect();
    // A signal or a shortage: everything is looked at again anyway.
    let _ = ppoll(&mut polled, time.map(TimeSpec::from_duration), None);
}

impl Core {
    /// Goes on with the end of the pool; tells whether it is over.
    fn step_life(&mut self, shared: &Shared) -> bool {
        if self.life == Life::Closing && self.outstanding == 0 && self.feeding == 0 {
            self.life = Life::Leaving;
        }
        if self.life == Life::Leaving {
            self.dismiss(0);
            if self.kill_at.is_some_and(|at| Instant::now() >= at) {
                self.life = Life::Terminating;
            }
        }
        if self.life == Life::Terminating {
            self.end_calls(shared, &super::lost::cancelled());
            for at in 0..self.seats.len() {
                self.sentence(at, Verdict::Terminated);
                // Should it be born after all, its launcher ends it.
                self.seats[at].take_if(|seat| matches!(seat.body, Body::Expected));
            }
        }
        self.life >= Life::Leaving && self.seats.iter().all(Option::is_none)
    }
}

/// Joins the thread of a dispatcher.
pub(super) fn join(handle: &std::sync::Mutex<Option<JoinHandle<()>>>) {
    let handle = handle.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(handle) = handle {
        // Its end was told by `End`, also if it panicked.
        let _ = handle.join();
    }
}
