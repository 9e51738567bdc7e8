//! The call of a registered function in a worker, as used by generated code.

#[cfg(feature = "tokio")]
mod lane;

use std::any::type_name;
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use crate::chunk::{self, ChunkAtWork, Interrupted};
use crate::codec::{DecodeError, DecodedSlice, Sink, Source};
use crate::failure::{Failure, FailureKind, TaskPhase};
use crate::fault::fault;
use crate::handle;
use crate::opaque::Opaque;
use crate::state::{self, Missing, State, StateMut};
use crate::sys::original::Original;
#[cfg(feature = "tokio")]
use lane::LaneCall;

/// The generated function that decodes, calls and encodes.
pub type Thunk = fn(&mut Call<'_>) -> Outcome;

/// The result of a thunk.
pub type Outcome = Result<(), Stop>;

/// Encodes the output of an asynchronous task.
pub type GiveOutput = Box<dyn FnOnce(&mut Call<'_>) -> Outcome>;

/// An asynchronous task that was started.
pub type RunningTask<'a> = Pin<Box<dyn Future<Output = GiveOutput> + 'a>>;

/// Decodes an input, and starts its asynchronous task.
#[cfg(feature = "tokio")]
pub(crate) type Start<'a> = fn(&mut Call<'a>) -> Result<RunningTask<'a>, Stop>;

/// The reason why a call ended without a value. There is no failure if the worker has to handle the
/// output itself.
pub struct Stop(pub(crate) Option<Box<Failure>>);

impl Stop {
    pub(crate) fn new(kind: FailureKind, text: String) -> Self {
        Stop(Some(Box::new(Failure::plain(kind, text))))
    }
}

impl Stop {
    /// The location of an input is invalid.
    #[cold]
    fn nowhere() -> Self {
        Stop(Some(Box::new(chunk::invalid_chunk())))
    }

    /// Returns the failure of a call that does not belong to a chunk.
    pub(crate) fn into_failure(self) -> Box<Failure> {
        self.0.unwrap_or_else(|| Box::new(chunk::invalid_chunk()))
    }
}

impl From<Interrupted> for Stop {
    fn from(_: Interrupted) -> Self {
        Stop(None)
    }
}

/// The calls of a registered function in a worker, one for each input of a chunk: the current input, and
/// the room for its output.
pub struct Call<'a> {
    source: Source<'a>,
    sink: Option<Sink<'a>>,
    chunk: Option<ChunkAtWork<'a>>,
    original: Original,
    pub(crate) phase: TaskPhase,
    /// How the call runs if the worker is a lane.
    #[cfg(feature = "tokio")]
    lane: Option<LaneCall<'a>>,
}

impl<'a> Call<'a> {
    /// Creates the calls of a task on the rest of a chunk.
    pub(crate) fn of_chunk(chunk: ChunkAtWork<'a>, sink: Sink<'a>, original: Original) -> Self {
        let source = Source::new(&[]);
        Call { source, sink: Some(sink), chunk: Some(chunk), ..Call::new(original) }
    }

    /// Creates a call of a method of an actor.
    pub(crate) fn of_method(source: Source<'a>, sink: Sink<'a>, original: Original) -> Self {
        Call { source, sink: Some(sink), ..Call::new(original) }
    }

    /// Creates a call of an initializer, whose value stays in this process.
    pub(crate) fn initializing(source: Source<'a>, original: Original) -> Self {
        Call { source, ..Call::new(original) }
    }

    fn new(original: Original) -> Self {
        Call {
            source: Source::new(&[]),
            sink: None,
            chunk: None,
            original,
            phase: TaskPhase::Decoding,
            #[cfg(feature = "tokio")]
            lane: None,
        }
    }

    /// Takes a state.
    #[inline]
    fn take_state<R>(&mut self, take: impl FnOnce() -> Result<R, Missing>) -> Result<R, Missing> {
        #[cfg(feature = "tokio")]
        if let Some(lane) = &mut self.lane {
            return lane.take_state(take);
        }
        take()
    }

