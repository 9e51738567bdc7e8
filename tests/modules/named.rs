//! The files that the pages for contributors name, and the code that the list of deliberate faults quotes.

use std::collections::BTreeSet;
use std::path::Path;

/// The folders in which a named file may be.
const ROOTS: [&str; 4] = ["../runtime/src", "../runtime", "..", "../runtime/src/queue"];

/// Returns the names of files in a text: those in backticks that end in `.rs` or `/`, and the targets of
/// links.
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

/// Returns the names in a page that do not belong to a file.
pub(crate) fn missing(page: &Path, text: &str) -> Vec<String> {
    let own = page.parent().expect("a page lies in a folder");
    let is_there = |name: &String| {
        let roots = ROOTS.iter().map(Path::new).chain([own]);
        roots.into_iter().any(|root| root.join(name).exists())
    };
    let missing = names(text).into_iter().filter(|name| !is_there(name));
    missing.map(|name| format!("{}: {name}", page.display())).collect()
}

/// Returns the files that the numbered steps of the path of one input name, in order.
pub(crate) fn path_of_an_input(design: &str) -> Vec<String> {
    let (_, rest) = design.split_once("\n## The path of one input").expect("the path is there");
    let path = rest.split("\n## ").next().unwrap_or_default();
    let steps = path.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit()));
    let quoted = steps.flat_map(|line| line.split('`').skip(1).step_by(2));
    quoted.filter(|name| name.ends_with(".rs")).map(str::to_owned).collect()
}

/// Returns the deliberate faults of a list that do not find the code which they replace exactly once, so that the
/// command that makes them would fail.
pub(crate) fn misplaced_faults(list: &str, read: impl Fn(&str) -> String) -> Vec<String> {
    let blocks = list.split("name: ").skip(1);
    let misplaced = blocks.filter_map(|block| {
        let values = |key: &str| -> Vec<&str> {
            block.lines().filter_map(|line| line.strip_prefix(key)).collect()
        };
        let (name, file) = (block.lines().next()?, values("file: ").concat());
        let places = read(&file).matches(&values("find: ").join("\n")).count();
        (places != 1).then(|| format!("{name}: its code is in {file} {places} times"))
    });
    misplaced.collect()
}
