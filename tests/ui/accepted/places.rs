// Wherever a function can stand, except in an `impl` block.

use runtime::{initializer, worker};

pub(crate) mod shapes {
    use super::worker;

    #[worker]
    pub(crate) fn square(x: u64) -> u64 {
        x * x
    }

    pub(super) mod solid {
        #[runtime::worker]
        pub(in crate::shapes) fn cube(x: u64) -> u64 {
            x * x * x
        }

        pub(crate) fn call(x: u64) -> u64 {
            super::solid::cube(x)
        }
    }
}

macro_rules! power {
    ($name:ident, $type:ty, $exponent:expr) => {
        #[worker]
        fn $name(x: $type) -> $type {
            x.pow($exponent)
        }
    };
}

power!(fourth, u64, 4);
power!(fifth, u32, 5);

struct Shape;

impl Shape {
    fn area(&self) -> u64 {
        #[worker]
        fn area(side: u64) -> u64 {
            side * side
        }
        area(2)
    }
}

fn main() {
    #[initializer]
    fn table() -> Vec<u64> {
        vec![1]
    }

    let inner = || {
        #[worker]
        fn area(side: u64) -> u64 {
            side
        }
        area(3)
    };

    assert_eq!(shapes::square(2), 4);
    assert_eq!(shapes::solid::call(2), 8);
    assert_eq!((fourth(2), fifth(2)), (16, 32));
    assert_eq!((Shape.area(), inner(), table()), (4, 3, vec![1]));
}
