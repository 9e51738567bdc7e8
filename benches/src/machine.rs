//! Where and when it was measured.

use std::process::Command;

use crate::python::{Environment, run};

fn cpu() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// One line.
pub(crate) fn describe(environment: Option<&Environment>) -> String {
    let output = |program: &str, arguments: &[&str]| {
        run(Command::new(program).args(arguments)).unwrap_or_else(|_| format!("{program} unknown"))
    };
    let rust = output("rustc", &["--version"]);
    let rust: Vec<&str> = rust.split_whitespace().take(2).collect();
    let mut parts = vec![
        cpu().unwrap_or_else(|| "unknown CPU".to_owned()),
        format!("{} cores", runtime::usable_cpus()),
        format!("Linux {}", output("uname", &["-r"])),
        rust.join(" "),
    ];
    parts.extend(environment.map(|environment| environment.versions.clone()));
    format!("{}; {}", parts.join(", "), output("date", &["-u", "+%Y-%m-%d"]))
}
