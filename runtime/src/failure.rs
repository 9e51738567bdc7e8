//! The report of a failed input, which a worker sends to the caller.

use serde::{Deserialize, Serialize};

use crate::codec::{Sink, Source};
use crate::error::{Cause, Error, ErrorKind, PanicReport, causes};
use crate::opaque::Opaque;

/// The kind of the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FailureKind {
    Panicked,
    Decode,
    Encode,
    MissingState,
    Initializer,
    NotRegistered,
    /// The task returned an error that cannot be serialized.
    Failed,
}

/// The phase of a call, which determines how a panic is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskPhase {
    Decoding,
    Running,
    Encoding,
}

/// The message of a worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    pub(crate) text: String,
    pub(crate) panic: Option<PanicReport>,
    /// The texts of the causes, the nearest one first.
    pub(crate) causes: Vec<String>,
    /// The backtrace of an error, if it has one. A panic has a backtrace in its report.
    pub(crate) backtrace: Option<String>,
    /// If this is the error of another task, in a pool that the task used: the number of tasks between
    /// them that passed it on.
    pub(crate) passed_on: Option<u32>,
    /// If this is the error of a pool on another host, the parts that only such an error has.
    pub(crate) on_host: Option<Box<FailureOnHost>>,
}

/// The parts of an error of a pool on another host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FailureOnHost {
    /// The number of the kind of the error.
    pub(crate) kind: u8,
    pub(crate) host: String,
    pub(crate) worker: Option<u64>,
    pub(crate) pid: Option<u32>,
    pub(crate) signal: Option<i32>,
    pub(crate) exit_code: Option<i32>,
}

/// The maximum number of causes that are sent. A longer chain is assumed to be circular.
const MOST_CAUSES: usize = 128;

impl Failure {
    pub(crate) fn plain(kind: FailureKind, text: String) -> Self {
        let (panic, causes, backtrace, passed_on) = (None, Vec::new(), None, None);
        Failure { kind, text, panic, causes, backtrace, passed_on, on_host: None }
    }

    /// Creates the failure of an input with an error of a pool on the given host.
    #[cfg(feature = "cluster")]
    pub(crate) fn on_host(error: &Error, host: &str) -> Self {
        let texts = causes(error).take(MOST_CAUSES).map(ToString::to_string).collect();
        let backtrace = match error.panic() {
            Some(_) => None,
            None => error.backtrace().map(str::to_owned),
        };
        let (text, passed_on) = error.detail();
        let on_host = FailureOnHost {
            kind: error.kind().number(),
            host: host.to_owned(),
            worker: error.worker().map(|worker| worker as u64),
            pid: error.pid(),
            signal: error.signal(),
            exit_code: error.exit_code(),
        };
        Failure {
            panic: error.panic().cloned(),
            causes: texts,
            backtrace,
            passed_on,
            on_host: Some(Box::new(on_host)),
            ..Failure::plain(FailureKind::Failed, text.to_owned())
        }
    }

    /// Creates the failure of a task that returned an error, with the parts that can be sent.
    pub(crate) fn of_error(error: &impl Opaque) -> Self {
        let backtrace = error.backtrace();
        let error = error.as_error();
        let causes = causes(error).take(MOST_CAUSES).map(ToString::to_string).collect();
        let (text, passed_on) = match error.downcast_ref::<Error>().map(Error::passed_on) {
            Some((text, left_out)) => (text, Some(left_out)),
            None => (error.to_string(), None),
        };
        Failure { causes, backtrace, passed_on, ..Failure::plain(FailureKind::Failed, text) }
    }

    /// Creates the failure of a panic. While the task runs, the task has panicked; before and after,
    /// decoding or encoding has failed.
    pub(crate) fn of_panic(phase: TaskPhase, report: PanicReport) -> Self {
        let (kind, what) = match phase {
            TaskPhase::Decoding => (FailureKind::Decode, "its input could not be decoded"),
            TaskPhase::Running => (FailureKind::Panicked, ""),
            TaskPhase::Encoding => (FailureKind::Encode, "its output could not be encoded"),
        };
        let text = match kind {
            FailureKind::Panicked => String::new(),
            _ => format!("{what}: it panicked with: {}", report.message),
        };
        Failure { panic: Some(report), ..Failure::plain(kind, text) }
    }

