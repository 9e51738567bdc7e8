use runtime::worker;

#[worker]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn main() -> runtime::Result<()> {
    let values = vec![1.0, 3.0, 5.0, 7.0];
    assert_eq!(runtime::pool().map(mean, values.chunks(2))?, [2.0, 6.0]);
    assert_eq!(runtime::pool().apply(mean, &values)?, 4.0);
    Ok(())
}
