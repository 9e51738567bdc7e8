use std::collections::{BTreeMap, HashMap};

use runtime::worker;

#[worker]
fn count(text: &str, least: Option<usize>) -> BTreeMap<String, usize> {
    let mut counts = HashMap::new();
    for word in text.split(' ').filter(|word| word.len() >= least.unwrap_or(0)) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts.into_iter().collect()
}

fn main() -> runtime::Result<()> {
    let counts = runtime::pool().apply(count, ("a bb bb", Some(2)))?;
    assert_eq!(counts, BTreeMap::from([("bb".to_owned(), 2)]));
    Ok(())
}
