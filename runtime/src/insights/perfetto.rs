//! The trace of a pool in the format of Perfetto.
//!
//! The numbers of the fields are those of `perfetto/trace/trace.proto` and the files that it includes. They never
//! change.

use super::Snapshot;
use super::collector::CallTimes;
use super::protobuf::MessageBytes;
use super::slices::{Doing, WorkSlice};
use super::text::name_of;

/// Fields of `Trace` and `TracePacket`.
const PACKET: u32 = 1;
const TIMESTAMP: u32 = 8;
const SEQUENCE: u32 = 10;
const TRACK_EVENT: u32 = 11;
const SEQUENCE_FLAGS: u32 = 13;
const TRACK_DESCRIPTOR: u32 = 60;

/// Fields of `TrackDescriptor`, and of the descriptors of its process and thread.
const UUID: u32 = 1;
const NAME: u32 = 2;
const PROCESS: u32 = 3;
const THREAD: u32 = 4;
const PARENT: u32 = 5;
const PROCESS_NAME: u32 = 6;
const THREAD_NAME: u32 = 5;

/// Fields of `TrackEvent`, and the types of events.
const TYPE: u32 = 9;
const TRACK: u32 = 11;
const CATEGORY: u32 = 22;
const EVENT_NAME: u32 = 23;
const ANNOTATION: u32 = 4;
const FLOW: u32 = 47;
const BEGIN: u64 = 1;
const END: u64 = 2;
const INSTANT: u64 = 3;

/// The ids of tracks: that of the pool, that at which chunks are handed in, and the first of the workers and of the calls.
const POOL_TRACK: u64 = 1;
const CALLER_TRACK: u64 = 2;
const WORKER_TRACKS: u64 = 1_000;
const CALL_TRACKS: u64 = 100_000;

struct Trace(MessageBytes);

impl Trace {
    fn packet(&mut self, fill: impl FnOnce(&mut MessageBytes)) {
        self.0.message(PACKET, |packet| {
            packet.number(SEQUENCE, 1);
            fill(packet);
        });
    }

    fn track(&mut self, uuid: u64, parent: Option<u64>, fill: impl FnOnce(&mut MessageBytes)) {
        self.packet(|packet| {
            packet.message(TRACK_DESCRIPTOR, |track| {
                track.number(UUID, uuid);
                if let Some(parent) = parent {
                    track.number(PARENT, parent);
                }
                fill(track);
            });
        });
    }

    fn event(&mut self, at: u64, kind: u64, track: u64, fill: impl FnOnce(&mut MessageBytes)) {
        self.packet(|packet| {
            packet.number(TIMESTAMP, at).message(TRACK_EVENT, |event| {
                event.number(TYPE, kind).number(TRACK, track);
                fill(event);
            });
        });
    }

    fn slice(
        &mut self,
        (begun, ended): (u64, u64),
        track: u64,
        fill: impl FnOnce(&mut MessageBytes),
    ) {
        self.event(begun, BEGIN, track, fill);
        self.event(ended, END, track, |_| ());
    }
}

/// Adds a value to the details of an event.
fn annotate(event: &mut MessageBytes, name: &str, value: u64) {
    const ANNOTATION_NAME: u32 = 10;
    const UNSIGNED: u32 = 3;
    event.message(ANNOTATION, |note| {
        note.string(ANNOTATION_NAME, name).number(UNSIGNED, value);
    });
}

pub(super) fn of(snapshot: &Snapshot) -> Vec<u8> {
    let mut trace = Trace(MessageBytes::default());
    let pid = u64::from(std::process::id());
    // The state of the sequence begins here.
    trace.packet(|packet| {
        packet.number(SEQUENCE_FLAGS, 1);
    });
    trace.track(POOL_TRACK, None, |track| {
        track.message(PROCESS, |process| {
            process.number(1, pid).string(PROCESS_NAME, &format!("pool {}", snapshot.pool));
        });
    });
    trace.track(CALLER_TRACK, Some(POOL_TRACK), |track| {
        track.string(NAME, "handed in");
    });
    for (slot, worker) in (0_u64..).zip(&snapshot.collector.workers) {
        let name = format!("worker {slot} (pid {})", worker.pid);
        trace.track(WORKER_TRACKS + slot, None, |track| {
            track.message(THREAD, |thread| {
                // Tracks of one process need different numbers, also if the workers are threads.
                thread.number(1, pid).number(2, WORKER_TRACKS + slot).string(THREAD_NAME, &name);
            });
        });
    }
    add_calls(&mut trace, snapshot.collector.calls.iter());
    for (flow, slice) in (1..).zip(snapshot.collector.slices.iter()) {
        add_slice(&mut trace, slice, flow);
    }
    trace.0.into_bytes()
}

/// Adds the calls. Those that overlap are on different tracks, as slices of one track have to nest.
fn add_calls<'a>(trace: &mut Trace, calls: impl Iterator<Item = &'a CallTimes>) {
    let mut calls: Vec<&CallTimes> = calls.collect();
    calls.sort_by_key(|call| call.begun);
    let mut free_at: Vec<u64> = Vec::new();
    for call in calls {
        let free = free_at.iter().position(|free| *free <= call.begun);
        let at = free.unwrap_or(free_at.len());
        let track = CALL_TRACKS + at as u64;
        if free.is_none() {
            free_at.push(0);
            trace.track(track, Some(POOL_TRACK), |track| {
                track.string(NAME, "calls");
            });
        }
        free_at[at] = call.ended;
        trace.slice((call.begun, call.ended), track, |event| {
            let name = call.title.as_deref().unwrap_or_else(|| name_of(call.task));
            event.string(CATEGORY, "call").string(EVENT_NAME, name);
            annotate(event, "call", call.call);
            annotate(event, "inputs", call.total.unwrap_or(call.handed_in));
            annotate(event, "inputs that were run", call.inputs);
            annotate(event, "inputs that failed", call.failed);
        });
    }
}

fn add_slice(trace: &mut Trace, slice: &WorkSlice, flow: u64) {
    let (category, name) = match slice.doing {
        Doing::Start => ("worker", "start"),
        Doing::Initialize => ("worker", "initialize"),
        Doing::Run(task) => ("task", name_of(task)),
        Doing::Lost(task) => ("lost", name_of(task)),
    };
    let has_flow = slice.handed_in > 0;
    if has_flow {
        trace.event(slice.handed_in, INSTANT, CALLER_TRACK, |event| {
            event.string(CATEGORY, "call").string(EVENT_NAME, name).fixed(FLOW, flow);
        });
    }
    let track = WORKER_TRACKS + slice.slot as u64;
    trace.slice((slice.begun, slice.ended), track, |event| {
        event.string(CATEGORY, category).string(EVENT_NAME, name);
        if has_flow {
            event.fixed(FLOW, flow);
        }
        annotate(event, "worker", slice.worker as u64);
        if slice.inputs > 0 {
            annotate(event, "call", slice.call);
            annotate(event, "first index", slice.first as u64);
            annotate(event, "inputs", slice.inputs);
        }
    });
}
