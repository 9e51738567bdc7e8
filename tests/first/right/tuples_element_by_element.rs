use runtime::worker;

#[worker]
fn weighted(values: &[f64], weight: f64, unit: &str) -> String {
    format!("{} {unit}", values.iter().sum::<f64>() * weight)
}

fn main() -> runtime::Result<()> {
    let values = vec![1.0, 2.0];
    let items = [(&values, 2.0, "m".to_owned())];
    assert_eq!(runtime::pool().map(weighted, items)?, ["6 m"]);
    Ok(())
}
