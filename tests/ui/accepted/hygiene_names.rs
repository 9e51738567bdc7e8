// Names that the expansion might use, in the user's hands.

#![allow(dead_code, non_camel_case_types, non_upper_case_globals, unused_macros)]

mod runtime {}
mod core {}
mod std {}
mod alloc {}
mod serde {}
mod inventory {}
mod __private {}

struct Result;
struct Option;
struct Ok;
struct Err;
struct Some;
struct Call;
struct Outcome;
struct Stop;
struct Registration;
struct Place;
struct Made;
trait ToOwned {}
trait Fn {}
trait FnOnce {}
trait Clone {}
trait Copy {}

const made: u8 = 0;
const private: u8 = 0;
static p1: u8 = 0;

macro_rules! file {
    () => {
        compile_error!("the user's")
    };
}
macro_rules! line {
    () => {
        compile_error!("the user's")
    };
}
macro_rules! column {
    () => {
        compile_error!("the user's")
    };
}
macro_rules! submit {
    () => {
        compile_error!("the user's")
    };
}

#[::runtime::worker]
fn thunk(call: u64, p0: u64, (f, task): (u64, u64)) -> u64 {
    call + p0 + f + task
}

#[::runtime::worker]
fn call(thunk: &str, name: &[u64]) -> usize {
    thunk.len() + name.len()
}

#[::runtime::worker]
fn p0(p0: u64) -> u64 {
    p0
}

#[::runtime::worker]
fn run() {}

#[::runtime::worker]
fn param(param: u8) {
    let _ = param;
}

#[::runtime::initializer]
fn make(keep: u64) -> u64 {
    keep
}

#[::runtime::initializer]
fn keep(make: u64) -> ::core::result::Result<u64, u64> {
    ::core::result::Result::Ok(make)
}

#[::runtime::worker]
fn worker(r#fn: u64) -> u64 {
    r#fn
}

#[::runtime::initializer]
fn initializer() {}

#[::runtime::worker]
fn r#match(r#type: u64) -> u64 {
    r#type
}

mod number {
    // A primitive type's name, and methods that everything has.
    struct u64;

    trait Methods {
        fn param(&self) {}
        fn run(&self) {}
        fn make(&self) {}
    }

    impl<T> Methods for T {}

    #[::runtime::initializer]
    fn value() -> ::core::primitive::u64 {
        1
    }

    #[::runtime::worker]
    fn number(x: &::core::primitive::u64) -> ::core::primitive::u64 {
        *x
    }
}

fn main() {
    assert_eq!(thunk(1, 1, (1, 1)), 4);
    assert_eq!(call("a", &[1]), 2);
    assert_eq!(p0(worker(r#match(make(1)))), 1);
    run();
    param(1);
    initializer();
    assert!(keep(1).is_ok());
}
