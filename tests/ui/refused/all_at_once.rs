// Every mistake of a function at its own place, in one go, and nothing else: the call in `main` finds the function.

#![allow(unused)]

use runtime::{State, worker};

#[worker(retries = 3)]
async unsafe fn process<T>(
    input: &mut Vec<u8>,
    label: &'static str,
    model: State<u8>,
    convert: impl Fn(u8) -> u8,
) -> Result<&'static str, T> {
    Ok(label)
}

fn main() {
    let mut input = Vec::new();
    let future = unsafe { process::<String>(&mut input, "", State::new(3), |x| x) };
}
