use runtime::worker;

#[derive(Debug)]
enum ParseError {
    Empty,
}

#[worker]
fn first_word(line: &str) -> Result<String, ParseError> {
    line.split(' ').next().map(String::from).ok_or(ParseError::Empty)
}

fn main() {
    println!("{:?}", runtime::pool().map(first_word, ["a b", ""]));
}
