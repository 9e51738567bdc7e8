//! The latency of single calls, each made after the result of the previous one.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use runtime::{Pool, Result, StartMethod};

use crate::measure::{Plan, Samples, Table, quantile, ratio, time};
use crate::tasks::square;

type Call<'a> = (String, Box<dyn Fn(usize) -> Vec<f64> + 'a>);

/// Seconds of each of many calls.
fn each(count: usize, mut call: impl FnMut(u64)) -> Vec<f64> {
    let timed = |i| {
        let start = Instant::now();
        call(i);
        start.elapsed().as_secs_f64()
    };
    (0..count as u64).map(timed).collect()
}

/// A word that goes to a thread and back; both look at it all the time, or sleep.
fn ping_pong(count: usize, sleep: bool) -> Vec<f64> {
    let (ping, pong) = (AtomicU64::new(0), AtomicU64::new(0));
    let caller = thread::current();
    let wait = |word: &AtomicU64, value: u64| {
        while word.load(Ordering::Acquire) != value {
            if sleep { thread::park() } else { spin_loop() }
        }
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            for i in 1..=count as u64 {
                wait(&ping, i);
                pong.store(i, Ordering::Release);
                if sleep {
                    caller.unpark();
                }
            }
        });
        each(count, |i| {
            ping.store(i + 1, Ordering::Release);
            if sleep {
                other.thread().unpark();
            }
            wait(&pong, i + 1);
        })
    })
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let methods = [StartMethod::ForkServer, StartMethod::Thread];
    let pools: Vec<Pool> = methods
        .into_iter()
        .map(|method| crate::warm(Pool::builder().workers(2).start_method(method).build()?))
        .collect::<Result<_>>()?;
    let mut calls: Vec<Call<'_>> = vec![
        ("word to a thread, spinning".to_owned(), Box::new(|count| ping_pong(count, false))),
        ("word to a thread, sleeping".to_owned(), Box::new(|count| ping_pong(count, true))),
    ];
    for (pool, method) in pools.iter().zip(methods) {
        let apply = |i| assert_eq!(pool.apply(square, i).expect("a square"), i * i);
        let submit = |i| assert_eq!(pool.submit(square, i).wait().expect("a square"), i * i);
        let one = |i| assert_eq!(pool.map(square, [i]).expect("a square"), [i * i]);
        calls.push((format!("{method}, apply"), Box::new(move |count| each(count, apply))));
        calls
            .push((format!("{method}, submit + wait"), Box::new(move |count| each(count, submit))));
        calls.push((format!("{method}, map of one"), Box::new(move |count| each(count, one))));
    }
    let count = plan.pick(200, 2000);
    let shares = [0.5, 0.99];
    let mut samples = shares.map(|_| Samples::new(calls.len()));
    for round in 0..=plan.rounds {
        for (at, (_, call)) in calls.iter().enumerate() {
            let times = call(count);
            for (samples, share) in samples.iter_mut().zip(shares).filter(|_| round > 0) {
                samples.push(at, quantile(times.clone(), share));
            }
        }
    }
    let mut table =
        Table::new(&["one at a time", "p50", "p99", "p50 of spinning", "p50 of sleeping"]);
    for (at, (name, _)) in calls.iter().enumerate() {
        table.row([
            name.clone(),
            time(samples[0].median(at)),
            time(samples[1].median(at)),
            ratio(samples[0].ratio(at, 0)),
            ratio(samples[0].ratio(at, 1)),
        ]);
    }
    table.print("latency", &format!("{count} calls, 2 workers"));
    Ok(())
}