    /// Returns the report as that of an initializer.
    pub(crate) fn of_initializer(mut self, name: &str) -> Self {
        self.text = match (&self.panic, self.kind) {
            (Some(panic), FailureKind::Panicked) => {
                let at = panic.location.as_ref().map(|at| format!(", at {at}")).unwrap_or_default();
                format!("initializer `{name}` panicked: {}{at}", panic.message)
            }
            _ => format!("initializer `{name}` failed: {}", self.text),
        };
        self.kind = FailureKind::Initializer;
        self
    }

    /// Shortens the texts so that the failure fits in a message of a socket.
    pub(crate) fn shortened(mut self) -> Self {
        fn cut(text: &mut String, len: usize) {
            if text.len() > len {
                text.truncate(text.floor_char_boundary(len));
            }
        }
        cut(&mut self.text, 8 << 10);
        if let Some(panic) = &mut self.panic {
            cut(&mut panic.message, 8 << 10);
            if let Some(trace) = &mut panic.backtrace {
                cut(trace, 16 << 10);
            }
        }
        self
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        encoded(self)
    }

    /// Decodes the message of a worker. Invalid bytes become a failure that says so.
    pub(crate) fn decoded(bytes: &[u8]) -> Self {
        crate::codec::decode(&mut Source::new(bytes)).unwrap_or_else(|error| {
            let text = format!("the report of its worker could not be decoded: {error}");
            Failure::plain(FailureKind::Decode, text)
        })
    }

    /// Returns whether the function was called.
    pub(crate) fn was_begun(&self) -> bool {
        match self.kind {
            FailureKind::Panicked | FailureKind::Encode | FailureKind::Failed => true,
            FailureKind::Decode
            | FailureKind::MissingState
            | FailureKind::Initializer
            | FailureKind::NotRegistered => false,
        }
    }

    /// Converts the failure into the error of a task, whose name the caller adds.
    pub(crate) fn into_error(self) -> Error {
        let kind = match self.kind {
            FailureKind::Panicked => ErrorKind::Panicked,
            FailureKind::Decode => ErrorKind::Decode,
            FailureKind::Encode => ErrorKind::Encode,
            FailureKind::MissingState => ErrorKind::MissingState,
            FailureKind::Initializer => ErrorKind::Initializer,
            FailureKind::NotRegistered => ErrorKind::NotRegistered,
            FailureKind::Failed => ErrorKind::Failed,
        };
        Error::new(kind, self.text).with(|facts| {
            facts.panic = self.panic.map(Box::new);
            facts.cause = Cause::chain(self.causes);
            facts.passes_on = self.passed_on.is_some();
            facts.left_out = self.passed_on.unwrap_or(0);
            facts.backtrace = self.backtrace.map(String::into_boxed_str);
            #[cfg(feature = "cluster")]
            if let Some(on_host) = self.on_host {
                facts.kind = ErrorKind::of_number(on_host.kind);
                facts.worker = on_host.worker.map(|worker| worker as usize);
                facts.pid = on_host.pid;
                facts.signal = on_host.signal;
                facts.exit_code = on_host.exit_code;
                facts.host = Some(on_host.host.into_boxed_str()).filter(|host| !host.is_empty());
            }
        })
    }

    /// Converts the failure into the error of building a pool.
    pub(crate) fn into_initializer_error(self, what: &str) -> Error {
        let text = match self.text.is_empty() {
            true => format!("{what} failed"),
            false => self.text.clone(),
        };
        Error::new(ErrorKind::Initializer, text)
            .with(|facts| facts.panic = self.panic.map(Box::new))
    }
}

/// Encodes a message of this library, which cannot fail.
pub(crate) fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut sink = Sink::over(&mut bytes);
    let outcome = crate::codec::encode(value, &mut sink);
    sink.finish();
    debug_assert!(outcome.is_ok(), "our own messages encode");
    bytes
}
