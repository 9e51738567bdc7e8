//! Calls whose inputs were encoded on another host, and whose outputs are decoded there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Pool;
use super::fill::{self, Filled};
use super::producer::{self, OpenCall};
use super::span::SpanOfCall;
use crate::engine::{ChunkIn, Options, WakePolicy};
use crate::error::{Error, ErrorKind, Result};
use crate::queue::PayloadBuffer;
use crate::registry;

/// How often a call checks whether it is still wanted.
const CHECK: Duration = Duration::from_millis(200);

impl Pool {
    /// Runs a task on encoded inputs, and returns the encoded outputs in the order of the inputs. As soon as `is_unwanted`
    /// is set, no more inputs begin, and the tasks that run are asked to end.
    ///
    /// # Errors
    ///
    /// Returns an error if no input was run.
    pub(crate) fn map_encoded(
        &self,
        task: u32,
        options: &Options,
        inputs: &[&[u8]],
        is_unwanted: &AtomicBool,
    ) -> Result<Vec<Result<Vec<u8>>>> {
        let Some((call, chunk)) = self.open_encoded(task, options, inputs)? else {
            return Ok(Vec::new());
        };
        let count = chunk.count;
        call.shared.lock().push(&call.shared, ChunkIn { divisible: true, ..chunk });
        Ok(outcomes(call, count, is_unwanted).into_iter().flatten().collect())
    }

    /// Runs a task on an encoded input once on every worker, and returns the encoded output of each; `None` for a worker
    /// that a resize has dismissed.
    ///
    /// # Errors
    ///
    /// Returns an error if the task is unknown, there is no memory for the input, or the pool is closed.
    pub(crate) fn broadcast_encoded(
        &self,
        task: u32,
        options: &Options,
        input: &[u8],
        is_unwanted: &AtomicBool,
    ) -> Result<Vec<Option<Result<Vec<u8>>>>> {
        let Some((call, chunk)) = self.open_encoded(task, options, &[input])? else {
            return Ok(Vec::new());
        };
        let workers = call.push_to_each(&chunk);
        Ok(outcomes(call, workers, is_unwanted))
    }

    /// Opens a call, and returns it with an indivisible chunk of the inputs; `None` if there are none.
    fn open_encoded(
        &self,
        task: u32,
        options: &Options,
        inputs: &[&[u8]],
    ) -> Result<Option<(OpenCall, ChunkIn)>> {
        let shared = self.started()?;
        let entry = registry::get(task).ok_or_else(|| {
            Error::new(ErrorKind::NotRegistered, "no task has the number that was received")
        })?;
        let mut payload = PayloadBuffer::new(&shared.arena);
        let no_memory = |error| producer::no_memory(entry, &error);
        let Filled { count, len, stride, .. } = fill(&mut payload, inputs).map_err(no_memory)?;
        if count == 0 {
            return Ok(None);
        }
        let block = payload.take().map_err(no_memory)?;
        let span = SpanOfCall::current(&shared, options);
        let times = (options.soft_timeout(), &span);
        let batch = fill::batch(&shared, block, (len, stride), times, Vec::new());
        let call = OpenCall::new(shared, entry, options)?;
        let chunk = ChunkIn { call: call.id, first: 0, count, batch, divisible: false };
        Ok(Some((call, chunk)))
    }
}

/// Waits for the outcomes of a call. An input of a broadcast may have none.
fn outcomes(
    mut call: OpenCall,
    count: usize,
    is_unwanted: &AtomicBool,
) -> Vec<Option<Result<Vec<u8>>>> {
    let mut outcomes: Vec<Option<Result<Vec<u8>>>> = (0..count).map(|_| None).collect();
    let (id, mut was_cancelled) = (call.id, false);
    loop {
        let is_over = call.poll(|engine, _| engine.is_settled(id));
        call.take_encoded(|index, outcome| outcomes[index] = Some(outcome));
        if is_over {
            return outcomes;
        }
        if is_unwanted.load(Ordering::Relaxed) && !was_cancelled {
            was_cancelled = true;
            call.shared.lock().cancel_running(&call.shared, call.id);
            continue;
        }
        call.wait(WakePolicy::ShortQueue, Some(Instant::now() + CHECK));
    }
}

/// Writes encoded inputs one after the other. If they differ in length, each is preceded by its length.
fn fill(payload: &mut PayloadBuffer, inputs: &[&[u8]]) -> std::io::Result<Filled> {
    let first = inputs.first().map(|input| input.len());
    let stride = first.filter(|len| inputs.iter().all(|input| input.len() == *len));
    let mut sink = payload.sink();
    for input in inputs {
        if stride.is_none() {
            sink.write(&(input.len() as u64).to_le_bytes())?;
        }
        sink.write(input)?;
    }
    Ok(Filled { count: inputs.len(), len: sink.len(), stride, failed: None })
}
