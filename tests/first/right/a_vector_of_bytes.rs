use runtime::worker;

#[worker]
fn inverted(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().map(|byte| !byte).collect()
}

fn main() -> runtime::Result<()> {
    let blob = vec![0; 1_000_000];
    let inverted = runtime::pool().map(inverted, blob.chunks(300_000))?;
    assert_eq!(inverted.concat(), vec![255; 1_000_000]);
    Ok(())
}
