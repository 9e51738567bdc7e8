//! A program under test: it records the marker with which its workers start, and reports when its
//! `main` runs.

#![allow(unsafe_code, reason = "a constructor before that of the library")]

use runtime::{Pool, StartMethod, worker};

#[used]
#[unsafe(link_section = ".init_array.00100")]
static EARLY: extern "C" fn() = write_down;

extern "C" fn write_down() {
    if let (Some(path), Ok(marker)) =
        (std::env::var_os("MARKER_FILE"), std::env::var("PROCESSION_CHILD"))
    {
        std::fs::write(path, marker).expect("the marker is written down");
    }
}

#[worker]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    println!("main");
    if std::env::args().nth(1).as_deref() == Some("work") {
        let pool = Pool::builder().workers(1).start_method(StartMethod::Spawn).build();
        assert_eq!(pool.expect("the pool starts").apply(square, 3).expect("it works"), 9);
    }
}
