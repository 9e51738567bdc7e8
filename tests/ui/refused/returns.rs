#![allow(unused)]

use std::borrow::Cow;

use runtime::{initializer, worker};

#[worker]
fn first(words: &[String]) -> &str {
    &words[0]
}

#[worker]
fn name(code: u8) -> Result<&'static str, Cow<'static, str>> {
    Ok("ok")
}

#[worker]
fn trimmed(word: &str) -> Cow<'_, str> {
    word.trim().into()
}

#[worker]
fn digits(number: u64) -> impl Iterator<Item = u8> {
    number.to_string().into_bytes().into_iter()
}

#[worker]
fn leave(code: i32) -> ! {
    std::process::exit(code)
}

#[initializer]
fn table() -> &'static [u8] {
    &[]
}

fn main() {}
