//! Births that do not succeed: workers that are not ready in time, and those that end before
//! they are ready.

use std::time::{Duration, Instant};

use super::core::{Core, Shared};
use super::seat::{Body, Seat, Stage, Verdict};
use crate::error::{Error, ErrorKind};
use crate::start::Exit;

/// Signals by which people and systems end processes; by others they end themselves.
const FROM_OUTSIDE: [i32; 5] =
    [libc::SIGKILL, libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT];

impl Core {
    /// Sentences workers that do not get ready in time.
    pub(super) fn watch_births(&mut self, shared: &Shared) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for at in 0..self.seats.len() {
            let Some(seat) = &self.seats[at] else {
                continue;
            };
            let Some(limit) = limit_of(shared, seat) else {
                continue;
            };
            let Some(end) = seat.born.checked_add(limit) else { continue };
            if Instant::now() < end {
                next = Some(next.map_or(end, |next| next.min(end)));
                continue;
            }
            match (&seat.body, &seat.verdict) {
                // Its server does not answer. Should it be born after all, it is killed.
                (Body::Expected, None) if seat.stage != Stage::Serving => {
                    self.seats[at] = None;
                    let text = format!("no worker was started within {limit:?}");
                    self.failed_birth(shared, Error::start(text));
                }
                // What was said of it stays true, and it is not waited for either.
                (Body::Expected, _) => self.bury(shared, at, Exit::Unknown),
                _ => {
                    let error = late(shared, seat, limit);
                    self.sentence(at, Verdict::Broken(error));
                }
            }
        }
        next
    }

    /// A worker ended before it was ready.
    pub(super) fn ended_unready(&mut self, shared: &Shared, at: usize, exit: Exit, error: &Error) {
        let Some(seat) = &self.seats[at] else { return };
        let killed = match seat.verdict {
            Some(Verdict::TimedOut(_) | Verdict::Terminated | Verdict::LeaveTimeout(_)) => true,
            Some(Verdict::Broken(_)) => false,
            // One that was to leave may do so before it is ready.
            None => {
                matches!(exit, Exit::Signal(signal) if FROM_OUTSIDE.contains(&signal))
                    || (seat.leaving && exit == Exit::Code(0))
            }
        };
        // Its end says nothing of the next birth; but an end without end is one all the same.
        if killed && self.complete && shared.settings.replace {
            self.deaths += 1;
        } else {
            self.failed_birth(shared, error.duplicate());
        }
    }
}

/// How long a worker may be in its stage.
fn limit_of(shared: &Shared, seat: &Seat) -> Option<Duration> {
    let settings = &shared.settings;
    match (seat.stage, &seat.verdict) {
        // It was sentenced, and nothing is known of it: there is no end to wait for.
        (_, Some(_)) if matches!(seat.body, Body::Expected) => Some(settings.start_timeout),
        (_, Some(_)) | (Stage::Serving, None) => None,
        (Stage::Starting, None) => Some(settings.start_timeout),
        (Stage::Initializing, None) => settings.init_timeout,
    }
}

/// Why a worker that is not ready in time is killed.
fn late(shared: &Shared, seat: &Seat, limit: Duration) -> Error {
    let (id, pid) = (seat.id, seat.pid());
    if seat.stage != Stage::Initializing {
        return Error::start(format!(
            "worker {id} (pid {pid}) was not there within {limit:?}; give it more time with \
             start_timeout(..)"
        ));
    }
    let what = shared.settings.what_initializes();
    let text = format!(
        "worker {id} (pid {pid}) did not finish {what} within {limit:?}; give it more time with \
         init_timeout(..)"
    );
    Error::new(ErrorKind::Initializer, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::Pool;
    use crate::sys::socket;
    use std::sync::Arc;

    fn shared(start_timeout: Duration) -> Shared {
        let builder = Pool::builder().workers(1).start_timeout(start_timeout);
        let method = crate::StartMethod::ForkServer;
        Shared::new(builder.start_method(method).validate().unwrap()).unwrap()
    }

    fn expect_a_worker(shared: &Shared) {
        let (ours, _) = socket::pair().unwrap();
        let mut core = shared.lock();
        assert_eq!(core.vacancies(shared), [0]);
        core.occupy(shared, 0, Some(Arc::new(ours))).unwrap();
        core.complete = true;
    }

    #[test]
    #[cfg_attr(miri, ignore = "has no such sockets")]
    fn a_worker_that_is_only_asked_for_is_not_waited_for_longer_once_sentenced() {
        for (verdict, failures) in
            [(Verdict::Broken(Error::start("it said nonsense")), 1), (Verdict::Terminated, 0)]
        {
            let shared = shared(Duration::from_millis(20));
            expect_a_worker(&shared);
            let mut core = shared.lock();
            core.sentence(0, verdict);
            assert!(core.watch_births(&shared).is_some(), "there is an end to wait for");
            assert!(core.seats[0].is_some());
            std::thread::sleep(Duration::from_millis(25));
            core.watch_births(&shared);
            assert!(core.seats[0].is_none());
            assert_eq!(core.failed_births, failures);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "has no such sockets")]
    fn a_server_that_does_not_answer_counts_as_a_failed_birth() {
        let shared = shared(Duration::ZERO);
        expect_a_worker(&shared);
        let mut core = shared.lock();
        core.watch_births(&shared);
        assert!(core.seats[0].is_none());
        assert_eq!(core.failed_births, 1);
    }
}
