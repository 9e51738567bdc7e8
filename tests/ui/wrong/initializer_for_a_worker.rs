use runtime::initializer;

struct Model(u64);

#[initializer]
fn load(size: u64) -> Model {
    Model(size)
}

fn main() {
    let models = runtime::pool().map(load, 0..3).unwrap();
    println!("{}", models[0].0);
}
