use runtime::{Pool, worker};

#[worker]
fn greet(name: &str) -> String {
    format!("hello {name}")
}

fn main() -> runtime::Result<()> {
    let pool = Pool::builder().workers(3).build()?;
    let greetings = pool.broadcast(greet, "all".to_owned());
    assert_eq!(greetings.len(), 3);
    assert_eq!(greetings[2].as_ref().unwrap(), "hello all");
    Ok(())
}
