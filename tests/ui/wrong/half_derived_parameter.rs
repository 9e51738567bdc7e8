use runtime::worker;
use serde::Serialize;

#[derive(Serialize)]
struct Image {
    pixels: Vec<u8>,
}

#[worker]
fn brightness(image: Image) -> u64 {
    image.pixels.iter().map(|p| u64::from(*p)).sum()
}

fn main() {
    let images = vec![Image { pixels: vec![1, 2] }];
    println!("{:?}", runtime::pool().map(brightness, images));
}
