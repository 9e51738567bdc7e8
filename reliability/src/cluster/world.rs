//! The hosts of all rounds, and the course of a round.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use super::load::LoadCounts;
use super::network::{Network, Place};
use super::plan::{Fault, Plan};
use super::processes::{Running, Starter, has_faketime};

/// The maximum time of a round.
const LIMIT: Duration = Duration::from_secs(180);

/// The time after which an agent that has ended is started again.
const RESTART: Duration = Duration::from_millis(300);

/// The maximum time until the queue is empty after a round.
const EMPTY: Duration = Duration::from_secs(60);

/// The place of an agent that is started again whenever it ends.
struct AgentSlot {
    place: Place,
    /// The index of its executable.
    program: usize,
    running: Option<Running>,
    /// The moment at which it is started; `None` as long as it must not run.
    due: Option<Instant>,
    skew: i64,
}

pub(super) struct World {
    starter: Starter,
    network: Network,
    server: Option<Running>,
    agents: Vec<AgentSlot>,
}

/// A program, and what it has printed when it has ended.
struct Program {
    running: Running,
    index: usize,
    words: Vec<String>,
}

impl World {
    pub(super) fn new() -> io::Result<Self> {
        let (starter, network) = (Starter::new()?, Network::new()?);
        let mut world = World { starter, network, server: None, agents: Vec::new() };
        world.renew();
        Ok(world)
    }

    pub(super) fn folder(&self) -> String {
        self.starter.folder.display().to_string()
    }

    /// Replaces all processes, and restores all links.
    pub(super) fn renew(&mut self) {
        self.agents.clear();
        self.server = None;
        self.starter.lose_store();
        for place in Place::ALL {
            self.network.set_link(place, true);
        }
        self.server = self.starter.server(&self.network).ok();
        for place in [Place::HostA, Place::HostB] {
            self.add_agent(place, 0);
        }
    }

    pub(super) fn end(mut self, is_good: bool) {
        self.agents.clear();
        self.server = None;
        if is_good {
            let _ = std::fs::remove_dir_all(&self.starter.folder);
        }
    }

    fn add_agent(&mut self, place: Place, program: usize) {
        let due = Some(Instant::now());
        self.agents.push(AgentSlot { place, program, running: None, due, skew: 0 });
    }

    /// Starts the agents that are due, and sees which have ended.
    fn watch_agents(&mut self) {
        for slot in &mut self.agents {
            if slot.running.as_mut().is_some_and(Running::has_ended) {
                slot.running = None;
                slot.due = Some(Instant::now() + RESTART);
            }
            if slot.running.is_none() && slot.due.is_some_and(|due| due <= Instant::now()) {
                let (starter, network) = (&self.starter, &self.network);
                slot.running = starter.agent(network, slot.place, slot.program, slot.skew).ok();
            }
        }
    }

    fn agents_at(&self, place: Place) -> impl Iterator<Item = &Running> {
        let there = self.agents.iter().filter(move |slot| slot.place == place);
        there.filter_map(|slot| slot.running.as_ref())
    }

    fn signal_agents(&self, place: Place, signal: i32) {
        self.agents_at(place).for_each(|agent| agent.signal(signal));
    }

    fn start_program(&self, index: usize, words: Vec<String>) -> io::Result<Program> {
        let running = self.starter.program(&self.network, index, &words)?;
        Ok(Program { running, index, words })
    }

