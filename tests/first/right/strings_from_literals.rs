use runtime::worker;

#[worker]
fn shout(text: String) -> String {
    text.to_uppercase()
}

fn main() -> runtime::Result<()> {
    assert_eq!(runtime::pool().map(shout, ["a", "b"])?, ["A", "B"]);
    Ok(())
}
