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
