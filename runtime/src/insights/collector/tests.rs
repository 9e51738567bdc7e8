//! Tests of the classification of times.

use super::*;
use crate::queue::Usage;

fn facts(call: u64) -> ChunkFacts {
    ChunkFacts { task: 7, call, first: 100, bytes: 80, handed_in: 1_000 }
}

fn timing(begun: u64, ended: u64, each: &[u64]) -> Timing<'_> {
    let (count, step) = (each.len() as u64, 1);
    let usage = Usage { cpu: 5, peak: 6 };
    Timing { begun, ended, count, sending: 0, output: 16, usage, step, each }
}

/// Returns a collector with one worker, which serves since 1,000.
fn serving() -> Collector {
    let mut collector = Collector::new(0);
    collector.name(0, (3, 77));
    collector.prepared(0, Doing::Start, (100, 400));
    collector.prepared(0, Doing::Initialize, (400, 1_000));
    collector.ready(0, 1_000);
    collector
}

#[test]
fn a_worker_waits_only_while_there_is_work() {
    let mut collector = serving();
    // Quiet until 2,000, and again from 5,000 to 9,000.
    collector.set_active(true, || 2_000);
    collector.add(0, Some(&facts(1)), 0, &timing(2_500, 5_000, &[2_500]), 5_000, |_| 8);
    collector.set_active(false, || 5_000);
    collector.set_active(true, || 9_000);
    collector.add(0, Some(&facts(2)), 0, &timing(9_100, 9_300, &[150, 50]), 9_400, |_| 8);
    let worker = &collector.workers[0];
    assert_eq!((worker.start, worker.initialize), (300, 600));
    assert_eq!((worker.wait, worker.run), (500 + 100, 2_500 + 200));
    assert_eq!((worker.inputs, worker.chunks), (3, 2));
    assert_eq!((worker.input, worker.output, worker.cpu), (160, 32, 5));
    // It has had nothing to do since 9,300, and the pool had until 9,600.
    collector.set_active(false, || 9_600);
    collector.complete(20_000, |_| false, |pid| Some(u64::from(pid)));
    assert_eq!((collector.workers[0].wait, collector.workers[0].peak), (900, 77));
}

#[test]
fn the_slowest_inputs_are_kept_in_order() {
    let mut collector = serving();
    let times: Vec<u64> = (0..40).map(|at| (at * 7) % 40).collect();
    collector.add(0, Some(&facts(1)), 3, &timing(2_000, 9_000, &times), 9_000, |at| at);
    let slowest: Vec<_> =
        collector.slowest.iter().map(|slow| (slow.nanoseconds, slow.index, slow.bytes)).collect();
    let of = |took: u64| {
        let at = times.iter().position(|time| *time == took).expect("each once");
        (took, 103 + at, 3 + at)
    };
    assert_eq!(slowest, [39, 38, 37, 36, 35].map(of));
}

#[test]
fn calls_are_kept_in_bounds() {
    let mut collector = serving();
    for call in 0..10_000 {
        let begun = 2_000 + call * 10;
        collector.add(0, Some(&facts(call)), 0, &timing(begun, begun + 5, &[5]), begun + 9, |_| 8);
    }
    assert_eq!(collector.calls.len(), CALLS);
    assert_eq!(collector.calls.back().map(|call| call.call), Some(9_999));
    assert_eq!(collector.tasks[&7].inputs, 10_000);
}

#[test]
fn a_report_may_say_anything() {
    let mut collector = serving();
    let worst = Timing {
        begun: u64::MAX,
        ended: 5,
        count: u64::MAX,
        sending: u64::MAX,
        output: u64::MAX,
        usage: Usage { cpu: u64::MAX, peak: u64::MAX },
        step: u64::MAX,
        each: &[u64::MAX],
    };
    for begun in [0, u64::MAX] {
        let timing = Timing { begun, ..worst };
        collector.add(0, Some(&facts(1)), usize::MAX, &timing, 3_000, |_| 8);
    }
    collector.ended(0, None, Some((facts(1), u64::MAX)), 3_000);
    collector.complete(4_000, |_| false, |_| None);
    assert!(collector.workers[0].run <= 3_000);
}
