//! A thread that pulls the inputs of a [stream](super::stream).
//!
//! The thread collects inputs in a buffer, and publishes them when the queue is empty or the buffer has
//! a whole chunk. If the iterator blocks, the reader publishes the rest of the buffer before it waits.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::producer::{CallRef, EncodedInputs, Panic};
use crate::error::{Error, Result};
use crate::poison::IgnorePoison;
use crate::queue::PayloadBuffer;

/// The maximum time that the reader waits before it checks everything.
const TICK: Duration = Duration::from_millis(100);

/// The side of the reader. Dropping it ends the thread.
pub(super) struct Puller {
    link: Arc<dyn PullerLink>,
    thread: Option<JoinHandle<()>>,
}

/// The messages of the thread to the reader.
pub(super) struct PullerProgress {
    /// Inputs that were published.
    pub(super) handed_in: usize,
    /// The inputs that were published since the last request, and their bytes.
    pub(super) fresh: (usize, usize),
    /// There are no more inputs.
    pub(super) over: bool,
    pub(super) panic: Option<Panic>,
}

/// The interface of the thread for the reader, independent of the type of the inputs.
pub(super) trait PullerLink: Send + Sync {
    /// Publishes the inputs in the buffer.
    fn hand_out(&self, call: &CallRef) -> PullerProgress;

    /// Permits the thread to pull inputs until it has published `allowed` in total, and to publish `together` inputs at once.
    fn allow(&self, allowed: usize, together: usize);

    /// Waits until there are more than `handed_in` inputs, until the iterator has ended, or until `end`.
    fn wait(&self, handed_in: usize, end: Option<Instant>);

    /// Makes the thread end; returns whether it ends soon.
    fn stop(&self) -> bool;
}

struct Channel<T> {
    state: Mutex<PullerState<T>>,
    /// Notifies the thread that it may pull.
    may: Condvar,
    /// Notifies the reader that something has changed.
    changed: Condvar,
}

struct PullerState<T> {
    buffer: VecDeque<T>,
    payload: PayloadBuffer,
    handed_in: usize,
    fresh: (usize, usize),
    /// The total number of inputs that the thread may have pulled.
    allowed: usize,
    together: usize,
    /// The current length of chunks for the task.
    chunk: usize,
    /// The position in the queue after the last published chunk.
    mark: u64,
    /// Whether the iterator is running.
    pulling: bool,
    over: bool,
    stopped: bool,
    panic: Option<Panic>,
}

impl Puller {
    /// Starts the thread for the inputs from the index `handed_in` on.
    pub(super) fn start<I>(call: &CallRef, inputs: Fuse<I>, handed_in: usize) -> Result<Puller>
    where
        I: Iterator + Send + 'static,
        I::Item: Serialize + Send,
    {
        let state = PullerState {
            buffer: VecDeque::new(),
            payload: PayloadBuffer::new(&call.shared.arena),
            handed_in,
            fresh: (0, 0),
            allowed: 0,
            together: 1,
            chunk: 1,
            mark: 0,
            pulling: false,
            over: false,
            stopped: false,
            panic: None,
        };
        let channel = Arc::new(Channel {
            state: Mutex::new(state),
            may: Condvar::new(),
            changed: Condvar::new(),
        });
        let link = Arc::clone(&channel) as Arc<dyn PullerLink>;
        let call = call.clone();
        let name = format!("{}-inputs", call.shared.settings.name);
        let thread = std::thread::Builder::new()
            .name(name)
            .spawn(move || channel.run(&call, inputs))
            .map_err(|error| {
                Error::start(format!("the thread that pulls inputs could not be started: {error}"))
            })?;
        Ok(Puller { link, thread: Some(thread) })
    }
}

impl std::ops::Deref for Puller {
    type Target = dyn PullerLink;

    fn deref(&self) -> &Self::Target {
        &*self.link
    }
}

impl Puller {
    /// In a forked process this thread does not exist.
    pub(super) fn forget(mut self) {
        std::mem::forget(self.thread.take());
        std::mem::forget(self);
    }
}

impl Drop for Puller {
    fn drop(&mut self) {
        if self.link.stop()
            && let Some(thread) = self.thread.take()
        {
            // If a destructor of the iterator panicked, this was already reported.
            let _ = thread.join();
        }
    }
}

