use runtime::worker;

struct Hit {
    line: usize,
}

#[worker]
fn search(text: &str) -> Vec<Hit> {
    let lines = text.lines().enumerate().filter(|(_, line)| line.contains("error"));
    lines.map(|(line, _)| Hit { line }).collect()
}

fn main() {
    let hits = runtime::pool().apply(search, "no\nerror").unwrap();
    println!("{}", hits[0].line);
}
