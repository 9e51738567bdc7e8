// The library under another name.

#![no_implicit_prelude]

extern crate runtime as processes;

mod facade {
    pub(crate) mod inner {
        pub use ::runtime::{self as library, State};
    }
}

use facade::inner as short;

#[processes::worker(crate = processes)]
fn relative(x: u64) -> u64 {
    x
}

#[processes::worker(crate = "processes")]
fn text(x: u64) -> u64 {
    x
}

#[processes::worker(crate = ::runtime,)]
fn absolute(x: u64) -> u64 {
    x
}

#[processes::worker(crate = crate::facade::inner::library)]
fn exported(state: facade::inner::State<u64>, x: &[u64]) -> u64 {
    *state + x[0]
}

#[processes::initializer(crate = short::library)]
fn initial() -> u64 {
    1
}

macro_rules! define {
    ($name:ident) => {
        #[processes::worker(crate = $crate::facade::inner::library)]
        fn $name(x: u64) -> u64 {
            x
        }
    };
}

define!(from_macro);

fn main() {
    ::std::assert_eq!(
        relative(1) + text(1) + absolute(1) + initial() + from_macro(1),
        5
    );
    let _ = exported;
}
