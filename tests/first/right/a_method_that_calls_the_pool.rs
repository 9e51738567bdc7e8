use runtime::worker;

#[worker]
fn area(side: f64) -> f64 {
    side * side
}

struct Squares(Vec<f64>);

impl Squares {
    fn total(&self) -> runtime::Result<f64> {
        Ok(runtime::pool().map(area, &self.0)?.iter().sum())
    }
}

fn main() -> runtime::Result<()> {
    assert_eq!(Squares(vec![1.0, 2.0]).total()?, 5.0);
    assert_eq!(area(3.0), 9.0);
    Ok(())
}
