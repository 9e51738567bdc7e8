use std::rc::Rc;

use runtime::worker;

#[worker]
fn name(id: u64) -> Rc<str> {
    format!("user {id}").into()
}

fn main() {
    println!("{:?}", runtime::pool().map(name, 0..3).unwrap());
}
