fn main() {
    let weights = vec![1, 2, 3];
    let weighted = |x: usize| weights[x] * x;
    println!("{:?}", runtime::pool().map(weighted, 0..3));
}
