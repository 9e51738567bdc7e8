//! Channels of `ipc-channel`.

use std::process::Command;
use std::time::Instant;

use ipc_channel::ipc::{self, IpcOneShotServer, IpcReceiver, IpcSender};
use serde::{Deserialize, Serialize};

use super::PEER;
use super::contender::{Contender, Figures, LARGE, Round, percentiles};

pub(crate) struct Ipc;

/// What the peer does.
#[derive(Serialize, Deserialize)]
enum Job {
    Stream(IpcSender<u64>, u64),
    Large(IpcSender<Vec<u8>>, u64),
    Echo(IpcReceiver<Option<u64>>, IpcSender<u64>),
    End,
}

/// Does what the process that started it asks for.
pub(crate) fn peer(name: &str) -> Result<(), Box<dyn std::error::Error>> {
    let server = IpcSender::connect(name.to_owned())?;
    let (jobs, own) = ipc::channel::<Job>()?;
    server.send(jobs)?;
    loop {
        match own.recv()? {
            Job::Stream(to, count) => (0..count).try_for_each(|n| to.send(n))?,
            Job::Large(to, count) => {
                (0..count).try_for_each(|n| to.send(vec![n as u8; LARGE]))?;
            }
            Job::Echo(from, to) => {
                while let Some(n) = from.recv()? {
                    to.send(n)?;
                }
            }
            Job::End => return Ok(()),
        }
    }
}

impl Contender for Ipc {
    fn name(&self) -> String {
        "ipc-channel 0.22".to_owned()
    }

    fn run(&self, round: &Round) -> Result<Figures, Box<dyn std::error::Error>> {
        let (server, name) = IpcOneShotServer::<IpcSender<Job>>::new()?;
        let mut child = Command::new(std::env::current_exe()?).args([PEER, &name]).spawn()?;
        let (_, jobs) = server.accept()?;

        let (sender, receiver) = ipc::channel()?;
        jobs.send(Job::Stream(sender, round.messages + 1))?;
        receiver.recv()?;
        let begun = Instant::now();
        let mut sum = 0;
        for _ in 0..round.messages {
            sum += receiver.recv()?;
        }
        let one_way = begun.elapsed().as_secs_f64() / round.messages as f64;
        assert_eq!(sum, round.messages * (round.messages + 1) / 2);

        let (sender, requests) = ipc::channel()?;
        let (answers, receiver) = ipc::channel()?;
        jobs.send(Job::Echo(requests, answers))?;
        let mut times = Vec::new();
        for n in 0..round.trips + 100 {
            let begun = Instant::now();
            sender.send(Some(n))?;
            assert_eq!(receiver.recv()?, n);
            if n >= 100 {
                times.push(begun.elapsed().as_secs_f64());
            }
        }
        sender.send(None)?;
        let (trip, trip_p99) = percentiles(times);

        let (sender, receiver) = ipc::channel()?;
        jobs.send(Job::Large(sender, round.large + 1))?;
        receiver.recv()?;
        let begun = Instant::now();
        for _ in 0..round.large {
            assert_eq!(receiver.recv()?.len(), LARGE);
        }
        let large = begun.elapsed().as_secs_f64() / round.large as f64;
        jobs.send(Job::End)?;
        child.wait()?;
        Ok(Figures { one_way, trip, trip_p99, large })
    }
}
