// What is given to a manager has to be an actor, and to be handed over it has to travel.

use runtime::{Manager, actor, initializer};

struct Plain;

struct Log;

#[actor]
impl Log {
    pub fn len(&self) -> usize {
        0
    }
}

#[initializer]
fn make_plain() -> Plain {
    Plain
}

fn main() {
    let manager = Manager::start().unwrap();
    let _ = manager.serve(3_u8);
    let _ = manager.serve(Log);
    let _ = manager.make(make_plain, ());
}
