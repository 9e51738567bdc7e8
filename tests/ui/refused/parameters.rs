#![allow(unused)]

use std::borrow::Cow;

use runtime::worker;

#[worker]
fn sort(values: &mut Vec<u64>) {
    values.sort();
}

#[worker]
fn total(values: impl Iterator<Item = u64>) -> u64 {
    values.sum()
}

#[worker]
fn totals(values: Vec<impl Into<u64>>) -> u64 {
    0
}

#[worker]
fn show(value: Box<dyn ToString>, other: &dyn ToString) -> String {
    value.to_string()
}

#[worker]
fn greet(name: &'static str, title: Cow<'static, str>) -> String {
    format!("{title} {name}")
}

#[worker]
fn join(words: &[&str], last: Option<&str>, others: (u8, &mut u8)) -> String {
    words.concat()
}

#[worker]
fn either(#[cfg(unix)] path: String, #[cfg(windows)] path: u8) {}

fn main() {}
