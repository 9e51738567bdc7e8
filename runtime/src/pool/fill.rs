//! Inputs, encoded one after the other (rule Q24).

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::span::SpanOfCall;
use crate::codec::Sink;
use crate::engine::{Batch, SharedPool};
use crate::handle::Object;
use crate::queue::{Block, PayloadBuffer};
use crate::worker::Original;

/// Bytes of a chunk chosen by pace.
const CHUNK_BYTES: usize = 256 << 10;

/// Inputs that were encoded one after the other.
#[derive(Default)]
pub(super) struct Filled {
    pub(super) count: usize,
    pub(super) len: usize,
    /// The length of each; `None` if each has it before it.
    pub(super) stride: Option<usize>,
    /// Why the next one could not be.
    pub(super) failed: Option<Refused>,
}

pub(super) enum Refused {
    NotEncoded(String),
    /// The iterator forked, and this is the copy.
    Foreign,
}

/// Encoded inputs with the objects in them (rule H3).
pub(super) fn batch(
    shared: &SharedPool,
    block: Block,
    (len, stride): (usize, Option<usize>),
    (soft_timeout, span): (u64, &SpanOfCall),
    objects: Vec<Arc<Object>>,
) -> Batch {
    let offer = (!objects.is_empty()).then(|| Arc::new(shared.exports.offer(objects)));
    let handed_in = shared.time_of_inputs();
    let block = Arc::new(block);
    Batch { block, at: 0, len, stride, soft_timeout, handed_in, span: span.number(), offer }
}

impl Filled {
    #[inline]
    pub(super) fn fill<T: Serialize>(
        &mut self,
        payload: &mut PayloadBuffer,
        most: usize,
        inputs: &mut impl Iterator<Item = T>,
    ) {
        let original = Original::here();
        // For a single input the clock is not read.
        let begun = (most > 1).then(Instant::now);
        let mut has_lengths = payload.has_lengths;
        let mut sink = payload.sink();
        while self.count < most && self.len < CHUNK_BYTES {
            let Some(input) = inputs.next() else { break };
            if !original.is_here() {
                // This is a forked process, which must not write to the memory of its parent.
                self.failed = Some(Refused::Foreign);
                self.count = 0;
                break;
            }
            let at = self.len;
            let outcome = match has_lengths {
                false => crate::codec::encode(&input, &mut sink).map_err(|error| error.to_string()),
                true => with_length(&mut sink, &input),
            };
            if let Err(error) = outcome {
                self.failed = Some(Refused::NotEncoded(error));
                break;
            }
            if !has_lengths {
                let len = sink.len() - at;
                let stride = *self.stride.get_or_insert(len);
                if len != stride {
                    if let Err(error) = insert_lengths(&mut sink, self.count, stride) {
                        sink.truncate(at);
                        self.failed = Some(Refused::NotEncoded(error));
                        break;
                    }
                    has_lengths = true;
                    self.stride = None;
                }
            }
            self.count += 1;
            self.len = sink.len();
            // If the iterator is slow, the inputs that it has returned so far are handed in.
            let check =
                self.count.is_multiple_of(64) || (self.count < 64 && self.count.is_power_of_two());
            if check && begun.is_some_and(|begun| begun.elapsed().as_micros() > 500) {
                break;
            }
        }
        drop(sink);
        // The following inputs of the call probably differ in length as well.
        payload.has_lengths = has_lengths;
    }
}

/// Encodes an input, preceded by its length.
#[inline]
fn with_length<T: Serialize>(sink: &mut Sink<'_>, input: &T) -> Result<(), String> {
    let at = sink.len();
    sink.write(&[0; 8]).map_err(|error| error.to_string())?;
    if let Err(error) = crate::codec::encode(input, sink) {
        sink.truncate(at);
        return Err(error.to_string());
    }
    let len = (sink.len() - at - 8) as u64;
    sink.patch(at, &len.to_le_bytes());
    Ok(())
}

/// Inserts the lengths before `count` inputs of `stride` bytes and one input of another length.
#[cold]
fn insert_lengths(sink: &mut Sink<'_>, count: usize, stride: usize) -> Result<(), String> {
    let len = sink.len();
    for _ in 0..=count {
        sink.write(&[0; 8]).map_err(|error| error.to_string())?;
    }
    for index in (0..=count).rev() {
        let from = index * stride;
        let of = if index == count { len - from } else { stride };
        let to = from + index * 8;
        sink.copy_within(from, to + 8, of);
        sink.patch(to, &(of as u64).to_le_bytes());
    }
    Ok(())
}
