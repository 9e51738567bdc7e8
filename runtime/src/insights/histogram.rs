//! A histogram of durations in a fixed amount of memory.
//!
//! Each power of two is divided into 32 equal buckets, so that a duration is known to 1/32 of itself. Those below
//! 32 ns are exact, and those of more than 2^44 ns, five hours, count as such. This is the bucketing
//! of HdrHistogram with a fixed range, which needs a few lines and no allocation later on.

/// The number of buckets of a power of two, as a power of two.
const FINE: u32 = 5;

/// The highest power of two.
const HIGHEST: u32 = 44;

const BUCKETS: usize = ((HIGHEST - FINE + 1) as usize) << FINE;

/// The number of durations in each bucket.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    total: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Histogram { counts: Box::new([0; BUCKETS]), total: 0, max: 0 }
    }

    /// Adds `count` durations of as many nanoseconds.
    #[inline]
    pub(super) fn add(&mut self, nanoseconds: u64, count: u64) {
        let bucket = &mut self.counts[bucket_of(nanoseconds)];
        *bucket = bucket.saturating_add(count);
        self.total = self.total.saturating_add(count);
        self.max = self.max.max(nanoseconds);
    }

    /// Returns the longest duration.
    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// Returns the duration that a share of all does not exceed, to 1/32 of itself; 0 if there are none.
    pub(crate) fn quantile(&self, share: f64) -> u64 {
        let rank = ((self.total as f64 * share).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0_u64;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen = seen.saturating_add(*count);
            if seen >= rank {
                return highest_in(bucket).min(self.max);
            }
        }
        self.max
    }
}

fn bucket_of(nanoseconds: u64) -> usize {
    let value = nanoseconds.min((1 << HIGHEST) - 1);
    if value < 1 << FINE {
        return value as usize;
    }
    let shift = value.ilog2() - FINE;
    ((shift as usize + 1) << FINE) + (value >> shift) as usize - (1 << FINE)
}

/// Returns the highest value in a bucket.
fn highest_in(bucket: usize) -> u64 {
    let (group, at) = (bucket >> FINE, bucket as u64 & ((1 << FINE) - 1));
    match group {
        0 => at,
        _ => (((1 << FINE) + at + 1) << (group - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other() {
        for bucket in 0..BUCKETS - 1 {
            assert_eq!(bucket_of(highest_in(bucket)), bucket);
            assert_eq!(bucket_of(highest_in(bucket) + 1), bucket + 1);
        }
        assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn nothing_has_no_duration() {
        let histogram = Histogram::new();
        assert_eq!((histogram.quantile(0.5), histogram.max()), (0, 0));
    }

    proptest! {
        #[test]
        fn a_quantile_is_right_to_a_thirty_second(
            mut values in prop::collection::vec(0_u64..1 << 44, 1..300),
            share in 0.0_f64..=1.0,
        ) {
            let mut histogram = Histogram::new();
            values.iter().for_each(|value| histogram.add(*value, 1));
            values.sort_unstable();
            let rank = (values.len() as f64 * share).ceil() as usize;
            let exact = values[rank.clamp(1, values.len()) - 1];
            let found = histogram.quantile(share);
            prop_assert!(found >= exact && found - exact <= exact / 32, "{found} for {exact}");
        }
    }
}