    /// Calls a task on one input after the other, and answers each input (rule Q7).
    ///
    /// It is compiled together with the task, so that there are no calls through a pointer, and
    /// unwinding is set up once for all inputs.
    ///
    /// # Errors
    ///
    /// Returns an error if an input has no output, or an output that this function does not answer. The
    /// worker handles it, and calls this function again for the next input.
    #[inline]
    pub fn each(&mut self, task: impl Fn(&mut Call<'a>) -> Outcome) -> Outcome {
        let Call { sink: Some(sink), .. } = self else { return Ok(()) };
        let region = sink.start();
        while let Some(chunk) = &mut self.chunk
            && chunk.has_next()
        {
            self.source = chunk.next().ok_or_else(Stop::nowhere)?;
            self.phase = TaskPhase::Decoding;
            task(self)?;
            // The task may have forked while its output was encoded.
            self.original.or_end(0);
            if let Call { sink: Some(sink), chunk: Some(chunk), .. } = self {
                chunk.answer(sink, region)?;
            }
        }
        Ok(())
    }

    /// Ends this process if it is a copy of the one in which the call began.
    #[inline]
    pub(crate) fn end_copies(&self) {
        self.original.or_end(0);
    }

    /// Ends the decoding of the parameters; the next steps are those of the task.
    ///
    /// # Errors
    ///
    /// Returns an error if bytes of the input are left.
    #[inline]
    pub fn begin(&mut self) -> Outcome {
        fault("decoded");
        self.source.finish().map_err(|error| {
            Stop::new(FailureKind::Decode, format!("its input could not be decoded: {error}"))
        })?;
        self.phase = TaskPhase::Running;
        Ok(())
    }

    /// Encodes the value that a task has returned.
    #[inline]
    pub(crate) fn give<R: Serialize>(&mut self, output: &R) -> Outcome {
        // Checked before anything is encoded into memory that the caller reads.
        self.original.or_end(0);
        self.phase = TaskPhase::Encoding;
        fault("ran");
        let Some(sink) = self.sink.as_mut() else {
            return Ok(());
        };
        handle::moved::<R, _>(|| crate::codec::encode(output, sink)).map_err(|error| {
            let text = format!("its output could not be encoded: {error}");
            Stop::new(FailureKind::Encode, text)
        })
    }

    /// Returns the error of a task as a failure.
    #[cold]
    pub(crate) fn fail(&mut self, error: &impl Opaque) -> Outcome {
        self.original.or_end(0);
        // The texts are created by code of the error type.
        self.phase = TaskPhase::Encoding;
        fault("ran");
        Err(Stop(Some(Box::new(Failure::of_error(error)))))
    }
}

/// A parameter of a registered function: decoded from the input, or a state.
pub trait Param<'a>: Sized {
    /// Decodes the parameter, or takes the state.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be decoded, or if the state is not available or is in use.
    fn take(call: &mut Call<'a>, name: &'static str) -> Result<Self, Stop>;
}

impl<'a, T: Deserialize<'a>> Param<'a> for T {
    #[inline]
    fn take(call: &mut Call<'a>, name: &'static str) -> Result<Self, Stop> {
        crate::codec::decode(&mut call.source).map_err(|error| not_decoded(name, &error))
    }
}

impl<'a, T: 'static> Param<'a> for State<T> {
    fn take(call: &mut Call<'a>, name: &'static str) -> Result<Self, Stop> {
        call.take_state(state::get).map_err(|why| missing::<T>(why, "State", name))
    }
}

impl<'a, T: 'static> Param<'a> for StateMut<T> {
    fn take(call: &mut Call<'a>, name: &'static str) -> Result<Self, Stop> {
        call.take_state(state::take).map_err(|why| missing::<T>(why, "StateMut", name))
    }
}

impl<'a> Call<'a> {
    /// Decodes a parameter that is a slice. Numbers are not copied.
    ///
    /// # Errors
    ///
    /// Returns an error if it cannot be decoded.
    #[inline]
    pub(crate) fn take_slice<T: Deserialize<'a>>(
        &mut self,
        name: &'static str,
    ) -> Result<DecodedSlice<'a, T>, Stop> {
        crate::codec::decode_slice(&mut self.source).map_err(|error| not_decoded(name, &error))
    }
}

#[cold]
fn not_decoded(name: &str, error: &DecodeError) -> Stop {
    let text = format!("its parameter `{name}` could not be decoded: {error}");
    Stop::new(FailureKind::Decode, text)
}

/// This text is replaced in the errors of a process, which has no pool in the view of its program.
pub(crate) const WHERE_STATES_ARE_MADE: &str = "no initializer of this pool makes";

/// Returns the name of a type. Types of the standard library have no path.
pub(crate) fn without_path(name: &str) -> &str {
    let is_std = ["alloc::", "core::", "std::"].iter().any(|of| name.starts_with(of));
    match name.split_once('<').map_or(name, |(path, _)| path).rfind("::") {
        Some(at) if is_std => &name[at + 2..],
        _ => name,
    }
}

#[cold]
fn missing<T>(why: Missing, wrapper: &str, name: &str) -> Stop {
    let of = without_path(type_name::<T>());
    let text = match why {
        Missing::Never => format!(
            "its parameter `{name}` is a {wrapper}<{of}>, but {WHERE_STATES_ARE_MADE} a value of type `{of}`; \
             add one with Pool::builder().initializer(..)"
        ),
        Missing::InUse => format!(
            "its parameter `{name}` is a {wrapper}<{of}>, but that value is in use elsewhere in this worker; \
             take it once per task, and make it with .initializer(..) if workers are threads"
        ),
    };
    Stop::new(FailureKind::MissingState, text)
}
