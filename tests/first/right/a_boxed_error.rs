use std::error::Error;

use runtime::worker;

#[worker]
fn parse(text: &str) -> Result<f64, Box<dyn Error>> {
    let value: f64 = text.trim().parse()?;
    if value < 0.0 {
        return Err(format!("{value} is negative").into());
    }
    Ok(value.sqrt())
}

fn main() -> Result<(), Box<dyn Error>> {
    assert_eq!(runtime::pool().map(parse, ["4", " 9"])?, [2.0, 3.0]);
    let error = runtime::pool().map(parse, ["4", "-1"]).unwrap_err();
    assert!(error.to_string().ends_with("-1 is negative"));
    Ok(())
}
