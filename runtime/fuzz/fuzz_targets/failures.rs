//! Reports of failures and panics from any bytes.
//!
//! `cargo +nightly fuzz run failures` in `runtime/`
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession_fuzz::failures(bytes));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("this target is run by cargo-fuzz; without it, use the binary `mutate`");
}
