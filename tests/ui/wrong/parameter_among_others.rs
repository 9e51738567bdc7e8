use runtime::worker;

struct Settings {
    limit: u64,
}

#[worker]
fn clamp(x: u64, settings: &Settings) -> u64 {
    x.min(settings.limit)
}

fn main() {
    let settings = Settings { limit: 3 };
    println!("{:?}", runtime::pool().map(clamp, (0..10).map(|x| (x, &settings))));
}
