//! Refuses targets on which the library does not run, with one sentence in place of the errors of its sources.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let os = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if os != "linux" {
        println!(
            "cargo::error=procession runs on Linux, and not on {os}. The file docs/other_systems.md of the package says \
             what other systems lack"
        );
    }
}
