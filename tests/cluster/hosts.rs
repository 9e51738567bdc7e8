//! A server and agents of a test, which end with it.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use procession_tests::wait;
use runtime::{Pool, PoolBuilder};
use tempfile::TempDir;

/// The seconds after which an agent that reports nothing counts as lost.
pub(crate) const HOST_TIMEOUT: u64 = 2;

/// Ends the test as skipped if there is no server to test with.
pub(crate) fn is_skipped() -> bool {
    let found = Command::new("nats-server").arg("--version").stdout(Stdio::null()).status();
    let is_missing = found.is_err();
    if is_missing {
        println!("skipped: nats-server is not installed, so that NOTHING of the cluster is tested");
    }
    is_missing
}

/// A process that is killed when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).expect("the process is there");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // This also ends a process that is stopped.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server on a free port of this host, with JetStream in a temporary folder.
pub(crate) struct Server {
    process: Option<Running>,
    address: String,
    folder: TempDir,
    arguments: Vec<String>,
    /// Variables for the agents.
    pub(crate) env: Vec<(&'static str, String)>,
    /// The scheme of its address.
    pub(crate) scheme: &'static str,
}

impl Server {
    pub(crate) fn start() -> Self {
        Server::with(&[])
    }

    /// Starts a server with further lines in its configuration.
    pub(crate) fn with(lines: &[&str]) -> Self {
        Server::on("127.0.0.1", lines)
    }

    /// Starts a server that stores at most the given number of bytes.
    pub(crate) fn full(bytes: u64) -> Self {
        Server::new("127.0.0.1", &[], &format!(", max_file_store: {bytes}"))
    }

    /// Starts a server that listens on the given address of this host.
    pub(crate) fn on(host: &str, lines: &[&str]) -> Self {
        Server::new(host, lines, "")
    }

    fn new(host: &str, lines: &[&str], limit: &str) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_port();
        let config = folder.path().join("server.conf");
        let store = folder.path().join("store");
        let address = format!("{host}:{port}");
        let mut text = format!("listen: {address}\n");
        if !lines.contains(&"no JetStream") {
            text.push_str(&format!("jetstream {{ store_dir: \"{}\"{limit} }}\n", store.display()));
        }
        for line in lines.iter().filter(|line| **line != "no JetStream") {
            text.push_str(line);
            text.push('\n');
        }
        std::fs::write(&config, text).expect("the configuration can be written");
        let arguments = vec!["-c".to_owned(), config.display().to_string()];
        let mut server =
            Server { process: None, address, folder, arguments, env: Vec::new(), scheme: "nats" };
        server.start_again();
        server
    }

    /// Starts the server that was killed, on the same port and with the same folder.
    pub(crate) fn start_again(&mut self) {
        let output = self.file("server.log");
        let process = Command::new("nats-server")
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("nats-server starts");
        self.process = Some(Running(process));
        wait::for_it("the server listens", || TcpStream::connect(&self.address).is_ok());
    }

    pub(crate) fn kill(&mut self) {
        self.process = None;
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self, name: &str) -> File {
        let path = self.folder.path().join(name);
        File::options().create(true).append(true).open(path).expect("a file for the output")
    }

    /// Starts an agent with the given number of workers.
    pub(crate) fn agent(&self, workers: usize) -> Running {
        self.agent_of(&std::env::current_exe().expect("this program has a path"), workers)
    }

    /// Starts an agent that is an execution of the given program.
    pub(crate) fn agent_of(&self, program: &Path, workers: usize) -> Running {
        self.agent_by(Command::new("env"), program, workers)
    }

    /// Starts an agent by a command that executes what follows its arguments.
    pub(crate) fn agent_by(&self, mut by: Command, program: &Path, workers: usize) -> Running {
        let output = self.file("agents.log");
        let process = by
            .arg(program)
            .env("PROCESSION_AGENT", self.url())
            .env("PROCESSION_WORKERS", workers.to_string())
            .env("PROCESSION_HOST_TIMEOUT", HOST_TIMEOUT.to_string())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env_remove("PROCESSION_TESTS_ONE")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a second handle"))
            .stderr(output)
            .spawn()
            .expect("the agent starts");
        Running(process)
    }

    /// Returns what the agents have written.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("agents.log")).unwrap_or_default()
    }

    /// Returns a builder of a pool that uses the agents.
    pub(crate) fn builder(&self) -> PoolBuilder {
        Pool::builder().cluster(self.url())
    }

    /// Returns a pool as soon as agents have the given number of workers.
    pub(crate) fn pool(&self, workers: usize) -> Pool {
        self.builder().workers(workers).build().unwrap_or_else(|error| {
            panic!("the pool starts: {error:?}\nagents: {}", self.said());
        })
    }
}

/// Returns a port on which nobody listens now.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}
