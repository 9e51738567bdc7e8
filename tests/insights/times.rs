//! What insights tell, and what they write.

use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::time::Duration;

use nix::sys::signal::Signal;
use procession_tests::tasks::{odd, square, until_file};
use procession_tests::{EVERY, ONCE, PROCESSES, StartMethod, conformance, pool, processes, wait};
use runtime::{ErrorKind, Pool, initializer, worker};

conformance! {
    EVERY => [
        without_insights_there_are_none,
        every_input_is_counted_and_timed,
        short_inputs_are_counted_too,
        the_slowest_inputs_come_with_index_and_size,
        starts_and_initializers_are_timed,
        long_results_are_sent_and_not_run,
        failures_are_counted_by_function,
        insights_outlive_the_pool,
        workers_that_replace_others_continue_their_entry,
        a_timeline_and_a_trace_are_written,
        cut_and_retried_calls_are_timed,
    ];
    PROCESSES => [a_killed_worker_is_told_with_its_signal];
    ONCE => [
        json_has_all_numbers,
        slow_inputs_are_warned_of,
        short_chunks_are_warned_of,
        a_path_that_cannot_be_written_is_named,
        the_trace_is_well_formed,
    ];
}

const NAP: Duration = Duration::from_millis(3);

#[worker]
fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

#[worker]
fn bytes(len: usize) -> Vec<u8> {
    vec![7; len]
}

#[worker]
fn length(text: &str) -> usize {
    if text.len() > 10 {
        std::thread::sleep(NAP);
    }
    text.len()
}

#[initializer]
fn slowly() {
    std::thread::sleep(NAP);
}

fn watched(method: StartMethod, workers: usize) -> Pool {
    let builder = Pool::builder().start_method(method).workers(workers);
    builder.insights(true).build().expect("the pool starts")
}

/// The sum of a number over all workers.
fn sum(pool: &Pool, of: fn(&runtime::WorkerInsights) -> u64) -> u64 {
    pool.insights().workers().iter().map(of).sum()
}

fn without_insights_there_are_none(method: StartMethod) {
    let pool = pool(method, 1);
    pool.map(square, 0..10).unwrap();
    let insights = pool.insights();
    assert!(!insights.is_on());
    assert!(insights.workers().is_empty() && insights.tasks().is_empty());
    assert!(insights.to_string().contains("insights(true)"), "{insights}");
    let error = insights.write_trace("never").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(error.to_string().contains("insights(true)"), "{error}");
}

fn every_input_is_counted_and_timed(method: StartMethod) {
    let pool = watched(method, 2);
    pool.map(nap, vec![3; 20]).unwrap();
    pool.apply(nap, 3).unwrap();
    pool.imap(nap, vec![3; 4]).for_each(drop);
    pool.map_async(nap, vec![3; 5]).wait().unwrap();
    let insights = pool.insights();
    assert_eq!(insights.workers().len(), 2);
    assert_eq!(sum(&pool, |worker| worker.inputs()), 30);
    assert_eq!(sum(&pool, |worker| worker.input_bytes()), 30 * 8);
    assert!(sum(&pool, |worker| worker.output_bytes()) >= 30 * 8);
    let run: Duration = insights.workers().iter().map(|worker| worker.run()).sum();
    assert!(run >= 30 * NAP, "{run:?}");
    let [task] = insights.tasks() else { panic!("{insights:?}") };
    assert!(task.name().ends_with("::nap"));
    assert_eq!((task.inputs(), task.failed()), (30, 0));
    assert_eq!(task.run(), run);
    let [p50, p99, max] = task.running();
    assert!(NAP <= p50 && p50 <= p99 && p99 <= max, "{p50:?} {p99:?} {max:?}");
    let [p50, p99, max] = task.waiting();
    assert!(p50 <= p99 && p99 <= max && max > Duration::ZERO, "{p50:?} {p99:?} {max:?}");
    assert!(insights.workers().iter().all(|worker| worker.pid() != 0));
    assert!(insights.workers().iter().any(|worker| worker.cpu_time() > Duration::ZERO));
    assert!(insights.workers().iter().all(|worker| worker.peak_memory() > 100_000));
    let text = insights.to_string();
    for word in ["workers", "deviation", "share", "::nap", "run p99", "slowest inputs"] {
        assert!(text.contains(word), "no {word} in\n{text}");
    }
}

