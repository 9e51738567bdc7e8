// Without `self` or `Self`, nothing in the function tells that it stands in an `impl` block.

use runtime::worker;

struct Area;

impl Area {
    #[worker]
    fn square(side: f64) -> f64 {
        side * side
    }
}

fn main() {
    Area::square(2.0);
}
