// Every mistake of a block at its own place, in one go; the methods without one are there.

#![allow(unused)]

use runtime::{State, actor};

struct Log(Vec<String>);

#[actor(retries = 3)]
impl Log {
    pub async fn flush(&self) {}

    pub fn into_lines(self) -> Vec<String> {
        self.0
    }

    pub fn shared(self: std::sync::Arc<Self>) {}

    pub fn last<'a>(&'a self) -> &'a str {
        ""
    }

    pub fn map<T: ToString>(&self, value: T, by: impl Fn(u8) -> u8) {}

    pub fn fill(&self, lines: &mut Vec<String>, of: Vec<&str>, writer: Box<dyn std::io::Write>) {}

    pub fn with(&self, model: State<u8>, #[cfg(unix)] level: u8) {}

    pub unsafe extern "C" fn raw(&self) -> ! {
        loop {}
    }

    pub fn nine(&self, a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8) {}

    #[cast]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    #[cast(soon)]
    pub fn push(&mut self, line: String) {}

    #[cast]
    fn hidden(&self) {}

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

fn use_it(log: LogProxy) -> usize {
    log.len().unwrap()
}

fn main() {}
