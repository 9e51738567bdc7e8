//! Tasks that several test files use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use runtime::worker;

/// Returns the square of a number.
#[worker]
pub fn square(x: u64) -> u64 {
    x * x
}

/// Takes the given number of milliseconds, and returns it.
#[worker]
pub fn nap(ms: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(ms));
    ms
}

/// Returns an odd number, and panics for an even one.
///
/// # Panics
///
/// If `x` is even.
#[worker]
pub fn odd(x: u64) -> u64 {
    assert_eq!(x % 2, 1);
    x
}

/// Panics.
///
/// # Panics
///
/// Always, with this text.
#[worker]
pub fn fail(text: String) -> u64 {
    panic!("{text}")
}

/// Runs until there is a file, or its folder is gone, and returns 1.
///
/// # Panics
///
/// If the path is empty.
#[worker]
pub fn until_file(path: PathBuf) -> u64 {
    assert_ne!(path, PathBuf::new());
    while !path.exists() && path.parent().is_some_and(Path::exists) {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

/// Makes a file, and returns 2 if that worked.
#[worker]
pub fn touch(path: PathBuf) -> u64 {
    std::fs::write(path, "x").map_or(0, |()| 2)
}