fn short_inputs_are_counted_too(method: StartMethod) {
    let pool = watched(method, 2);
    for _ in 0..3 {
        assert_eq!(pool.map(square, 0..50_000).unwrap().len(), 50_000);
    }
    assert_eq!(sum(&pool, |worker| worker.inputs()), 150_000);
    assert_eq!(sum(&pool, |worker| worker.input_bytes()), 150_000 * 8);
    assert_eq!(pool.insights().tasks()[0].inputs(), 150_000);
}

fn the_slowest_inputs_come_with_index_and_size(method: StartMethod) {
    let pool = watched(method, 2);
    let mut texts = vec!["short".to_owned(); 300];
    texts[217] = "a text of 23 characters".to_owned();
    pool.map(length, &texts).unwrap();
    let insights = pool.insights();
    let slowest = &insights.slowest()[0];
    let among = slowest.index()..slowest.index() + slowest.count() as usize;
    assert!(among.contains(&217), "{insights}");
    assert!(slowest.name().ends_with("::length"));
    assert!((5..=31).contains(&slowest.input_bytes()), "{}", slowest.input_bytes());
    assert!(slowest.took() >= NAP);
    assert!(insights.slowest().len() <= 5);
    assert!(insights.slowest().is_sorted_by_key(|slow| std::cmp::Reverse(slow.took())));
}

fn starts_and_initializers_are_timed(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2).initializer(slowly, ());
    let pool = builder.insights(true).build().unwrap();
    let insights = pool.insights();
    assert_eq!(insights.workers().len(), 2);
    for worker in insights.workers() {
        assert!(worker.start() > Duration::ZERO, "{worker:?}");
        // The caller learns of both ends a little late.
        assert!(worker.start() + worker.initialize() >= NAP, "{worker:?}");
    }
}

fn long_results_are_sent_and_not_run(method: StartMethod) {
    const LEN: usize = 4 << 20;
    let pool = watched(method, 1);
    for output in pool.map(bytes, vec![LEN; 4]).unwrap() {
        assert_eq!(output.len(), LEN);
    }
    let insights = pool.insights();
    let worker = &insights.workers()[0];
    assert!(worker.output_bytes() >= 4 * LEN as u64, "{worker:?}");
    assert!(worker.send() > Duration::ZERO, "{worker:?}");
}

fn failures_are_counted_by_function(method: StartMethod) {
    let pool = watched(method, 2);
    pool.map_all(odd, 0..20).into_iter().for_each(drop);
    let insights = pool.insights();
    let task = &insights.tasks()[0];
    assert_eq!((task.inputs(), task.failed()), (20, 10));
}

fn insights_outlive_the_pool(method: StartMethod) {
    let pool = watched(method, 2);
    pool.map(square, 0..100).unwrap();
    pool.join();
    assert_eq!(sum(&pool, |worker| worker.inputs()), 100);
    assert_eq!(sum(&pool, |worker| worker.deaths()), 0);
}

fn workers_that_replace_others_continue_their_entry(method: StartMethod) {
    let builder = Pool::builder().start_method(method).workers(2).max_tasks_per_worker(2);
    let pool = builder.insights(true).build().unwrap();
    pool.map(nap, vec![1; 12]).unwrap();
    let insights = pool.insights();
    assert_eq!(insights.workers().len(), 2);
    assert_eq!(sum(&pool, |worker| worker.inputs()), 12);
    assert_eq!(sum(&pool, |worker| worker.deaths()), 0, "{insights}");
}

