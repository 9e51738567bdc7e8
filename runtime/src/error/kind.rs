//! The kinds of errors and their messages.

use std::fmt;

use super::Facts;
use crate::sys::signals;

/// The kind of an [`Error`](crate::Error).
///
/// The kinds above [`Cancelled`](ErrorKind::Cancelled) describe how a single task failed. They do not
/// affect other tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The task panicked; [`Error::panic`](crate::Error::panic) has the report.
    Panicked,
    /// The task returned an [`Opaque`](crate::Opaque) error, which cannot be serialized. The message
    /// and the [`source`](std::error::Error::source) are those of that error.
    Failed,
    /// A signal ended the worker while it was running the task.
    Signaled,
    /// The worker exited while it was running the task. The exit code may be 0.
    Exited,
    /// The worker ended while it was running the task, and the cause is unknown: other code of the
    /// calling program has taken its exit status, by ignoring SIGCHLD or by waiting for any child.
    Lost,
    /// The task ran longer than its timeout. Its worker was killed, or abandoned if it is a thread.
    TimedOut,
    /// An input or output could not be encoded.
    Encode,
    /// The input could not be decoded in the worker, or the output in the caller.
    Decode,
    /// The task has a `State` parameter that no initializer of the pool creates, or that is in use.
    MissingState,
    /// The call was cancelled, or its pool was terminated, before the task ended.
    Cancelled,
    /// The function is not annotated with `#[worker]`, or with `#[initializer]` for an initializer.
    NotRegistered,
    /// Two registered functions have the same name.
    DuplicateName,
    /// An initializer or preload failed, panicked, or exceeded its timeout.
    Initializer,
    /// A worker or server process could not be started.
    Start,
    /// [`StartMethod::Fork`](crate::StartMethod::Fork) was used while the process had other threads.
    ForkWithThreads,
    /// Workers died repeatedly without finishing a task. The pool stopped replacing them for the calls
    /// that were open.
    RestartStorm,
    /// The pool is closed and takes no new tasks.
    Closed,
    /// A setting is invalid, or the pool or process is used in a way that it does not support.
    Configuration,
    /// Pools are nested in workers of pools more deeply than the limit of eight.
    NestedTooDeep,
    /// Memory to share with the workers could not be allocated.
    OutOfMemory,
    /// The last owner of a [lock](crate::sync) died with it, and no thread has recovered the guarded
    /// value.
    OwnerDied,
    /// The calling thread would wait for itself, because it has the [lock](crate::sync) already, or has
    /// one for which the owner of this one waits; or a call of an actor would wait for itself.
    Deadlock,
    /// A [barrier](crate::sync::Barrier) is broken.
    Broken,
    /// The actor has ended, or its process died before it answered.
    /// [`Error::may_have_run`](crate::Error::may_have_run) returns whether the call may have run.
    ActorDied,
    /// Every host of the cluster that received the input was lost before it answered. The input may have run
    /// several times.
    HostLost,
    /// The server or the agents of a cluster cannot be reached, or do not do what is asked of them.
    Cluster,
}

impl ErrorKind {
    /// All kinds, in the order in which they are numbered in messages between hosts.
    #[cfg(feature = "cluster")]
    const NUMBERED: [ErrorKind; 26] = {
        use ErrorKind as K;
        [
            K::Panicked,
            K::Failed,
            K::Signaled,
            K::Exited,
            K::Lost,
            K::TimedOut,
            K::Encode,
            K::Decode,
            K::MissingState,
            K::Cancelled,
            K::NotRegistered,
            K::DuplicateName,
            K::Initializer,
            K::Start,
            K::ForkWithThreads,
            K::RestartStorm,
            K::Closed,
            K::Configuration,
            K::NestedTooDeep,
            K::OutOfMemory,
            K::OwnerDied,
            K::Deadlock,
            K::Broken,
            K::ActorDied,
            K::HostLost,
            K::Cluster,
        ]
    };

    /// Returns the number of the kind in messages between hosts.
    #[cfg(feature = "cluster")]
    pub(crate) fn number(self) -> u8 {
        let place = Self::NUMBERED.iter().position(|kind| *kind == self);
        place.expect("all kinds are numbered") as u8
    }

