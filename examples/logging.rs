//! cargo run --release --example logging
//!
//! Log records of workers reach the logger of the program, with the worker and the input to which they
//! belong. This includes the last records of a worker that is killed.

use std::io::Write;

use log::{LevelFilter, info, warn};
use runtime::{Pool, worker};

#[worker]
fn resize(name: &str, percent: u32) -> u32 {
    info!("resizing {name}");
    if percent > 100 {
        warn!(percent; "{name} gets larger");
    }
    if name == "broken.png" {
        info!("this file crashes the library that reads it");
        std::process::abort();
    }
    percent * 8
}

fn main() -> Result<(), runtime::Error> {
    env_logger::Builder::new()
        .filter_level(LevelFilter::Info)
        .target(env_logger::Target::Stdout)
        .format(|out, record| {
            let fields = record.key_values();
            let field = |name: &str| fields.get(name.into()).map_or("-".into(), |v| v.to_string());
            let level = record.level();
            write!(out, "{level:5} worker {} input {}", field("worker"), field("index"))?;
            writeln!(out, ": {}", record.args())
        })
        .init();

    let pool = Pool::builder().workers(2).name("images").build()?;
    let images = [("a.png", 50), ("b.png", 200), ("broken.png", 50), ("c.png", 25)];
    let outcomes = pool.map_all(resize, images);
    // All records have arrived when the pool has been dropped.
    drop(pool);
    for ((name, _), outcome) in images.iter().zip(outcomes) {
        match outcome {
            Ok(width) => println!("{name}: {width} pixels"),
            Err(error) => println!("{name}: {error}"),
        }
    }
    Ok(())
}
