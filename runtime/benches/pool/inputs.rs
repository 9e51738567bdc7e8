//! Long inputs, and what workers do with them.

/// Adds numbers in eight sums, so that the additions do not limit the speed.
pub(crate) fn total(numbers: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (eights, rest) = numbers.as_chunks::<8>();
    for eight in eights {
        for (sum, number) in sums.iter_mut().zip(eight) {
            *sum += number;
        }
    }
    sums.iter().chain(rest).sum()
}

/// Returns words of six bytes.
pub(crate) fn words(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("{:06}", i * 7)).collect()
}