fn cut_and_retried_calls_are_timed(method: StartMethod) {
    let pool = watched(method, 2);
    // The last inputs are slow, so that a chunk is cut.
    let times = (0..400).map(|at| u64::from(at > 380));
    pool.map(nap, times).unwrap();
    let mut handle = pool.map_async(nap, vec![1; 1000]);
    handle.cancel();
    pool.join();
    let inputs = pool.insights().tasks()[0].inputs();
    assert!((400..1400).contains(&inputs), "{inputs}");
}

fn a_killed_worker_is_told_with_its_signal(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let pool = watched(method, 1);
    let handle = pool.submit(until_file, folder.path().join("never"));
    let busy = || pool.workers().iter().any(|worker| worker.task().is_some());
    assert!(wait::until(Duration::from_secs(10), busy));
    let pid = pool.workers()[0].pid();
    processes::signal(pid, Signal::SIGKILL);
    assert_eq!(handle.wait().unwrap_err().kind(), ErrorKind::Signaled);
    pool.apply(square, 3).unwrap();
    let insights = pool.insights();
    let worker = &insights.workers()[0];
    assert_eq!(worker.deaths(), 1);
    assert_ne!(worker.pid(), pid);
    assert_eq!(worker.last_death(), Some("was killed by signal 9 (SIGKILL)"));
    assert!(worker.run() > Duration::ZERO);
    assert!(insights.warnings()[0].contains("SIGKILL"), "{insights}");
    let path = folder.path().join("timeline.svg");
    insights.write_timeline(&path).unwrap();
    assert!(fs::read_to_string(path).unwrap().contains("class=\"lost\""));
}

fn a_timeline_and_a_trace_are_written(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let pool = watched(method, 2);
    pool.map(nap, vec![1; 20]).unwrap();
    pool.map(square, 0..1000).unwrap();
    let insights = pool.insights();
    let (timeline, trace) = (folder.path().join("a.svg"), folder.path().join("a.pftrace"));
    insights.write_timeline(&timeline).unwrap();
    insights.write_trace(&trace).unwrap();
    let svg = fs::read_to_string(timeline).unwrap();
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    for word in ["worker 0", "worker 1", "::nap: 20 inputs", "class=\"c0\"", "class=\"start\""] {
        assert!(svg.contains(word), "no {word} in\n{svg}");
    }
    let trace = fs::read(trace).unwrap();
    let has = |text: &str| trace.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(has("worker 0") && has("worker 1") && has("::nap"));
}

fn json_has_all_numbers(method: StartMethod) {
    let pool = Pool::builder().start_method(method).workers(2).name("a \"pool\"").insights(true);
    let pool = pool.build().unwrap();
    pool.map(nap, vec![1; 10]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&pool.insights().to_json()).unwrap();
    assert_eq!(json["pool"], "a \"pool\"");
    assert_eq!(json["workers"].as_array().unwrap().len(), 2);
    assert_eq!(json["functions"][0]["inputs"], 10);
    assert!(json["functions"][0]["running"]["p99"].as_u64() >= Some(1_000_000));
    assert!(json["times"]["run"]["total"].as_u64() >= Some(10_000_000));
    let shares = json["times"].as_object().unwrap().values().map(|times| times["share"].as_f64());
    let whole: f64 = shares.map(Option::unwrap).sum();
    assert!((whole - 1.0).abs() < 1e-9, "{whole}");
    let off: serde_json::Value =
        serde_json::from_str(&self::pool(method, 1).insights().to_json()).unwrap();
    assert_eq!(off["insights"], false);
}

fn slow_inputs_are_warned_of(method: StartMethod) {
    let pool = watched(method, 2);
    let slowly = (0..20).inspect(|_| std::thread::sleep(NAP));
    pool.map(square, slowly).unwrap();
    let insights = pool.insights();
    let warned = |what: &str| insights.warnings().iter().any(|warning| warning.contains(what));
    assert!(warned("waited for inputs"), "{insights}");
}

