// A crate without a prelude.

#![no_implicit_prelude]

use ::std::string::String;
use ::std::vec::Vec;

#[::runtime::worker]
fn total(
    values: &[u64],
    name: &str,
    cow: ::std::borrow::Cow<'_, str>,
) -> ::std::result::Result<u64, String> {
    ::std::mem::drop((name, cow));
    ::std::result::Result::Ok(values[0])
}

#[::runtime::initializer]
fn load(values: &[u64]) -> ::std::result::Result<Vec<u64>, String> {
    ::std::result::Result::Ok(::std::vec![values[0]])
}

#[::runtime::worker]
fn first(values: ::runtime::State<Vec<u64>>) -> u64 {
    values[0]
}

fn main() {
    ::std::assert_eq!(
        total(&[1], "", ::std::borrow::Cow::Borrowed("")),
        ::std::result::Result::Ok(1)
    );
    ::std::assert_eq!(load(&[1]), ::std::result::Result::Ok(::std::vec![1]));
    let _ = first;
}
