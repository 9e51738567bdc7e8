//! The server, the agents and the programs of a round.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::network::{Network, Place};
use crate::sys;

/// The ports of the server and of its monitor. Nothing else runs in its namespace.
const PORT: u16 = 4222;
const MONITOR: u16 = 8222;

/// The library that makes the clock of a process wrong, where Debian installs it.
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

/// The workers of each agent.
pub(super) const WORKERS: usize = 2;

/// A process that is killed when this is dropped.
pub(super) struct Running(pub(super) Child);

impl Running {
    pub(super) fn signal(&self, signal: i32) {
        sys::kill(self.0.id(), signal);
    }

    /// Returns whether the process has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts processes whose output goes to files of a folder.
pub(super) struct Starter {
    pub(super) folder: PathBuf,
    /// This executable, and a copy of it that counts as another build.
    pub(super) programs: [PathBuf; 2],
}

impl Starter {
    pub(super) fn new() -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("procession-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let own = std::env::current_exe()?;
        let other = folder.join("other");
        std::fs::copy(&own, &other)?;
        let mut bytes = std::fs::read(&own)?;
        change_build_id(&mut bytes)
            .ok_or_else(|| io::Error::other("this executable has no build id"))?;
        std::fs::write(&other, bytes)?;
        Ok(Starter { folder, programs: [own, other] })
    }

    fn start(&self, mut command: Command, log: &str) -> io::Result<Running> {
        let path = self.folder.join(log);
        let log = File::options().create(true).append(true).open(path)?;
        command.stdin(Stdio::null()).stderr(log.try_clone()?);
        command.env("RUST_BACKTRACE", "0");
        Ok(Running(command.spawn()?))
    }

    /// Starts the server, and waits until it accepts connections.
    pub(super) fn server(&self, network: &Network) -> io::Result<Running> {
        let config = self.folder.join("server.conf");
        let store = self.folder.join("store");
        let text = format!(
            "listen: 0.0.0.0:{PORT}\nhttp: 127.0.0.1:{MONITOR}\nping_interval: \"2s\"\njetstream {{ store_dir: \"{}\" }}\n",
            store.display()
        );
        std::fs::write(&config, text)?;
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &network.hub(), "nats-server", "-c"]).arg(&config);
        command.stdout(Stdio::null());
        self.start(command, "server.log")
    }

    /// Removes what the server has stored.
    pub(super) fn lose_store(&self) {
        let _ = std::fs::remove_dir_all(self.folder.join("store"));
    }

    /// Starts an agent in a namespace, with a clock that is wrong by the given seconds.
    pub(super) fn agent(
        &self,
        network: &Network,
        place: Place,
        program: usize,
        skew: i64,
    ) -> io::Result<Running> {
        let mut command = self.on_host(network, place, program);
        command
            .env("PROCESSION_AGENT", url(network, place))
            .env("PROCESSION_WORKERS", WORKERS.to_string())
            .env("PROCESSION_HOST_TIMEOUT", "2")
            .stdout(Stdio::null());
        if skew != 0 {
            command.env("LD_PRELOAD", FAKETIME).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.env("FAKETIME", format!("{skew:+}s"));
        }
        self.start(command, "agents.log")
    }

    /// Starts a program, whose counts are read from its output.
    pub(super) fn program(
        &self,
        network: &Network,
        program: usize,
        words: &[String],
    ) -> io::Result<Running> {
        let mut command = self.on_host(network, Place::Program, program);
        command.arg("cluster-load").arg(url(network, Place::Program)).args(words);
        command.stdout(Stdio::piped());
        self.start(command, "programs.log")
    }

    /// Returns a command that executes a program in a namespace, with the name of its host.
    fn on_host(&self, network: &Network, place: Place, program: usize) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &network.namespace(place), "unshare", "--uts", "sh", "-c"]);
        command.args(["hostname \"$0\"; exec \"$@\"", place.name()]);
        command.arg(&self.programs[program]);
        command
    }

    /// Returns the number of messages that the server stores, and of those that agents have or can get; `None` if it does
    /// not answer.
    pub(super) fn queued(&self, network: &Network) -> Option<(u64, u64)> {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &network.hub()]).arg(&self.programs[0]);
        let output = command.arg("cluster-queue").stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let (stored, open) = text.trim().split_once(' ')?;
        Some((stored.parse().ok()?, open.parse().ok()?))
    }
}

/// Whether the clock of an agent can be made wrong.
pub(super) fn has_faketime() -> bool {
    Path::new(FAKETIME).exists()
}

fn url(network: &Network, place: Place) -> String {
    format!("nats://{}:{PORT}", network.server_for(place))
}

/// Changes the build id of an executable.
fn change_build_id(bytes: &mut [u8]) -> Option<()> {
    // The head of the note: the lengths of its name and of the id, its type, and its name.
    let head = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0];
    let at = bytes.windows(head.len()).position(|window| window == head)?;
    bytes[at + head.len()] ^= 1;
    Some(())
}

/// Returns the numbers of all members of a JSON text with the given name.
fn numbers<'a>(text: &'a str, name: &str) -> impl Iterator<Item = u64> + use<'a> {
    let parts: Vec<&str> = text.split(&format!("\"{name}\":")).skip(1).collect();
    parts.into_iter().filter_map(|rest| {
        let rest = rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

/// Prints the number of messages that the server of this namespace stores, and of those that agents have or can get.
pub(crate) fn ask_queue() -> bool {
    let ask = || -> io::Result<[u64; 2]> {
        let mut stream = TcpStream::connect(("127.0.0.1", MONITOR))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /jsz?streams=1&consumers=1 HTTP/1.0\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        // The first one is the sum of all streams.
        let stored = numbers(&text, "messages").next();
        let stored = stored.ok_or_else(|| io::Error::other("the monitor says nothing"))?;
        let open = numbers(&text, "num_pending").chain(numbers(&text, "num_ack_pending"));
        Ok([stored, open.sum()])
    };
    match ask() {
        Ok([stored, open]) => {
            println!("{stored} {open}");
            true
        }
        Err(_) => false,
    }
}