fn short_chunks_are_warned_of(method: StartMethod) {
    let pool = watched(method, 2);
    pool.task(square).chunk_size(1).map(0..3000).unwrap();
    let insights = pool.insights();
    let warned = |what: &str| insights.warnings().iter().any(|warning| warning.contains(what));
    assert!(warned("chunks of `") && warned("chunk_size"), "{insights}");
}

fn a_path_that_cannot_be_written_is_named(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let pool = watched(method, 1);
    pool.apply(square, 3).unwrap();
    let path = folder.path().join("none").join("timeline.svg");
    assert_eq!(fs::File::create(&path).unwrap_err().kind(), IoErrorKind::NotFound);
    for error in [
        pool.insights().write_timeline(&path).unwrap_err(),
        pool.insights().write_trace(&path).unwrap_err(),
    ] {
        let text = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(text.contains("cannot be written to"), "{text}");
        assert!(text.contains(path.to_str().unwrap()) && text.contains("No such file"), "{text}");
    }
    assert_eq!(pool.apply(square, 3).unwrap(), 9);
}

/// The fields of a message in the encoding of protocol buffers: number, integer, bytes.
fn fields(mut bytes: &[u8]) -> Vec<(u64, u64, &[u8])> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in 0.. {
            let (first, rest) = bytes.split_first().expect("a number ends");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << (7 * shift);
            if first & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes);
        let (number, field): (u64, &[u8]) = match tag & 7 {
            0 => (varint(&mut bytes), &[]),
            1 => {
                let (word, rest) = bytes.split_at(8);
                bytes = rest;
                (u64::from_le_bytes(word.try_into().unwrap()), &[])
            }
            2 => {
                let len = varint(&mut bytes) as usize;
                let (field, rest) = bytes.split_at(len);
                bytes = rest;
                (0, field)
            }
            wire => panic!("wire type {wire}"),
        };
        fields.push((tag >> 3, number, field));
    }
    fields
}

fn the_trace_is_well_formed(method: StartMethod) {
    let folder = tempfile::tempdir().unwrap();
    let pool = watched(method, 2);
    pool.map(nap, vec![1; 30]).unwrap();
    let path = folder.path().join("pool.pftrace");
    pool.insights().write_trace(&path).unwrap();
    let trace = fs::read(&path).unwrap();
    let (mut tracks, mut events) = (Vec::new(), Vec::new());
    for (field, _, packet) in fields(&trace) {
        assert_eq!(field, 1, "a packet");
        let packet = fields(packet);
        let time = packet.iter().find(|(field, ..)| *field == 8).map(|(_, time, _)| *time);
        for (field, _, bytes) in packet {
            let get = |of: u64| fields(bytes).into_iter().find(|(at, ..)| *at == of);
            match field {
                60 => tracks.push(get(1).unwrap().1),
                11 => {
                    let flow = get(47).map(|(_, flow, _)| flow);
                    let kind = get(9).unwrap().1;
                    events.push((time.unwrap(), kind, get(11).unwrap().1, flow));
                }
                _ => {}
            }
        }
    }
    // Every slice that begins ends, on a track that was described, and no two of a track overlap.
    let mut open = std::collections::HashMap::new();
    let (mut slices, mut sent, mut received) = (0, Vec::new(), Vec::new());
    for (time, kind, track, flow) in events {
        assert!(tracks.contains(&track));
        match kind {
            1 => {
                assert_eq!(open.insert(track, time), None, "two slices at once");
                received.extend(flow);
                slices += 1;
            }
            2 => assert!(open.remove(&track).expect("it has begun") <= time),
            _ => sent.extend(flow),
        }
    }
    assert!(open.is_empty());
    assert!(slices >= 30, "{slices}");
    assert!(!sent.is_empty());
    assert_eq!(sent, received);
}
