fn main() {
    println!("{:?}", runtime::pool().map("square", 0..3));
}
