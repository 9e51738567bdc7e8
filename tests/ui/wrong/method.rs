use runtime::worker;

struct Square(f64);

impl Square {
    #[worker]
    fn area(&self) -> f64 {
        self.0 * self.0
    }
}

fn main() {
    println!("{}", Square(2.0).area());
}
