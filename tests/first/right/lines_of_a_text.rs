use runtime::worker;

#[worker]
fn words(line: &str) -> usize {
    line.split_whitespace().count()
}

fn main() -> runtime::Result<()> {
    let text = String::from("one two\nthree");
    assert_eq!(runtime::pool().map(words, text.lines())?, [2, 1]);
    let lines: Vec<String> = text.lines().map(String::from).collect();
    assert_eq!(runtime::pool().map(words, &lines)?, [2, 1]);
    Ok(())
}
