//! The process pools of Python, each in an interpreter that takes jobs on its standard input.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::contender::{CALLS, Contender, LONG_CALLS, STRING_CALLS, Size, Work};

pub(crate) const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/python");

/// An interpreter with what is compared installed.
pub(crate) struct Environment {
    python: PathBuf,
    pub(crate) versions: String,
}

impl Environment {
    /// Makes a virtual environment, or finds it from the last time.
    pub(crate) fn make(folder: &Path) -> Result<Self, String> {
        let python = folder.join("bin/python");
        let works = |python: &Path| {
            let mut command = Command::new(python);
            command.args(["-c", "import mpire, loky, numpy"]);
            run(&mut command).is_ok()
        };
        if !works(&python) {
            run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
            let mut install = Command::new(&python);
            install.args(["-m", "pip", "install", "--quiet", "mpire", "loky", "numpy"]);
            run(&mut install)?;
        }
        let print = "import platform, loky, numpy; from importlib.metadata import version; \
                     print(f'CPython {platform.python_version()}, mpire {version(\"mpire\")}, \
                     loky {loky.__version__}, numpy {numpy.__version__}')";
        let versions = run(Command::new(&python).args(["-c", print]))?;
        Ok(Environment { python, versions })
    }

    fn command(&self, mode: &str, backend: &str) -> Command {
        let mut command = Command::new(&self.python);
        command
            .arg(Path::new(SCRIPTS).join("peer.py"))
            .args([mode, backend])
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // Each worker has one core.
            .env("OPENBLAS_NUM_THREADS", "1")
            .env("OMP_NUM_THREADS", "1");
        command
    }
}

/// What a command prints, without the white space around it.
pub(crate) fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

pub(crate) struct Python<'a> {
    environment: &'a Environment,
    name: &'static str,
    backend: &'static str,
    child: Child,
    jobs: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl<'a> Python<'a> {
    pub(crate) fn new(
        environment: &'a Environment,
        name: &'static str,
        backend: &'static str,
    ) -> std::io::Result<Self> {
        let mut command = environment.command("serve", backend);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let jobs = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("piped"));
        Ok(Python { environment, name, backend, child, jobs, answers })
    }

    /// Seconds of a job.
    pub(crate) fn job(&mut self, job: &str) -> Option<Vec<f64>> {
        writeln!(self.jobs.as_mut()?, "{job}").ok()?;
        let mut line = String::new();
        self.answers.read_line(&mut line).ok()?;
        serde_json::from_str(&line).ok()
    }

    fn start(&self) -> Option<Vec<f64>> {
        let output = run(&mut self.environment.command("start", self.backend)).ok()?;
        serde_json::from_str(&output).ok()
    }
}

impl Contender for Python<'_> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn run(&mut self, work: Work, size: Size) -> Option<Vec<f64>> {
        let is_pool = self.backend.starts_with("pool");
        let (job, count) = match work {
            // It is there for this work alone.
            _ if self.backend == "shared" && work != Work::OneWay => return None,
            Work::Start => return self.start(),
            Work::Map if ["loky", "executor"].contains(&self.backend) => ("map", size.of(5000)),
            Work::Map if self.backend.starts_with("mpire") => ("map", size.of(200_000)),
            Work::Map => ("map", size.of(1_000_000)),
            Work::Single | Work::Handles if self.backend.ends_with("-10000") => return None,
            Work::Single if is_pool => ("chunk1", size.of(20_000)),
            Work::Single => ("chunk1", size.of(5000)),
            Work::Calls => ("calls", size.of(CALLS)),
            Work::Bytes => ("bytes", LONG_CALLS),
            Work::Floats => ("floats", LONG_CALLS),
            Work::OneWay => ("one_way", LONG_CALLS),
            Work::Strings => ("strings", STRING_CALLS),
            Work::Handles => ("handles", size.of(20_000)),
        };
        self.job(&format!("{job} {count}"))
    }
}

impl Drop for Python<'_> {
    fn drop(&mut self) {
        // The end of its input is the end of its work.
        drop(self.jobs.take());
        let _ = self.child.wait();
    }
}