    /// Runs the load with the faults of a plan.
    pub(super) fn round(&mut self, plan: &Plan) -> Result<LoadCounts, String> {
        self.prepare(plan);
        let words = |seed: u64, poison: bool| vec![seed.to_string(), u64::from(poison).to_string()];
        let failed = |error: io::Error| error.to_string();
        let first = self.start_program(0, words(plan.seed, plan.has_poison)).map_err(failed)?;
        let mut programs = vec![first];
        if plan.has_other_build {
            programs.push(self.start_program(1, words(plan.seed + 1, false)).map_err(failed)?);
        }
        let (begun, mut next) = (Instant::now(), 0);
        while next < plan.faults.len() || programs.iter_mut().any(|one| !one.running.has_ended()) {
            if begun.elapsed() > LIMIT {
                return Err(format!("the program has not ended after {LIMIT:?}"));
            }
            self.watch_agents();
            while let Some((at, fault)) = plan.faults.get(next)
                && *at <= begun.elapsed()
            {
                self.strike(*fault, &mut programs).map_err(failed)?;
                next += 1;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut total = LoadCounts::default();
        for Program { running, index, .. } in &mut programs {
            let mut text = String::new();
            let output = running.0.stdout.as_mut().ok_or("it has no output")?;
            output.read_to_string(&mut text).map_err(|error| error.to_string())?;
            let counts = LoadCounts::read(&text).ok_or_else(|| {
                format!("program {index} has ended without counts: {}", text.trim())
            })?;
            total.add(&counts);
        }
        drop(programs);
        self.until_empty(plan.may_leave_messages())?;
        Ok(total)
    }

    /// Starts what a round begins with.
    fn prepare(&mut self, plan: &Plan) {
        self.agents.retain(|slot| slot.program == 0);
        if plan.has_other_build {
            self.add_agent(Place::HostA, 1);
        }
        for slot in &mut self.agents {
            let skew = plan.skew.filter(|(place, _)| *place == slot.place && has_faketime());
            let skew = skew.map_or(0, |(_, seconds)| seconds);
            let is_late = plan.late == Some(slot.place) && slot.program == 0;
            if skew != slot.skew || is_late {
                slot.running = None;
            }
            (slot.skew, slot.due) = (skew, (!is_late).then(Instant::now));
        }
        self.watch_agents();
    }

    fn strike(&mut self, fault: Fault, programs: &mut [Program]) -> io::Result<()> {
        match fault {
            Fault::KillAgent(place) => self.signal_agents(place, libc::SIGKILL),
            Fault::EndAgent(place) => self.signal_agents(place, libc::SIGTERM),
            Fault::StopAgent(place) => self.signal_agents(place, libc::SIGSTOP),
            Fault::ContinueAgent(place) => self.signal_agents(place, libc::SIGCONT),
            Fault::KillHost(place) => {
                // An agent that sees its workers end would report them.
                self.signal_agents(place, libc::SIGKILL);
                let namespace = self.network.namespace(place);
                let output = std::process::Command::new("ip")
                    .args(["netns", "pids", &namespace])
                    .output()?;
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let pids = text.lines().filter_map(|line| line.trim().parse().ok());
                pids.for_each(|pid| crate::sys::kill(pid, libc::SIGKILL));
            }
            Fault::CutLink(place) => self.network.set_link(place, false),
            Fault::RestoreLink(place) => self.network.set_link(place, true),
            Fault::KillServer => self.server = None,
            Fault::LoseServer => {
                self.server = None;
                self.starter.lose_store();
            }
            Fault::StartServer => self.server = Some(self.starter.server(&self.network)?),
            Fault::StopServer | Fault::ContinueServer => {
                let signal = if fault == Fault::StopServer { libc::SIGSTOP } else { libc::SIGCONT };
                self.server.iter().for_each(|server| server.signal(signal));
            }
            Fault::KillProgram => {
                if let Some(program) = programs.first_mut() {
                    program.running.signal(libc::SIGKILL);
                    *program = self.start_program(program.index, program.words.clone())?;
                }
            }
            Fault::StartAgent(place) => {
                for slot in self.agents.iter_mut().filter(|slot| slot.place == place) {
                    slot.due = slot.due.or(Some(Instant::now()));
                }
            }
        }
        Ok(())
    }

    /// Waits until the server stores nothing, or at least nothing that agents could run. The chunks of a killed program are
    /// dropped by the agents.
    fn until_empty(&mut self, may_leave_messages: bool) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            self.watch_agents();
            match self.starter.queued(&self.network) {
                Some((0, 0)) => return Ok(()),
                Some((_, 0)) if may_leave_messages => return Ok(()),
                left if begun.elapsed() > EMPTY => {
                    return Err(format!("after {EMPTY:?}, the server still has {left:?} messages"));
                }
                _ => std::thread::sleep(Duration::from_millis(200)),
            }
        }
    }
}
