// What infers at a call.

use std::borrow::Cow;

use runtime::{Pool, Result, State, worker};

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

#[worker]
fn add(x: u64, y: u64) -> u64 {
    x + y
}

#[worker]
fn now() -> u64 {
    1
}

#[worker]
fn words(text: &str) -> usize {
    text.split(' ').count()
}

#[worker]
fn weighted(values: &[f64], weight: f64) -> f64 {
    values.iter().sum::<f64>() * weight
}

#[worker]
fn owned(text: Cow<'_, str>) -> String {
    text.into_owned()
}

#[worker]
fn scaled(factor: State<u64>, x: u64) -> u64 {
    *factor * x
}

fn calls(pool: &Pool) -> Result<()> {
    let _: Vec<u64> = pool.map(square, 0..10)?;
    let _: Vec<u64> = pool.map(add, [(1, 2)])?;
    let _: Vec<u64> = pool.map(add, (0..3).zip(0..3))?;
    let _: Vec<u64> = pool.map(now, [(), ()])?;
    let _: Vec<usize> = pool.map(words, ["a", "b c"])?;
    let text = String::from("a b");
    let _: Vec<usize> = pool.map(words, text.lines())?;
    let values = vec![1.0, 2.0];
    let _: Vec<f64> = pool.map(weighted, [(&values[..], 1.0), (&values[1..], 2.0)])?;
    let _: Vec<String> = pool.map(owned, [Cow::Borrowed(text.as_str())])?;
    let _: Vec<u64> = pool.map(scaled, vec![1, 2])?;
    Ok(())
}

fn main() {
    let _ = calls;
}
