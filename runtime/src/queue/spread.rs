//! A hash function for numbers that the caller itself has generated.

use std::hash::{BuildHasherDefault, Hasher};

/// For tables whose keys are serial numbers or offsets. It is much cheaper than the hash of the standard
/// library, which protects against keys that others choose.
pub(crate) type Spread = BuildHasherDefault<Spreader>;

/// Distributes a number over the table.
#[derive(Default)]
pub(crate) struct Spreader(u64);

impl Hasher for Spreader {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    #[inline]
    fn write_u64(&mut self, value: u64) {
        // The odd number next to 2^64 divided by the golden ratio. The table uses bits from both ends of
        // the result.
        let spread = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }

    #[inline]
    fn write_usize(&mut self, value: usize) {
        self.write_u64(value as u64);
    }
}