    /// Returns the kind with a number.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_number(number: u8) -> Self {
        Self::NUMBERED.get(usize::from(number)).copied().unwrap_or(ErrorKind::Lost)
    }
}

/// Writes the message of an error.
pub(super) fn write_message(facts: &Facts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use ErrorKind as K;
    match facts.kind {
        // The error concerns a lock, a message or an item of a queue, and not a task.
        K::TimedOut | K::Decode | K::Lost
            if facts.task.is_none() && facts.worker.is_none() && facts.pid.is_none() =>
        {
            return f.write_str(&facts.detail);
        }
        K::Panicked
        | K::Failed
        | K::Signaled
        | K::Exited
        | K::Lost
        | K::TimedOut
        | K::Decode
        | K::MissingState => {}
        K::Encode if facts.worker.is_some() => {}
        _ if facts.task.is_some() => {
            subject(facts, f)?;
            return write!(f, ": {}", facts.detail);
        }
        _ => return f.write_str(&facts.detail),
    }
    subject(facts, f)?;
    match facts.kind {
        K::Panicked => {
            f.write_str(" panicked")?;
            place(facts, f)?;
            if let Some(panic) = &facts.panic {
                write!(f, ": {}", panic.message)?;
                if let Some(at) = &panic.location {
                    write!(f, ", at {at}")?;
                }
                if let Some(thread) = &panic.thread {
                    write!(f, ", in its thread `{thread}`")?;
                }
            }
            Ok(())
        }
        K::Failed => {
            f.write_str(" failed")?;
            place(facts, f)?;
            match facts.left_out {
                0 => {}
                1 => f.write_str(", and one more task below it")?,
                tasks => write!(f, ", and {tasks} more tasks below it")?,
            }
            write!(f, ": {}", facts.detail)
        }
        K::Signaled => {
            let signal = facts.signal.unwrap_or(0);
            write!(f, " was lost: its worker")?;
            place_of(facts, f)?;
            write!(f, " was killed by signal {signal}")?;
            if let Some(name) = signals::name(signal) {
                write!(f, " ({name})")?;
            }
            note(facts, f)
        }
        K::Exited => {
            write!(f, " was lost: its worker")?;
            place_of(facts, f)?;
            write!(f, " exited with code {}", facts.exit_code.unwrap_or(0))?;
            note(facts, f)
        }
        K::Lost => {
            write!(f, " was lost: its worker")?;
            place_of(facts, f)?;
            f.write_str(" ended")?;
            note(facts, f)
        }
        _ => {
            place(facts, f)?;
            write!(f, ": {}", facts.detail)
        }
    }
}

fn subject(facts: &Facts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if facts.is_method {
        return match &facts.task {
            Some(method) => write!(f, "actor method `{method}`"),
            None => f.write_str("a method of an actor"),
        };
    }
    match (&facts.task, facts.index) {
        (Some(task), Some(index)) => write!(f, "task `{task}` (input {index})"),
        (Some(task), None) => write!(f, "task `{task}`"),
        (None, _) => f.write_str("a task"),
    }
}

fn place(facts: &Facts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if facts.worker.is_some() {
        f.write_str(" in worker")?;
    }
    place_of(facts, f)
}

fn place_of(facts: &Facts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match (facts.worker, facts.pid) {
        (Some(worker), Some(pid)) => write!(f, " {worker} (pid {pid})"),
        (Some(worker), None) => write!(f, " {worker}"),
        (None, Some(pid)) if facts.is_method => write!(f, " (pid {pid})"),
        _ => Ok(()),
    }?;
    match &facts.host {
        Some(host) => write!(f, " on host `{host}`"),
        None => Ok(()),
    }
}

fn note(facts: &Facts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(panic) = &facts.panic {
        write!(f, " after a panic: {}", panic.message)?;
        if let Some(at) = &panic.location {
            write!(f, ", at {at}")?;
        }
    }
    if facts.detail.is_empty() { Ok(()) } else { write!(f, "; {}", facts.detail) }
}
