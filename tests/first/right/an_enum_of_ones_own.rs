use runtime::worker;
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
enum Job {
    Square(u64),
    Text { of: String },
    Nothing,
}

#[worker]
fn run(job: Job) -> String {
    match job {
        Job::Square(x) => (x * x).to_string(),
        Job::Text { of } => of,
        Job::Nothing => String::new(),
    }
}

fn main() -> runtime::Result<()> {
    let jobs = [Job::Square(3), Job::Text { of: "a".into() }, Job::Nothing];
    assert_eq!(runtime::pool().map(run, &jobs)?, ["9", "a", ""]);
    Ok(())
}
