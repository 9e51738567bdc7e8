//! Placeholder.
procession_tests::conformance! {
}
