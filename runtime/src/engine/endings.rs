//! The errors of inputs without an output, and of workers that have ended.

use super::instances::ProcessHandle;
use super::{Engine, Life, SharedError, SharedPool, WorkerInstance};
use crate::error::{Error, ErrorKind, NativeTrace};
use crate::queue::{Phase, Started};
use crate::scheduler::{Ending, Event, KillReason, Reason, Slot, Worker};
use crate::start::Exit;
use crate::sys::{control_group, signals};

/// The signals by which users and systems end processes. A process that ends by another signal has caused it itself.
const FROM_OUTSIDE: [i32; 5] =
    [signals::SIGKILL, signals::SIGTERM, signals::SIGHUP, signals::SIGINT, signals::SIGQUIT];

/// Returns the error of an input that has no output, for this reason.
pub(super) fn of_reason(shared: &SharedPool, reason: Reason<SharedError>) -> Error {
    match reason {
        Reason::PoolEnded => cancelled(),
        Reason::Cancelled => Error::new(ErrorKind::Cancelled, "it was cancelled before it started"),
        Reason::RestartStorm { deaths } => Error::new(
            ErrorKind::RestartStorm,
            format!(
                "{deaths} workers of pool `{}` died one after the other without finishing a task; \
                 what was left is given up, new calls start new workers",
                shared.settings.name
            ),
        ),
        Reason::Refused(error) | Reason::NotStarted(error) => error.duplicate(),
        Reason::WorkerEnded { error, tries } => error.duplicate().after(tries),
    }
}

pub(crate) fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "its pool ended before it was done")
}

/// Why a worker that is not ready in time is killed.
pub(super) fn late(
    shared: &SharedPool,
    worker: &Slot<SharedError>,
    instance: Option<&WorkerInstance>,
) -> Error {
    let settings = &shared.settings;
    let place = match instance {
        Some(instance) => format!("worker {} (pid {})", instance.id, instance.pid()),
        None => format!("worker {}", worker.id),
    };
    match (&worker.worker, settings.limits.init_timeout) {
        (Worker::Initializing { .. }, Some(limit)) => {
            let what = match settings.what_initializes() {
                none if none.is_empty() => "its start".to_owned(),
                what => what,
            };
            let text = format!(
                "{place} did not finish {what} within {limit:?}; give it more time with \
                 init_timeout(..)"
            );
            Error::new(ErrorKind::Initializer, text)
        }
        _ if !worker.known => Error::start(format!(
            "no worker was started within {:?}",
            settings.limits.start_timeout
        )),
        _ => Error::start(format!(
            "{place} was not there within {:?}; give it more time with start_timeout(..)",
            settings.limits.start_timeout
        )),
    }
}

impl Engine {
    /// A worker ended, or is given up: what it said counts, and then it is gone.
    pub(super) fn reap(&mut self, shared: &SharedPool, slot: usize, exit: Exit) {
        self.read_control(shared, slot);
        self.drain_slot(shared, slot, None);
        #[cfg(feature = "progress")]
        self.end_bars(shared, slot);
        let Some(instance) = self.instance(slot) else { return };
        let page = instance.page.view();
        let started = page.started();
        let served = self.scheduler.slot(slot).is_some_and(|slot| slot.worker.served());
        // A host that has left before it opened this lane does not predict the next start.
        let not_opened = shared.settings.is_concurrent() && exit == Exit::Code(0) && !served;
        let ending = Ending {
            is_clean: exit == Exit::Code(0),
            left: page.phase() == Phase::Leaving,
            from_outside: not_opened
                || matches!(exit, Exit::Signal(signal) if FROM_OUTSIDE.contains(&signal)),
            // A thread that is a host has reported its failure for its first lane.
            is_one_of_many: self.lanes_beside(slot).next().is_some()
                || (not_opened && instance.child().is_none()),
            started: started.map(|Started { position, index }| (position, index)),
            error: self.why_it_ended(shared, slot, instance, exit).into(),
        };
        self.last_exit = Some(match exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
            Exit::Unknown => (None, None),
        });
        self.event(shared, Event::Exited { slot, ending });
    }

    /// A worker that is not even known is given up.
    pub(super) fn reap_nobody(&mut self, shared: &SharedPool, slot: usize) {
        let error = Error::start("nothing is known of its worker, which is given up").into();
        let (is_clean, left, from_outside, started) = (false, false, true, None);
        let is_one_of_many = false;
        let ending = Ending { is_clean, left, from_outside, is_one_of_many, started, error };
        self.event(shared, Event::Exited { slot, ending });
    }

    /// Why the input that a worker had begun is lost.
    fn why_it_ended(
        &self,
        shared: &SharedPool,
        slot: usize,
        instance: &WorkerInstance,
        exit: Exit,
    ) -> Error {
        let is_thread = matches!(instance.process, ProcessHandle::Thread(_));
        let worker = self.scheduler.slot(slot).map(|slot| &slot.worker);
        let error = match worker.and_then(|worker| worker.kill_reason()) {
            Some(KillReason::TimedOut(limit)) => {
                let end = match &instance.refused {
                    Some((_, why)) if exit == Exit::Unknown => {
                        format!("it goes on, since this process may not kill it ({why})")
                    }
                    _ if is_thread => "was left behind, as its worker is a thread, which cannot \
                                       be killed; another one took its place"
                        .to_owned(),
                    _ => "was killed".to_owned(),
                };
                let text = format!("it ran longer than its timeout of {limit:?} and {end}");
                Error::new(ErrorKind::TimedOut, text)
            }
            Some(KillReason::Terminated) if is_thread && self.life() < Life::Terminating => {
                let text = "it was told to end, but its worker is a thread, which cannot be killed; it was left behind";
                Error::new(ErrorKind::Cancelled, text)
            }
            Some(KillReason::Terminated) => cancelled(),
            Some(KillReason::WithHost) => of_exit(shared, instance, exit),
            Some(KillReason::DidNotLeave(limit)) => {
                let text = format!(
                    "its worker was to leave, did not end within {limit:?}, and was killed"
                );
                Error::new(ErrorKind::TimedOut, text)
            }
            Some(KillReason::NotReady(error) | KillReason::Violation(error)) => error.duplicate(),
            None if !worker.is_some_and(Worker::served) => not_ready(shared, instance, exit),
            None => of_exit(shared, instance, exit),
        };
        let output = shared.output.as_ref().zip(instance.output.as_ref());
        let tail = output.and_then(|(collector, output)| collector.tail_of_dead(output));
        let frames = match exit {
            Exit::Signal(signal) => instance.page.view().faults.frames(signal),
            _ => None,
        };
        error.in_worker(instance.id, instance.pid()).with(|facts| {
            facts.output_tail = tail.map(String::into_boxed_str);
            facts.native = frames.map(|(frames, maps)| NativeTrace::new(frames, maps).into());
        })
    }
}

