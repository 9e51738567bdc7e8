//! Points at which a test makes a worker die or stand still.
//!
//! With the feature `fault-points` the environment variable `PROCESSION_FAULT` names a
//! point and what happens there, as `point=action`, or `point=action@n` for the n-th
//! time a worker passes it; the actions are `kill`, `segv`, `stop`, `exit`, `exit3` and
//! `abort`. With `point=action@n:path` it happens in one worker only: in the one that
//! could create the file, which must not exist before. Without the feature a point
//! is nothing.
//!
//! A worker passes, in this order: for each chunk `claimed`, `begun`; for each input
//! `started`, `decoded`, `ran`, `encoded`; then `answered` and `ended`. At `publishing`
//! a message (CHUNK, the answers, END) lies in the ring and is not covered yet.

#[cfg(not(feature = "fault-points"))]
#[inline(always)]
pub(crate) fn fault(_point: &str) {}

#[cfg(feature = "fault-points")]
pub(crate) use armed::fault;

#[cfg(feature = "fault-points")]
mod armed {
    use std::fs::OpenOptions;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use crate::sys::signals::{SIGKILL, SIGSEGV, SIGSTOP, raise};

    struct Armed {
        point: String,
        action: String,
        nth: u64,
        once: Option<String>,
        passed: AtomicU64,
    }

    /// Passes a point, if that is possible.
    pub(crate) fn fault(point: &str) {
        static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
        if crate::identity::worker_id().is_none() {
            return;
        }
        let Some(armed) = ARMED.get_or_init(read) else {
            return;
        };
        if armed.point != point || armed.passed.fetch_add(1, Ordering::Relaxed) + 1 != armed.nth {
            return;
        }
        if let Some(path) = &armed.once
            && OpenOptions::new().write(true).create_new(true).open(path).is_err()
        {
            return;
        }
        match armed.action.as_str() {
            "kill" => raise(SIGKILL),
            "segv" => raise(SIGSEGV),
            "stop" => raise(SIGSTOP),
            "exit" => std::process::exit(0),
            "exit3" => std::process::exit(3),
            _ => std::process::abort(),
        }
    }

    fn read() -> Option<Armed> {
        let text = crate::env::fault()?;
        let (point, rest) = text.split_once('=')?;
        let (rest, once) = match rest.split_once(':') {
            Some((rest, path)) => (rest, Some(path.to_owned())),
            None => (rest, None),
        };
        let (action, nth) = rest.split_once('@').unwrap_or((rest, "1"));
        Some(Armed {
            point: point.to_owned(),
            action: action.to_owned(),
            nth: nth.parse().ok()?,
            once,
            passed: AtomicU64::new(0),
        })
    }
}
