//! When a worker ends: which input was its last, and what becomes of the others
//! (rules 11 to 14).

use std::sync::Arc;

use super::call::CallId;
use super::core::{Core, Life, Shared};
use super::seat::{Body, Seat, Stage, Verdict};
use crate::error::{Error, ErrorKind};
use crate::queue::{Owner, Phase, Started};
use crate::start::Exit;
use crate::worker::Failure;

/// How often a chunk may lose its worker before its first input is blamed, though by
/// rule 13 nothing was begun.
const MOST_STRAYS: u32 = 8;

/// Of a worker whose exit status somebody else has.
const NOT_KNOWN: &str = "how, is not known: something in this program took its exit status, \
                         by ignoring SIGCHLD or by waiting for any child";

impl Core {
    /// Ends the stay of a worker; `exit` says how its process ended.
    pub(super) fn bury(&mut self, shared: &Shared, at: usize, exit: Exit) {
        self.drain_seat(shared, at, None);
        let Some(seat) = &self.seats[at] else { return };
        let desk = Arc::clone(&seat.desk);
        let left = seat.leaving || desk.desk().phase() == Phase::Leaving;
        let served = seat.stage == Stage::Serving;
        let peaceful = left && matches!(exit, Exit::Code(0));
        let sentenced = matches!(
            seat.verdict,
            Some(Verdict::TimedOut(_) | Verdict::Terminated | Verdict::LeaveTimeout(_))
        );
        let was_leaving = matches!(seat.verdict, Some(Verdict::LeaveTimeout(_)));
        self.last_exit = Some(match exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
            Exit::Unknown => (None, None),
        });
        let error = self.obituary(shared, at, exit);
        if !served && self.life < Life::Leaving && !was_leaving {
            self.ended_unready(shared, at, exit, &error);
        } else if served && !peaceful && !sentenced {
            self.deaths += 1;
        }
        for position in self.lost(shared, at) {
            let started = desk.desk().started();
            self.take_back(shared, at, position, started, &error);
        }
        shared.board().idle.clear(at);
        shared.board().spinning.clear(at);
        self.seats[at] = None;
        self.limit_storm(shared);
        if self.seats.iter().all(Option::is_none) {
            self.nobody_left(shared, error);
        }
        self.publish(shared);
        self.wake_workers(shared);
        self.give_direct(shared);
        shared.changed.notify_all();
    }

    /// The positions of all chunks that are with a worker.
    pub(super) fn lost(&self, shared: &Shared, at: usize) -> Vec<u64> {
        let claims = shared.board().claims();
        let seat = self.seats[at].as_ref().expect("looked at before");
        let in_queue = self.slots.iter().flatten().map(|(position, _)| *position);
        let mut lost: Vec<u64> = in_queue
            .filter(|position| claims.owner(*position) == Owner::Worker(at))
            .chain(self.displaced.iter().filter(|(_, (_, owner))| *owner == at).map(|(p, _)| *p))
            .chain(seat.direct)
            .chain(seat.chunk)
            .collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    fn take_back(
        &mut self,
        shared: &Shared,
        at: usize,
        position: u64,
        started: Option<Started>,
        error: &Error,
    ) {
        let Some(mut chunk) = self.take_chunk(position) else {
            return;
        };
        let id = chunk.call;
        let mut begun = started == Some(Started { position, index: chunk.answered });
        chunk.strays += u32::from(!begun);
        // A task that hides that it was begun does not kill workers for ever.
        begun |= chunk.strays > MOST_STRAYS;
        // It was killed for its leaving; no task is blamed for that.
        let seat = self.seats[at].as_ref();
        begun &= !seat.is_some_and(|seat| matches!(seat.verdict, Some(Verdict::LeaveTimeout(_))));
        let Some(call) = self.call(id) else { return };
        call.active -= 1;
        if begun && chunk.answered < chunk.count {
            let index = chunk.first + chunk.answered;
            let losses = call.losses.entry(index).or_insert(0);
            *losses += 1;
            let again = *losses <= call.options.retries
                && !matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Cancelled);
            if !again {
                let error = error.duplicate().after(*losses);
                chunk.answered += 1;
                self.fail(shared, id, index, error, Some(at));
            }
        }
        self.tell_follower(id);
        self.give_back(shared, chunk);
    }

    /// Why the tasks of a worker are lost.
    fn obituary(&self, shared: &Shared, at: usize, exit: Exit) -> Error {
        let seat = self.seats[at].as_ref().expect("looked at before");
        let error = match &seat.verdict {
            Some(Verdict::TimedOut(limit)) => {
                let end = match (&seat.body, &seat.refused) {
                    (Body::Thread(_), _) => "was left behind, as its worker is a thread, which \
                                             cannot be killed; another one took its place"
                        .to_owned(),
                    (_, Some((_, why))) if matches!(exit, Exit::Unknown) => {
                        format!("it goes on, since this process may not kill it ({why})")
                    }
                    _ => "was killed".to_owned(),
                };
                let text = format!("it ran longer than its timeout of {limit:?} and {end}");
                Error::new(ErrorKind::TimedOut, text)
            }
            Some(Verdict::Terminated) => cancelled(),
            Some(Verdict::LeaveTimeout(limit)) => {
                let text = format!(
                    "its worker was to leave, did not end within {limit:?}, and was killed"
                );
                Error::new(ErrorKind::TimedOut, text)
            }
            Some(Verdict::Broken(error)) => error.duplicate(),
            None if seat.stage != Stage::Serving => unborn(seat, &exit),
            None => of_exit(shared, seat, &exit),
        };
        error.in_worker(seat.id, seat.pid())
    }

    /// Too many deaths in a row end what is there (rule of the pool, not of the queue).
    fn limit_storm(&mut self, shared: &Shared) {
        let most = 100 + 10 * self.workers();
        if self.deaths < most || self.broken.is_some() {
            return;
        }
        let error = Error::new(
            ErrorKind::RestartStorm,
            format!(
                "{most} workers of pool `{}` died one after the other without finishing a task; \
                 what was left is given up, new calls start new workers",
                shared.settings.name
            ),
        );
        self.give_up(shared, error);
    }

    pub(super) fn failed_birth(&mut self, shared: &Shared, error: Error) {
        self.failed_births += 1;
        // Before it first was complete, a pool does not try twice.
        if !self.complete || self.failed_births >= 3 || !shared.settings.replace {
            self.give_up(shared, error);
        }
    }

    /// Ends all calls and starts no more workers, until there is a new call.
    pub(super) fn give_up(&mut self, shared: &Shared, error: Error) {
        self.end_calls(shared, &error);
        self.broken = Some(error);
        shared.changed.notify_all();
    }

    /// What remains when the last worker went, and none will come.
    fn nobody_left(&mut self, shared: &Shared, error: Error) {
        if self.life >= Life::Leaving {
            self.end_calls(shared, &cancelled());
        } else if !shared.settings.replace {
            self.give_up(shared, error);
        } else if let Some(error) = self.broken.as_ref().map(Error::duplicate) {
            self.end_calls(shared, &error);
        }
    }

    /// Ends everything that is not with a worker.
    pub(super) fn end_calls(&mut self, shared: &Shared, error: &Error) {
        if self.outstanding == 0 {
            return;
        }
        for id in self.calls.unanswered() {
            self.end_call(shared, id, error);
        }
    }

    /// Ends what is not with a worker of one call; gives the number of its inputs.
    pub(super) fn end_call(&mut self, shared: &Shared, id: CallId, error: &Error) -> usize {
        let ended = self.unstarted(shared, id);
        let mut count = 0;
        for chunk in ended {
            for index in chunk.first + chunk.answered..chunk.first + chunk.count {
                self.fail(shared, id, index, error.duplicate(), None);
                count += 1;
            }
        }
        count
    }
}

