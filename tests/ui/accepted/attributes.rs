// Nothing that stands on a function is lost, and nothing beside it warns.

#![deny(
    warnings,
    clippy::all,
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    single_use_lifetimes
)]
#![deny(
    elided_lifetimes_in_paths,
    unused_results,
    unused_lifetimes,
    let_underscore_drop,
    variant_size_differences
)]
#![forbid(unsafe_code)]

//! Attributes.

use runtime::{initializer, worker};

/// Doc comments,
#[doc = "in either form,"]
#[worker]
/// above and below.
#[inline]
#[must_use]
pub fn documented(/* and comments */ x: u64) -> u64 {
    x
}

#[worker]
#[deprecated]
fn old(x: u64) -> u64 {
    x
}

#[allow(deprecated)]
#[initializer]
#[deprecated(since = "1.0.0", note = "use another")]
fn older() {}

/// A type that is left behind.
#[deprecated]
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Old;

#[worker]
#[allow(deprecated)]
fn takes_old(old: Old) -> Old {
    old
}

#[worker]
#[expect(non_snake_case, reason = "as in the paper")]
fn Laplace(x: u64) -> u64 {
    x
}

// The only use of this one is that it is registered.
#[worker]
fn registered(#[allow(unused_variables)] x: u64) {}

#[worker]
#[cfg(any())]
fn absent(x: Absent) -> Absent {
    x
}

#[cfg(any())]
#[worker]
fn absent(x: Absent) -> Absent {
    x
}

#[worker]
#[cfg(not(unix))]
fn choice() -> u8 {
    1
}

#[worker]
#[cfg(unix)]
fn choice() -> u8 {
    2
}

#[allow(deprecated)]
fn main() {
    older();
    let _ = takes_old(Old);
    assert_eq!(documented(1) + old(1) + Laplace(1), 3);
    assert_eq!(choice(), 2);
}
