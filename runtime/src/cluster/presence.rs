//! What agents say of themselves, as text that every build understands (rule J1).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// The subject on which programs ask for agents.
pub(crate) const PRESENCE_SUBJECT: &str = "procession.presence";

/// The first line of the text.
const TITLE: &str = "procession agent 1";

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Presence {
    pub(crate) host: String,
    pub(crate) pid: u32,
    /// The word that identifies the agent in subjects; empty for builds without it.
    pub(crate) id: String,
    /// The seconds after which the agent counts as lost if it reports nothing.
    pub(crate) timeout: u64,
    /// The number of its workers; 0 while it ends.
    pub(crate) workers: usize,
    pub(crate) build: String,
    /// The name of the executable.
    pub(crate) program: String,
}

impl Presence {
    pub(crate) fn to_text(&self) -> String {
        let Presence { host, pid, id, timeout, workers, build, program } = self;
        let line = |text: &str| text.replace(['\n', '\r'], " ");
        let (host, program) = (line(host), line(program));
        format!(
            "{TITLE}\nhost={host}\npid={pid}\nid={id}\ntimeout={timeout}\nworkers={workers}\nbuild={build}\n\
             program={program}\n"
        )
    }

    /// Reads the text of an agent. Lines that are not known are ignored.
    pub(crate) fn read(text: &[u8]) -> Option<Self> {
        /// The maximum length of a text.
        const MOST: usize = 4096;
        let text = std::str::from_utf8(text.get(..text.len().min(MOST))?).ok()?;
        let mut lines = text.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let fields: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
        Some(Presence {
            host: (*fields.get("host")?).to_owned(),
            pid: fields.get("pid")?.parse().ok()?,
            id: fields
                .get("id")
                .filter(|id| is_word(id))
                .map_or_else(String::new, |id| (*id).to_owned()),
            timeout: fields.get("timeout").and_then(|text| text.parse().ok()).unwrap_or(15),
            workers: fields.get("workers")?.parse().ok()?,
            build: (*fields.get("build")?).to_owned(),
            program: (*fields.get("program")?).to_owned(),
        })
    }
}

/// Returns whether a text can be a part of a subject.
fn is_word(text: &str) -> bool {
    text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The agents that have answered a program.
pub(super) struct Agents {
    build: String,
    seen: BTreeMap<(String, u32), (Presence, Instant)>,
}

/// The time after which an agent that does not answer is not counted any more.
const FORGOTTEN: Duration = Duration::from_secs(30);

impl Agents {
    pub(super) fn new(build: String) -> Self {
        Agents { build, seen: BTreeMap::new() }
    }

    pub(super) fn note(&mut self, presence: Presence) {
        let key = (presence.host.clone(), presence.pid);
        self.seen.insert(key, (presence, Instant::now()));
    }

    fn ours(&self) -> impl Iterator<Item = &(Presence, Instant)> {
        self.seen.values().filter(|(presence, _)| presence.build == self.build)
    }

    /// Returns the number of workers of the agents of this build.
    pub(super) fn workers(&self) -> usize {
        let present = self.ours().filter(|(_, at)| at.elapsed() < FORGOTTEN);
        present.map(|(presence, _)| presence.workers).sum()
    }

    /// Returns the agents of this build that have answered lately and have workers, in the order of their hosts.
    pub(super) fn present(&self) -> Vec<Presence> {
        let present = self.ours().filter(|(presence, at)| {
            at.elapsed() < FORGOTTEN && presence.workers > 0 && !presence.id.is_empty()
        });
        present.map(|(presence, _)| presence.clone()).collect()
    }

    /// Returns the time at which an agent of this build has last answered.
    pub(super) fn last_seen(&self) -> Option<Instant> {
        self.ours().map(|(_, at)| *at).max()
    }

    /// Describes the agents, for an error.
    pub(super) fn summary(&self) -> String {
        /// The maximum number of agents that an error names.
        const NAMED: usize = 5;
        let list = |of: &dyn Fn(&Presence) -> bool| {
            let all: Vec<String> = self
                .seen
                .values()
                .filter(|(presence, _)| of(presence))
                .map(|(presence, _)| {
                    let Presence { host, pid, workers, program, .. } = presence;
                    format!("`{host}` (pid {pid}, program `{program}`, {workers} workers)")
                })
                .collect();
            let more = match all.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("{}{more}", all[..all.len().min(NAMED)].join(", "))
        };
        let ours = list(&|presence| presence.build == self.build);
        let others = list(&|presence| presence.build != self.build);
        match (ours.is_empty(), others.is_empty()) {
            (true, true) => "no agent answered".to_owned(),
            (true, false) => format!(
                "the agents that answered run another build of the program, or another program: {others}"
            ),
            (false, true) => format!("these agents answered: {ours}"),
            (false, false) => format!(
                "these agents answered: {ours}; these run another build of the program, or another program: {others}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn presence(pid: u32, build: &str) -> Presence {
        let (host, program) = ("h\n1".to_owned(), "p=q".to_owned());
        let (id, build) = (format!("a{pid}"), build.to_owned());
        Presence { host, pid, id, timeout: 15, workers: 3, build, program }
    }

    #[test]
    fn a_text_is_read_as_written() {
        let read = Presence::read(presence(7, "b").to_text().as_bytes()).expect("valid");
        assert_eq!(read, Presence { host: "h 1".to_owned(), ..presence(7, "b") });
        assert_eq!(Presence::read(b"procession agent 2\nhost=a\n"), None);
        assert_eq!(Presence::read(b"procession agent 1\nhost=a\n"), None);
        assert_eq!(Presence::read(&[0xff; 10_000]), None);
        let wild = Presence { id: "a.>".to_owned(), ..presence(7, "b") };
        assert_eq!(Presence::read(wild.to_text().as_bytes()).expect("valid").id, "");
    }

    #[test]
    fn only_agents_of_the_build_count() {
        let mut agents = Agents::new("b".to_owned());
        assert!(agents.summary().contains("no agent answered"));
        agents.note(presence(1, "c"));
        assert_eq!((agents.workers(), agents.last_seen()), (0, None));
        assert!(agents.summary().contains("another build") && agents.summary().contains("pid 1"));
        agents.note(presence(2, "b"));
        agents.note(presence(2, "b"));
        agents.note(presence(3, "b"));
        assert_eq!(agents.workers(), 6);
        let present = |agents: &Agents| -> Vec<u32> {
            agents.present().iter().map(|agent| agent.pid).collect()
        };
        assert_eq!(present(&agents), [2, 3]);
        agents.note(Presence { workers: 0, ..presence(2, "b") });
        assert_eq!((present(&agents), agents.workers()), (vec![3], 3));
        assert!(agents.last_seen().is_some());
    }
}
