//! What the attributes accept, and what they say when they do not.
//!
//! The expected messages are those of one version of the compiler. With another one (by its minor number) those tests
//! say so and check nothing.
//!
//! After a change of a message, or of the compiler:
//! `TRYBUILD=overwrite cargo test -p procession-tests --test ui`, then read the difference.

/// The version of the compiler that the expected messages are of.
const COMPILER: &str = "rustc 1.95.";

/// Whether the compiler has the words that are expected.
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
    trybuild::TestCases::new().pass("ui/accepted/*.rs");
}

#[test]
fn refused() {
    if !has_these_words() {
        return;
    }
    trybuild::TestCases::new().compile_fail("ui/refused/*.rs");
}

/// Programs that a newcomer may write, each with one mistake, which `cargo check` tells.
#[test]
fn first_programs() {
    if !has_these_words() {
        return;
    }
    trybuild::TestCases::new().compile_fail("first/wrong/*.rs");
}

/// Those whose mistake shows when code is generated, and not before. No trait tells a function from a closure that
/// captures by reference, which is `Copy` and `Fn` as well, nor from a function pointer, which
/// implements all that a function does. What is left is the size, and that of a type parameter is
/// known to a constant in the body of `map`, which is evaluated for each `F` that code is generated for.
#[test]
fn first_programs_when_built() {
    if !has_these_words() {
        return;
    }
    let cases = trybuild::TestCases::new();
    // One that passes has the others built and not only checked.
    cases.pass("ui/accepted/calls.rs");
    cases.compile_fail("first/wrong_when_built/*.rs");
}

/// What the compiler says of them: one error, which says what to do in its first line, without names of
/// hidden modules, and not more than can be read.
#[test]
fn first_programs_get_one_short_error() {
    let mut count = 0;
    let files = |folder| std::fs::read_dir(folder).expect("the programs are there");
    for file in files("first/wrong").chain(files("first/wrong_when_built")) {
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
