//! The files that the pages for developers name.

use std::collections::BTreeSet;
use std::path::Path;

/// Where a file that a page names may lie.
const ROOTS: [&str; 4] = ["../runtime/src", "../runtime", "..", "../runtime/src/queue"];

/// What stands between backticks in a text and ends in `.rs` or `/`, and what it links to.
fn names(text: &str) -> BTreeSet<String> {
    let is_name = |word: &str| {
        (word.ends_with(".rs") || word.ends_with('/'))
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "_./-".contains(c))
            && word.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    };
    let quoted = text.split('`').skip(1).step_by(2).map(str::to_owned);
    let linked = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    let linked = linked.map(|(to, _)| to.split('#').next().unwrap_or_default().to_owned());
    quoted
        .filter(|word| is_name(word))
        .chain(linked.filter(|to| !to.contains("://") && !to.is_empty()))
        .collect()
}

/// The names that a page has for files which are not there.
pub(crate) fn missing(page: &Path, text: &str) -> Vec<String> {
    let own = page.parent().expect("a page lies in a folder");
    let is_there = |name: &String| {
        let roots = ROOTS.iter().map(Path::new).chain([own]);
        roots.into_iter().any(|root| root.join(name).exists())
    };
    let missing = names(text).into_iter().filter(|name| !is_there(name));
    missing.map(|name| format!("{}: {name}", page.display())).collect()
}

/// The files that the numbered steps of the path of one input name, in order.
pub(crate) fn path_of_an_input(design: &str) -> Vec<String> {
    let (_, rest) = design.split_once("\n## The path of one input").expect("the path is there");
    let path = rest.split("\n## ").next().unwrap_or_default();
    let steps = path.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let quoted = steps.flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(|name| name.ends_with(".rs")).map(str::to_owned).collect()
}
