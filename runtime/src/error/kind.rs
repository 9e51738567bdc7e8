//! The kinds of errors, and the message of each.

use std::fmt;

use super::Facts;
use crate::sys::signals;

/// What happened.
///
/// The kinds before [`Cancelled`](ErrorKind::Cancelled) are ways a single task can
/// end; they never harm another task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The task panicked; [`Error::panic`](crate::Error::panic) has the report.
    Panicked,
    /// The task returned an error that does not travel, an [`Opaque`](crate::Opaque) one; the text and the
    /// [`source`](std::error::Error::source) are those of that error.
    Failed,
    /// The worker was ended by a signal while it had the task.
    Signaled,
    /// The worker exited while it had the task, with whatever code.
    Exited,
    /// The worker ended while it had the task, and how is not known: something in the calling
    /// program took its exit status, by ignoring SIGCHLD or by waiting for any child.
    Lost,
    /// The task ran longer than its timeout; its worker was killed, or left behind where
    /// workers are threads.
    TimedOut,
    /// An input or output could not be encoded.
    Encode,
    /// The input could not be decoded in the worker, or the output in the caller.
    Decode,
    /// The task asks for a `State` that no initializer of the pool makes, or that
    /// is in use.
    MissingState,
    /// The call was cancelled, or its pool was terminated, before the task ended.
    Cancelled,
    /// The function is not annotated with `#[worker]` (or `#[initializer]`).
    NotRegistered,
    /// Two registered functions have the same name.
    DuplicateName,
    /// An initializer or preload failed.
    Initializer,
    /// A worker or server process could not be started.
    Start,
    /// `fork` was asked for while other threads were running.
    ForkWithThreads,
    /// Worker after worker died without finishing a task; the pool stopped
    /// replacing them for the tasks it had.
    RestartStorm,
    /// The pool takes no new tasks.
    Closed,
    /// A setting makes no sense.
    Configuration,
    /// Pools were nested inside workers deeper than the limit.
    NestedTooDeep,
    /// Memory shared with the workers could not be had.
    OutOfMemory,
}

/// Writes the message of an error.
pub(super) fn write_message(facts: &Facts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    use ErrorKind as K;
    match facts.kind {
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
        _ => Ok(()),
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
