//! Points at which a test makes a worker die or stop.
//!
//! With the feature `fault-points`, the environment variable `PROCESSION_FAULT` selects a point and an
//! action as `point=action`, or as `point=action@n` for the n-th time a worker passes the point. The
//! actions are `kill`, `segv`, `stop`, `exit`, `exit3` and `abort`. With `point=action@n:path` the action
//! happens in only one worker: the one that succeeds in creating the file, which must not exist before.
//! Without the feature a point does nothing.
//!
//! A worker passes the points in this order: for each chunk `claimed` and `begun`; for each input
//! `started`, `decoded`, `ran` and `encoded`; then `answered` and `ended`. At `publishing` a message
//! (CHUNK, an answer or END) is in the ring but not yet visible.

#[cfg(not(any(feature = "fault-points", all(test, loom))))]
#[inline(always)]
pub(crate) fn fault(_point: &str) {}

#[cfg(all(feature = "fault-points", not(all(test, loom))))]
pub(crate) use armed::fault;

#[cfg(all(test, loom))]
pub(crate) use modelled::{dies_at, fault};

/// In a model a thread dies by unwinding.
#[cfg(all(test, loom))]
mod modelled {
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    loom::thread_local! {
        static POINT: Cell<&'static str> = Cell::new("");
    }

    struct Died;

    pub(crate) fn fault(point: &str) {
        if POINT.with(|armed| armed.get() == point) {
            resume_unwind(Box::new(Died));
        }
    }

    /// Runs code, which dies when it passes a point. Returns whether it has passed the point.
    pub(crate) fn dies_at(point: &'static str, run: impl FnOnce()) -> bool {
        POINT.with(|armed| armed.set(point));
        let ran = catch_unwind(AssertUnwindSafe(run));
        POINT.with(|armed| armed.set(""));
        match ran {
            Ok(()) => false,
            Err(died) if died.is::<Died>() => true,
            Err(other) => resume_unwind(other),
        }
    }
}

#[cfg(all(feature = "fault-points", not(all(test, loom))))]
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

    /// Passes a point. If the point is armed, carries out its action.
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
