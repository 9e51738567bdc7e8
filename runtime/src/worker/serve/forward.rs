//! The loop of a worker that forwards its chunks to other hosts.
//!
//! It claims a chunk as every worker does, and answers each input through its own ring. In between it gives the
//! encoded inputs to the [`Remote`](crate::remote::Remote) of its pool and waits. What the caller's scheduler knows
//! of other hosts is therefore what it knows of threads. Panics, deaths and timeouts of the workers there come back as
//! failures of inputs.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use super::{ChunkRun, WorkerLoop};
use crate::chunk::{ChunkAtWork, ChunkProgress};
use crate::codec::Sink;
use crate::failure::{Failure, FailureKind};
use crate::queue::{Descriptor, Kind, WorkerPage};
use crate::registry;
use crate::remote::{Remote, RemoteInputs, RemoteOptions, RemoteOutcomes};
use crate::sys::clock;
use crate::sys::memory::Mapping;

/// A chunk on another host costs about a hundred times as much as one of a local worker. The scheduler intends chunks of
/// 200 us, so a hundredth of the time is reported to it, and chunks take 20 ms.
const SCALE: u64 = 100;

/// How often a worker checks whether it was abandoned while it waits for outcomes.
const CHECK: Duration = Duration::from_millis(100);

/// An output up to this length is written to the ring directly.
const SHORT: usize = 1024;

impl WorkerLoop {
    /// Makes the worker forward its chunks.
    pub(crate) fn with_remote(self, remote: Option<Arc<dyn Remote>>) -> Self {
        WorkerLoop { remote, ..self }
    }

    /// Runs a chunk on another host, and answers each of its inputs.
    #[cold]
    pub(super) fn forward(
        &mut self,
        remote: &Arc<dyn Remote>,
        (page, tasks): (&WorkerPage, &Mapping),
        position: u64,
        descriptor: &Descriptor,
    ) {
        let begun = self.begin_chunk(page, position, descriptor);
        let mut progress = ChunkProgress::new(position, descriptor, u64::MAX);
        // The insights of the pool show the time from here to the answers.
        let measured = registry::get(descriptor.task).filter(|_| page.is_measured());
        let measured = measured
            .map(|entry| ChunkRun::new(descriptor, page, tasks, entry.registration.thunk, begun));
        if let Some(run) = &measured {
            self.begin_times(run);
        }
        let inputs = self.take_inputs(page, tasks, &mut progress, descriptor);
        let took = match inputs {
            // All inputs were taken back.
            Some(inputs) if inputs.lengths.is_empty() => 0,
            Some(inputs) => {
                let (answer, outcomes) = mpsc::sync_channel(1);
                remote.run(inputs, answer);
                let Some(RemoteOutcomes { outcomes, took }) = wait(page, &outcomes) else {
                    // The pool is being terminated, and nobody reads the ring.
                    self.leaving = true;
                    return;
                };
                for (index, outcome) in outcomes.into_iter().enumerate() {
                    match outcome {
                        Ok(output) => self.answer_with(page, index, &output),
                        Err(failure) => self.fail(index, &failure),
                    }
                }
                took
            }
            None => {
                for index in 0..progress.taken() {
                    self.fail(index, &crate::chunk::invalid_chunk());
                }
                0
            }
        };
        if let Some(run) = &measured {
            self.ran_inputs(run, 0, begun, &progress);
            self.report_times(run.task);
        }
        let shown = (took / SCALE).min(clock::now() - begun);
        self.end_chunk(page, &progress, descriptor, clock::now() - shown);
    }

    /// Copies the inputs of a chunk. Returns `None` if the location of one is invalid.
    fn take_inputs(
        &mut self,
        page: &WorkerPage,
        tasks: &Mapping,
        progress: &mut ChunkProgress,
        descriptor: &Descriptor,
    ) -> Option<RemoteInputs> {
        let mut chunk = ChunkAtWork { progress, producer: &mut self.producer, page, tasks };
        let mut inputs = RemoteInputs {
            task: descriptor.task,
            first: descriptor.first,
            options: RemoteOptions(descriptor.span),
            soft_timeout: descriptor.soft_timeout,
            ..RemoteInputs::default()
        };
        while chunk.has_next() {
            let source = chunk.next()?;
            inputs.lengths.push(source.remaining() as u64);
            source.append_to(&mut inputs.bytes);
        }
        Some(inputs)
    }

    fn answer_with(&mut self, page: &WorkerPage, index: usize, output: &[u8]) {
        if output.len() <= SHORT && self.producer.output(page.ring(), index, output) {
            return;
        }
        let mut sink: Sink<'_> = self.output.sink();
        match sink.write(output) {
            Ok(()) => {
                drop(sink);
                self.answer(Kind::Value, Kind::BigValue, index);
            }
            Err(error) => {
                drop(sink);
                let text = format!("its output does not fit the memory of the caller: {error}");
                self.fail(index, &Failure::plain(FailureKind::Encode, text));
            }
        }
    }
}

/// Waits for the outcomes of a chunk. Returns `None` if nobody wants them any more.
fn wait(page: &WorkerPage, outcomes: &Receiver<RemoteOutcomes>) -> Option<RemoteOutcomes> {
    loop {
        match outcomes.recv_timeout(CHECK) {
            Ok(outcomes) => return Some(outcomes),
            Err(RecvTimeoutError::Timeout) if !page.is_abandoned() => {}
            Err(_) => return None,
        }
    }
}
