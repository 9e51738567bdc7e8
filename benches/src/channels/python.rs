//! Queues and pipes of CPython's `multiprocessing`.

use std::process::Command;

use super::contender::{CAPACITY, Contender, Figures, LARGE, Round};

pub(crate) struct Python {
    kind: &'static str,
    version: String,
}

impl Python {
    /// `None` if there is no Python.
    pub(crate) fn new(kind: &'static str) -> Option<Self> {
        let output = Command::new("python3").arg("--version").output().ok()?;
        let version = String::from_utf8_lossy(&output.stdout).trim().replace("Python", "CPython");
        Some(Python { kind, version })
    }
}

impl Contender for Python {
    fn name(&self) -> String {
        format!("{} `{}`", self.version, self.kind)
    }

    fn run(&self, round: &Round) -> Result<Figures, Box<dyn std::error::Error>> {
        // Slower by so much that fewer will do.
        let numbers =
            [round.messages / 10, round.trips / 5, round.large, LARGE as u64, CAPACITY as u64];
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/channels.py");
        let output = Command::new("python3")
            .args([script, self.kind])
            .args(numbers.map(|number| number.to_string()))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let text = String::from_utf8(output.stdout)?;
        let values: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
        let [one_way, trip, trip_p99, large] = values[..] else {
            return Err(format!("not four numbers: {text}").into());
        };
        Ok(Figures { one_way, trip, trip_p99, large })
    }
}
