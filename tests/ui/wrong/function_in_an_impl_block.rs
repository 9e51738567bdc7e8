use runtime::worker;

struct Square;

impl Square {
    #[worker]
    fn area(side: f64) -> f64 {
        side * side
    }
}

fn main() {
    println!("{:?}", runtime::pool().map(Square::area, [1.0, 2.0]));
}
