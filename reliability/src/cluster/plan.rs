//! The faults of a round, which its seed draws.

use std::fmt;
use std::time::Duration;

use super::network::Place;
use crate::random::Random;

/// A fault at a moment of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    KillAgent(Place),
    /// SIGTERM, so that the agent finishes its tasks.
    EndAgent(Place),
    StopAgent(Place),
    ContinueAgent(Place),
    /// Kills all processes of a host.
    KillHost(Place),
    CutLink(Place),
    RestoreLink(Place),
    KillServer,
    /// Kills the server, and removes all that it has stored.
    LoseServer,
    StartServer,
    StopServer,
    ContinueServer,
    /// Kills the program. Another run of it begins.
    KillProgram,
    /// Starts the agent that was not there at the beginning.
    StartAgent(Place),
}

/// What happens in a round.
pub(super) struct Plan {
    pub(super) seed: u64,
    /// The faults, in the order of their moments.
    pub(super) faults: Vec<(Duration, Fault)>,
    /// The host whose agent starts late.
    pub(super) late: Option<Place>,
    /// The host whose clock is wrong, and by how many seconds.
    pub(super) skew: Option<(Place, i64)>,
    /// Whether an input ends every agent that runs it.
    pub(super) has_poison: bool,
    /// Whether another build of the program and its agent run at the same time.
    pub(super) has_other_build: bool,
}

/// The time in which faults begin.
const BEGIN: u64 = 4_500;

impl Plan {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let hosts = [Place::HostA, Place::HostB];
        let mut faults = Vec::new();
        let late = (random.below(4) == 0).then_some(hosts[random.below(2)]);
        if let Some(late) = late {
            let at = 500 + random.next() % 3_000;
            faults.push((Duration::from_millis(at), Fault::StartAgent(late)));
        }
        let (mut has_server_fault, mut has_killed_program) = (false, false);
        for _ in 0..1 + random.below(4) {
            let at = Duration::from_millis(300 + random.next() % BEGIN);
            let until = at + Duration::from_millis(200 + random.next() % 4_500);
            let host = hosts[random.below(2)];
            let place = Place::ALL[random.below(3)];
            match random.below(12) {
                0 | 1 => faults.push((at, Fault::KillAgent(host))),
                2 => faults.push((at, Fault::EndAgent(host))),
                3 | 4 => {
                    faults.push((at, Fault::StopAgent(host)));
                    faults.push((until, Fault::ContinueAgent(host)));
                }
                5 => faults.push((at, Fault::KillHost(host))),
                6 | 7 => {
                    faults.push((at, Fault::CutLink(place)));
                    faults.push((until, Fault::RestoreLink(place)));
                }
                8..=10 if !has_server_fault => {
                    has_server_fault = true;
                    let (begin, end) = match random.below(3) {
                        0 => (Fault::KillServer, Fault::StartServer),
                        1 => (Fault::LoseServer, Fault::StartServer),
                        _ => (Fault::StopServer, Fault::ContinueServer),
                    };
                    faults.push((at, begin));
                    faults.push((until, end));
                }
                11 if !has_killed_program => {
                    has_killed_program = true;
                    faults.push((at, Fault::KillProgram));
                }
                _ => faults.push((at, Fault::KillAgent(host))),
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        let hour = [3_600, -3_600][random.below(2)];
        Plan {
            seed,
            faults,
            late,
            skew: (random.below(3) == 0).then_some((hosts[random.below(2)], hour)),
            has_poison: random.below(3) == 0,
            has_other_build: random.below(4) == 0,
        }
    }
}

impl Plan {
    /// Returns whether the server may have messages afterwards. One that is killed may have chunks again that were
    /// acknowledged. Their program removes them when it ends, unless it is killed as well.
    pub(super) fn may_leave_messages(&self) -> bool {
        let has = |fault| self.faults.iter().any(|(_, other)| *other == fault);
        has(Fault::KillServer) && has(Fault::KillProgram)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, (at, fault)) in self.faults.iter().enumerate() {
            let comma = if nth > 0 { ", " } else { "" };
            write!(f, "{comma}{fault:?} {:.1}", at.as_secs_f64())?;
        }
        if let Some((place, seconds)) = self.skew {
            write!(f, ", clock of {place:?} {seconds:+} s")?;
        }
        let poison = if self.has_poison { ", poison" } else { "" };
        let other = if self.has_other_build { ", another build" } else { "" };
        write!(f, "{poison}{other}")
    }
}
