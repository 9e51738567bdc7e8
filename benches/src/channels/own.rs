//! Channels of this project.

use std::time::Instant;

use runtime::{Process, Receiver, Sender, worker};

use super::contender::{CAPACITY, Contender, Figures, LARGE, Round, percentiles};

pub(crate) struct Own;

#[worker]
fn stream(to: Sender<u64>, count: u64) {
    (0..count).for_each(|n| to.send(n).expect("it is received"));
}

#[worker]
fn stream_large(to: Sender<Vec<u8>>, count: u64) {
    (0..count).for_each(|n| to.send(vec![n as u8; LARGE]).expect("it is received"));
}

#[worker]
fn echo(from: Receiver<u64>, to: Sender<u64>) {
    from.iter().for_each(|n| to.send(n).expect("it is received"));
}

impl Contender for Own {
    fn name(&self) -> String {
        format!("procession {}", env!("CARGO_PKG_VERSION"))
    }

    fn run(&self, round: &Round) -> Result<Figures, Box<dyn std::error::Error>> {
        let (sender, receiver) = runtime::channel(CAPACITY)?;
        let child = Process::spawn(stream, (sender, round.messages + 1))?;
        receiver.recv()?;
        let begun = Instant::now();
        let sum: u64 = receiver.iter().sum();
        let one_way = begun.elapsed().as_secs_f64() / round.messages as f64;
        assert_eq!(sum, round.messages * (round.messages + 1) / 2);
        child.join()?;

        let (sender, requests) = runtime::channel(CAPACITY)?;
        let (answers, receiver) = runtime::channel(CAPACITY)?;
        let child = Process::spawn(echo, (requests, answers))?;
        let mut times = Vec::new();
        for n in 0..round.trips + 100 {
            let begun = Instant::now();
            sender.send(n)?;
            assert_eq!(receiver.recv()?, n);
            if n >= 100 {
                times.push(begun.elapsed().as_secs_f64());
            }
        }
        drop(sender);
        child.join()?;
        let (trip, trip_p99) = percentiles(times);

        let (sender, receiver) = runtime::channel(8)?;
        let child = Process::spawn(stream_large, (sender, round.large + 1))?;
        receiver.recv()?;
        let begun = Instant::now();
        assert!(receiver.iter().all(|bytes| bytes.len() == LARGE));
        let large = begun.elapsed().as_secs_f64() / round.large as f64;
        child.join()?;
        Ok(Figures { one_way, trip, trip_p99, large })
    }
}
