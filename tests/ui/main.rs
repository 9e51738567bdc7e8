//! What the attributes accept, and what they say when they do not.
//!
//! After a change of a message, or of the compiler:
//! `TRYBUILD=overwrite cargo test -p procession-tests --test ui`, then read the difference.

#[test]
fn accepted() {
    trybuild::TestCases::new().pass("ui/accepted/*.rs");
}

#[test]
fn refused() {
    trybuild::TestCases::new().compile_fail("ui/refused/*.rs");
}

/// Programs that a newcomer may write, each with one mistake. They are built and not only checked:
/// that a closure is no function shows when code is generated.
#[test]
fn first_programs() {
    let cases = trybuild::TestCases::new();
    cases.pass("ui/accepted/calls.rs");
    cases.compile_fail("first/wrong/*.rs");
}

/// What the compiler says of them: one error, which says what to do in its first line, without names of
/// hidden modules, and not more than can be read.
#[test]
fn first_programs_get_one_short_error() {
    let mut count = 0;
    for file in std::fs::read_dir("first/wrong").expect("the programs are there") {
        let path = file.expect("it can be listed").path();
        if path.extension().is_none_or(|extension| extension != "stderr") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let lines = text.lines().count();
        let errors = text.lines().filter(|line| line.starts_with("error")).count();
        assert!(text.starts_with("error"), "{}: {text}", path.display());
        assert_eq!(errors, 1, "errors in {}", path.display());
        assert!(lines <= 25, "{} has {lines} lines", path.display());
        assert!(!text.contains("__private"), "{}: {text}", path.display());
        count += 1;
    }
    assert!(count >= 30, "{count} programs");
}