impl<T: Serialize + Send> Channel<T> {
    fn lock(&self) -> MutexGuard<'_, PullerState<T>> {
        self.state.lock().ignore_poison()
    }

    fn run<I: Iterator<Item = T>>(&self, call: &CallRef, mut inputs: Fuse<I>) {
        let mut state = self.lock();
        loop {
            while !state.stopped && state.handed_in + state.buffer.len() >= state.allowed {
                state.hand_out(call);
                state = self.may.wait(state).ignore_poison();
            }
            if state.stopped || state.over {
                break;
            }
            state.pulling = true;
            drop(state);
            let pulled = catch_unwind(AssertUnwindSafe(|| inputs.next()));
            if call.is_foreign() {
                // The iterator has forked. The copy has no reader.
                return;
            }
            state = self.lock();
            state.pulling = false;
            if state.stopped {
                break;
            }
            match pulled {
                Ok(Some(input)) => {
                    state.buffer.push_back(input);
                    if state.buffer.len() >= state.chunk.min(state.together) || state.is_dry(call) {
                        state.hand_out(call);
                    }
                }
                Ok(None) => state.end(call, None),
                Err(panic) => state.end(call, Some(panic)),
            }
            self.changed.notify_one();
        }
        let left = std::mem::take(&mut state.buffer);
        drop(state);
        // This runs destructors of the user.
        drop((left, inputs));
    }
}

impl<T: Serialize> PullerState<T> {
    /// Returns whether workers have claimed all published chunks.
    fn is_dry(&self, call: &CallRef) -> bool {
        call.shared.cursor() >= self.mark
    }

    fn hand_out(&mut self, call: &CallRef) {
        while !self.buffer.is_empty() {
            let most = self.chunk.min(self.together).max(1);
            let taken = self.buffer.len().min(most);
            let mut inputs = self.buffer.drain(..taken);
            let (encoded, panic) =
                call.encode_caught(&mut self.payload, self.handed_in, taken, &mut inputs);
            // An input that is too long for the chunk, or that follows one that cannot be encoded,
            // belongs to the next chunk.
            let left: Vec<T> = inputs.collect();
            left.into_iter().rev().for_each(|input| self.buffer.push_front(input));
            let EncodedInputs { chunk, failed } = encoded;
            let shared = &*call.shared;
            let mut engine = shared.lock();
            if let Some(chunk) = chunk {
                self.handed_in += chunk.count;
                self.fresh.0 += chunk.count;
                self.fresh.1 += chunk.batch.len;
                engine.push(shared, chunk);
            }
            if let Some((range, error)) = failed {
                self.handed_in = range.end;
                engine.push_failed(shared, call.id, range, &error);
            }
            self.mark = engine.tail();
            self.chunk = engine.chunk_len(call.id);
            drop(engine);
            if panic.is_some() {
                self.buffer.clear();
                self.over = true;
                self.panic = panic;
                call.shared.lock().close_inputs(shared, call.id);
            }
        }
    }

    fn end(&mut self, call: &CallRef, panic: Option<Panic>) {
        self.hand_out(call);
        if !self.over {
            self.over = true;
            self.panic = panic;
            call.shared.lock().close_inputs(&call.shared, call.id);
        }
    }
}

impl<T: Serialize + Send> PullerLink for Channel<T> {
    fn hand_out(&self, call: &CallRef) -> PullerProgress {
        let mut state = self.lock();
        state.hand_out(call);
        let over = state.over;
        let fresh = std::mem::take(&mut state.fresh);
        PullerProgress { handed_in: state.handed_in, fresh, over, panic: state.panic.take() }
    }

    fn allow(&self, allowed: usize, together: usize) {
        let mut state = self.lock();
        state.together = together;
        if state.allowed < allowed {
            state.allowed = allowed;
            self.may.notify_one();
        }
    }

    fn wait(&self, handed_in: usize, end: Option<Instant>) {
        let state = self.lock();
        if state.handed_in > handed_in || !state.buffer.is_empty() || state.over {
            return;
        }
        let time = end.map_or(TICK, |end| end.saturating_duration_since(Instant::now()).min(TICK));
        drop(self.changed.wait_timeout(state, time).ignore_poison());
    }

    fn stop(&self) -> bool {
        let mut state = self.lock();
        state.stopped = true;
        self.may.notify_one();
        !state.pulling
    }
}
