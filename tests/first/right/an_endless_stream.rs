use runtime::worker;

#[worker]
fn is_prime(n: u64) -> Option<u64> {
    (n > 1 && (2..n).take_while(|d| d * d <= n).all(|d| n % d != 0)).then_some(n)
}

fn main() {
    let primes = runtime::pool().imap(is_prime, 0..).filter_map(|outcome| outcome.unwrap());
    assert_eq!(primes.take(5).collect::<Vec<_>>(), [2, 3, 5, 7, 11]);
}
