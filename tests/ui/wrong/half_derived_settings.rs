use runtime::{Pool, initializer};
use serde::Serialize;

#[derive(Serialize)]
struct Settings {
    limit: u64,
}

#[initializer]
fn set_up(settings: Settings) -> u64 {
    settings.limit
}

fn main() {
    Pool::builder().initializer(set_up, Settings { limit: 3 }).build().unwrap();
}
