//! The functions that the attributes accept, and the messages for those that they refuse.
//!
//! The expected messages are those of one version of the compiler. With another minor version these
//! tests report this and check nothing.
//!
//! After a change of a message or of the compiler, run `TRYBUILD=overwrite cargo test -p
//! procession-ui-tests` and review the difference.

/// The version of the compiler that produced the expected messages.
const COMPILER: &str = "rustc 1.95.";

/// Returns whether the compiler produces the expected messages.
fn has_these_words() -> bool {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = std::process::Command::new(compiler).arg("--version").output();
    let version = version.expect("the compiler says its version").stdout;
    let version = String::from_utf8_lossy(&version);
    let same = version.starts_with(COMPILER);
    if !same {
        println!("skipped: the messages are those of {COMPILER}x, this is {}", version.trim());
    }
    same
}

#[test]
fn accepted() {
    trybuild::TestCases::new().pass("accepted/*.rs");
}

#[test]
fn refused() {
    if !has_these_words() {
        return;
    }
    trybuild::TestCases::new().compile_fail("refused/*.rs");
}

/// Programs of a new user, each with one mistake, which `cargo check` reports.
#[test]
fn first_programs() {
    if !has_these_words() {
        return;
    }
    trybuild::TestCases::new().compile_fail("wrong/*.rs");
}

/// Programs whose mistake is reported only when code is generated. No trait distinguishes a function
/// from a closure that captures by reference, which implements `Copy` and `Fn` as well, or from a
/// function pointer, which implements all traits of a function. Only the size differs. The size of a
/// type parameter is known to a constant in the body of `map`, which is evaluated for each `F` for which
/// code is generated.
#[test]
fn first_programs_when_built() {
    if !has_these_words() {
        return;
    }
    let cases = trybuild::TestCases::new();
    // With a program that compiles, trybuild builds the others and does not only check them.
    cases.pass("accepted/calls.rs");
    cases.compile_fail("wrong_when_built/*.rs");
}

/// Checks the messages of the compiler: there is one error, its first line says what to do, it names no
/// hidden modules, and it is short.
#[test]
fn first_programs_get_one_short_error() {
    let mut count = 0;
    let files = |folder| std::fs::read_dir(folder).expect("the programs are there");
    for file in files("wrong").chain(files("wrong_when_built")) {
        let path = file.expect("it can be listed").path();
        if path.extension().is_none_or(|extension| extension != "stderr") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let lines = text.lines().count();
        let errors = text.lines().filter(|line| line.starts_with("error")).count();
        assert!(text.starts_with("error"), "{}: {text}", path.display());
        assert_eq!(errors, 1, "errors in {}", path.display());
        assert!(lines <= 23, "{} has {lines} lines", path.display());
        assert!(!text.contains("__private"), "{}: {text}", path.display());
        count += 1;
    }
    assert!(count >= 42, "{count} programs");
}
