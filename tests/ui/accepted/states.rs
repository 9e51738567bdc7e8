use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use runtime::{State, StateMut, initializer, worker};

struct Model {
    classify: Box<dyn Fn(&[u8]) -> u8 + Send + Sync>,
}

struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("broken")
    }
}

#[initializer]
fn model(weights: &[u8]) -> Result<Model, std::io::Error> {
    let weight = weights[0];
    Ok(Model {
        classify: Box::new(move |image| image[0] * weight),
    })
}

#[initializer]
fn any_error() -> Result<u8, Box<dyn std::error::Error>> {
    Ok("1".parse()?)
}

#[initializer]
fn plain() -> Vec<u64> {
    Vec::new()
}

#[initializer]
fn local() -> Rc<Cell<u64>> {
    Rc::default()
}

#[initializer]
fn local_or_broken(works: bool) -> Result<Rc<u8>, Broken> {
    if works { Ok(Rc::new(1)) } else { Err(Broken) }
}

#[initializer]
fn from_another(model: State<Model>) -> u16 {
    (model.classify)(&[1]).into()
}

#[initializer]
fn nothing() {}

#[worker]
fn predict(model: State<Model>, image: &[u8]) -> u8 {
    (model.classify)(image)
}

#[worker]
fn collect(
    mut values: StateMut<Vec<u64>>,
    _: runtime::State<Box<dyn Fn(&str) + Send + Sync>>,
    value: u64,
) -> usize {
    values.push(value);
    values.len()
}

#[worker]
fn count(count: State<Rc<Cell<u64>>>) -> u64 {
    count.get()
}

fn main() {
    assert!(model(&[1]).is_ok_and(|model| (model.classify)(&[2]) == 2));
    assert!(any_error().is_ok());
    assert!(local_or_broken(false).is_err());
    assert_eq!((plain(), local().get()), (vec![], 0));
    nothing();
}
