use runtime::worker;

#[worker]
fn norm(row: &[f64]) -> f64 {
    row.iter().map(|x| x * x).sum::<f64>().sqrt()
}

fn main() -> runtime::Result<()> {
    let matrix = [[3.0, 4.0], [6.0, 8.0]];
    assert_eq!(runtime::pool().map(norm, &matrix)?, [5.0, 10.0]);
    Ok(())
}
