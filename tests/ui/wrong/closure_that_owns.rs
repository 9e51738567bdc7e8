fn main() {
    let weights = vec![1, 2, 3];
    let weighted = move |x: usize| weights[x] * x;
    println!("{:?}", runtime::pool().map(weighted, 0..3));
}