/// Returns the error of a worker that has ended before it was ready.
fn not_ready(shared: &SharedPool, instance: &WorkerInstance, exit: Exit) -> Error {
    let how = match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => {
            // Its files are read for this signal alone.
            let cause = (signal == signals::SIGKILL).then(control_group::why_killed).flatten();
            let cause = cause.map_or_else(String::new, |cause| format!(" ({cause})"));
            format!("was killed by signal {signal}{cause}")
        }
        Exit::Unknown => format!("ended ({NOT_KNOWN})"),
    };
    let initializes = shared.settings.what_initializes();
    let (kind, when) = match instance.handshake_seen.get() && !initializes.is_empty() {
        true => (ErrorKind::Initializer, format!("while it ran {initializes}")),
        false => (ErrorKind::Start, "before it was ready".to_owned()),
    };
    let text = format!("worker {} (pid {}) {how} {when}", instance.id, instance.pid());
    Error::new(kind, text).with(|facts| match exit {
        Exit::Code(code) => facts.exit_code = Some(code),
        Exit::Signal(signal) => facts.signal = Some(signal),
        Exit::Unknown => {}
    })
}

/// The note about a worker whose exit status other code of the program has taken.
const NOT_KNOWN: &str = "how, is not known: something in this program took its exit status, \
                         by ignoring SIGCHLD or by waiting for any child";

/// The note about an input of a lane that was not being polled when its process ended.
const NOT_POLLED: &str = "it was waiting at that time, so that the cause is another task of the same \
                          process, or outside of it";

/// Returns the error of a worker that served and was not killed by the pool.
fn of_exit(shared: &SharedPool, instance: &WorkerInstance, exit: Exit) -> Error {
    let report =
        instance.page.view().panic_record().map(|bytes| crate::worker::panic_report(&bytes));
    let error = match exit {
        Exit::Code(code) => {
            Error::new(ErrorKind::Exited, "").with(|facts| facts.exit_code = Some(code))
        }
        Exit::Signal(signal) => {
            let aborted = report.is_some() && cfg!(panic = "abort") && signal == signals::SIGABRT;
            let kind = if aborted { ErrorKind::Panicked } else { ErrorKind::Signaled };
            let note = signal_note(shared, instance, signal);
            Error::new(kind, note).with(|facts| facts.signal = Some(signal))
        }
        Exit::Unknown => Error::new(ErrorKind::Lost, NOT_KNOWN),
    };
    let error = error.with(|facts| facts.panic = report.map(Box::new));
    match shared.settings.is_concurrent() && !instance.page.view().is_polled() {
        true => error.with(|facts| {
            if facts.detail.is_empty() {
                facts.detail = NOT_POLLED.into();
            }
        }),
        false => error,
    }
}

fn signal_note(shared: &SharedPool, instance: &WorkerInstance, signal: i32) -> String {
    if instance.page.view().faults.is_overflow(signal) {
        return "its stack overflowed".to_owned();
    }
    match shared.settings.memory_limit {
        Some(bytes) if signal == signals::SIGABRT || signal == signals::SIGSEGV => {
            format!("its memory is limited to {bytes} bytes")
        }
        _ if signal == signals::SIGKILL => control_group::why_killed().unwrap_or_default(),
        _ => String::new(),
    }
}
