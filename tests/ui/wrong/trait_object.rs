use runtime::worker;

trait Shape {
    fn area(&self) -> f64;
}

struct Square(f64);

impl Shape for Square {
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

#[worker]
fn area(shape: Box<dyn Shape>) -> f64 {
    shape.area()
}

fn main() {
    println!("{}", area(Box::new(Square(2.0))));
}
