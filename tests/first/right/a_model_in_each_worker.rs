use runtime::{Pool, State, initializer, worker};

struct Model {
    weights: Vec<f64>,
}

#[initializer]
fn load(weights: Vec<f64>) -> Model {
    Model { weights }
}

#[worker]
fn predict(model: State<Model>, x: f64) -> f64 {
    model.weights.iter().map(|weight| weight * x).sum()
}

fn main() -> runtime::Result<()> {
    let pool = Pool::builder().workers(2).initializer(load, vec![1.0, 2.0]).build()?;
    assert_eq!(pool.map(predict, [1.0, 2.0])?, [3.0, 6.0]);
    Ok(())
}
