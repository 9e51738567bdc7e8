use anyhow::Context as _;
use runtime::worker;

#[worker]
fn load(path: String) -> anyhow::Result<String> {
    std::fs::read_to_string(&path).with_context(|| format!("cannot load `{path}`"))
}

fn main() -> anyhow::Result<()> {
    runtime::pool().map(load, ["/proc/self/status"])?;
    let error = runtime::pool().apply(load, "/no/such/file").unwrap_err();
    let chain = format!("{:#}", anyhow::Error::from(error));
    assert!(chain.ends_with("cannot load `/no/such/file`: No such file or directory (os error 2)"));
    Ok(())
}