pub(super) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "its pool ended before it was done")
}

fn unborn(seat: &Seat, exit: &Exit) -> Error {
    let how = match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("was killed by signal {signal}"),
        Exit::Unknown => format!("ended ({NOT_KNOWN})"),
    };
    let (kind, when) = match seat.stage {
        Stage::Initializing => (ErrorKind::Initializer, "while it ran its initializers"),
        _ => (ErrorKind::Start, "before it was ready"),
    };
    let text = format!("worker {} (pid {}) {how} {when}", seat.id, seat.pid());
    Error::new(kind, text).with(|facts| match exit {
        Exit::Code(code) => facts.exit_code = Some(*code),
        Exit::Signal(signal) => facts.signal = Some(*signal),
        Exit::Unknown => {}
    })
}

fn of_exit(shared: &Shared, seat: &Seat, exit: &Exit) -> Error {
    let report = seat.desk.desk().crash().map(|bytes| crate::worker::crash_report(&bytes));
    let error = match exit {
        Exit::Code(code) => {
            Error::new(ErrorKind::Exited, "").with(|facts| facts.exit_code = Some(*code))
        }
        Exit::Signal(signal) => {
            let aborted = report.is_some() && cfg!(panic = "abort") && *signal == libc::SIGABRT;
            let kind = if aborted { ErrorKind::Panicked } else { ErrorKind::Signaled };
            let note = signal_note(shared, seat, *signal);
            Error::new(kind, note).with(|facts| facts.signal = Some(*signal))
        }
        Exit::Unknown => Error::new(ErrorKind::Lost, NOT_KNOWN),
    };
    error.with(|facts| facts.panic = report.map(Box::new))
}

fn signal_note(shared: &Shared, seat: &Seat, signal: i32) -> String {
    let faults = &seat.desk.desk().faults;
    if faults.overflow.load(std::sync::atomic::Ordering::Relaxed) != 0 {
        return "its stack overflowed".to_owned();
    }
    match shared.settings.memory_limit {
        Some(bytes) if signal == libc::SIGABRT || signal == libc::SIGSEGV => {
            format!("its memory is limited to {bytes} bytes")
        }
        _ => String::new(),
    }
}

impl Failure {
    /// What a worker said instead of being ready.
    pub(super) fn of_birth(bytes: &[u8]) -> Error {
        Failure::decoded(bytes).into_initializer_error("an initializer")
    }
}
