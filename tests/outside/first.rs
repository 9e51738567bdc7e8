//! The programs of `tests/first/right`, each as a new user would write it, in a crate outside of
//! this workspace. They are modules of one program that runs the one that is named, so that a
//! single build is sufficient.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use procession_tests::{EVERY, StartMethod, conformance};

use super::{cargo_in, write};

conformance! {
    EVERY => [every_first_program_runs];
}

fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("first")
}

/// Returns the names of the programs.
fn programs() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("first/right");
    let files = std::fs::read_dir(folder).expect("the programs are there");
    let name = |file: PathBuf| Some(file.file_stem()?.to_str()?.to_owned());
    let mut names: Vec<_> = files.filter_map(|file| name(file.ok()?.path())).collect();
    names.sort();
    names
}

/// Creates the crate and builds it.
pub(super) fn prepare() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let runtime = tests.join("../runtime").canonicalize().expect("beside this crate");
    let manifest = format!(
        "[package]\nname = \"first\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\nanyhow = \"1\"\n\
         procession = {{ path = {runtime:?}, features = [\"anyhow\"] }}\n\
         serde = {{ version = \"1\", features = [\"derive\"] }}\n\n[workspace]\n"
    );
    let src = home().join("src");
    std::fs::create_dir_all(&src).expect("a directory");
    write(&home().join("Cargo.toml"), &manifest);
    let (mut modules, mut arms) = (String::new(), String::new());
    for name in programs() {
        let text = std::fs::read_to_string(tests.join("first/right").join(format!("{name}.rs")));
        let text = text.expect("it can be read").replace("fn main()", "pub(crate) fn main()");
        write(&src.join(format!("{name}.rs")), &text);
        writeln!(modules, "mod {name};").expect("text");
        writeln!(arms, "        \"{name}\" => {name}::main().end(),").expect("text");
    }
    let main = format!(
        "{modules}\ntrait End {{ fn end(self); }}\n\
         impl End for () {{ fn end(self) {{}} }}\n\
         impl<E: std::fmt::Debug> End for Result<(), E> {{ fn end(self) {{ self.unwrap() }} }}\n\n\
         fn main() {{\n    match &*std::env::args().nth(1).unwrap() {{\n{arms}        \
         name => panic!(\"no program {{name}}\"),\n    }}\n}}\n"
    );
    write(&src.join("main.rs"), &main);
    if !home().join("Cargo.lock").exists() {
        let lock = runtime.join("../Cargo.lock");
        std::fs::copy(lock, home().join("Cargo.lock")).expect("a lock file");
    }
    cargo_in(&home(), &["build"], StartMethod::default());
}

fn every_first_program_runs(method: StartMethod) {
    let programs = programs();
    assert!(programs.len() >= 30);
    let binary = home().join("../outside/target/debug/first");
    for name in programs {
        let mut command = std::process::Command::new(&binary);
        let output = command.arg(&name).env("PROCESSION_START_METHOD", method.name()).output();
        let output = output.expect("it was built");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} with {method}: {errors}");
    }
}
