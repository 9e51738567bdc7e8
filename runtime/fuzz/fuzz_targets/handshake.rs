//! First messages of workers from any bytes.
//!
//! `cargo +nightly fuzz run handshake` in `runtime/`
#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| procession_fuzz::handshake(bytes));

#[cfg(not(fuzzing))]
fn main() {
    eprintln!("this target is run by cargo-fuzz; without it, use the binary `mutate`");
}
