// What a method of an actor takes and returns has to travel, and the actor has to be shared by threads.

#![allow(unused)]

use std::rc::Rc;

use runtime::{Manager, actor, initializer};

struct Opaque(u8);

#[derive(serde::Serialize)]
struct Half(u8);

struct Log;

#[actor]
impl Log {
    pub fn take(&self, opaque: Opaque) {}

    pub fn take_half(&self, half: Half) {}

    pub fn give(&self) -> Opaque {
        Opaque(3)
    }
}

struct Local(Rc<u8>);

#[actor]
impl Local {
    pub fn get(&self) -> u8 {
        *self.0
    }
}

fn main() {}
