//! What keeps the library legible: names that mean one thing, and limits of size.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::tree::{Modules, Type};

/// The most lines of a file.
const LINES: usize = 500;

/// The most fields of a type in [`LEGIBLE`].
const FIELDS: usize = 15;

/// The folders whose types are limited.
const LEGIBLE: [&str; 2] = ["pool", "scheduler"];

/// The markers of the kinds of parameters and outputs: each is called what it stands for, and always
/// named together with this module.
const KINDS: [&str; 2] = ["task", "kinds"];

/// What the scheduler may not use: it decides, and does nothing.
const OUTSIDE: [&[&str]; 5] = [
    &["crate", "sys"],
    &["crate", "queue"],
    &["crate", "start"],
    &["std", "thread"],
    &["std", "sync"],
];

fn types(modules: &Modules) -> impl Iterator<Item = (&[String], &Type)> {
    modules.iter().flat_map(|(path, module)| module.types.iter().map(|of| (path.as_slice(), of)))
}

/// Names that types of more than one file have, with the places. A file has a name twice only
/// where the types differ with a feature.
pub(crate) fn ambiguous(modules: &Modules) -> Vec<String> {
    /// A name that users write, by its file: that of the standard term.
    const PUBLIC: (&str, &str) = ("sync/event.rs", "Event");
    let mut places: BTreeMap<&str, BTreeMap<&str, String>> = BTreeMap::new();
    let of_crate = types(modules).filter(|(path, _)| *path != KINDS);
    for (_, of) in of_crate.filter(|(_, of)| (&*of.file, &*of.name) != PUBLIC) {
        places.entry(&of.name).or_default().insert(&of.file, format!("{}:{}", of.file, of.line));
    }
    let doubled = places.iter().filter(|(_, places)| places.len() > 1);
    let told =
        |places: &BTreeMap<_, String>| places.values().cloned().collect::<Vec<_>>().join(", ");
    doubled.map(|(name, places)| format!("{name}: {}", told(places))).collect()
}

/// Types with more fields than a reader can hold.
pub(crate) fn wide(modules: &Modules) -> Vec<String> {
    types(modules)
        .filter(|(path, of)| {
            path.first().is_some_and(|first| LEGIBLE.contains(&first.as_str()))
                && of.fields > FIELDS
        })
        .map(|(_, of)| format!("{}:{}: {} has {} fields", of.file, of.line, of.name, of.fields))
        .collect()
}

/// What the scheduler uses though it is to decide only.
pub(crate) fn impure(modules: &Modules) -> Vec<String> {
    modules
        .iter()
        .filter(|(path, _)| path.first().is_some_and(|first| first == "scheduler"))
        .flat_map(|(_, module)| &module.references)
        .filter(|reference| {
            let first = reference.path[0].trim_start_matches("::");
            let path: Vec<_> =
                [first].into_iter().chain(reference.path[1..].iter().map(String::as_str)).collect();
            OUTSIDE.iter().any(|outside| path.starts_with(outside))
        })
        .map(|reference| {
            format!("{}:{}: {}", reference.file, reference.line, reference.path.join("::"))
        })
        .collect()
}

/// Source files below a folder with more lines than one can read at a sitting.
pub(crate) fn long(folder: &Path) -> Vec<String> {
    let mut long = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the workspace") {
        let path = entry.expect("its entries can be read").path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if path.is_dir() && !hidden && !path.ends_with("target") {
            long.extend(self::long(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let lines = fs::read_to_string(&path).expect("it is text").lines().count();
            if lines > LINES {
                long.push(format!("{}: {lines} lines", path.display()));
            }
        }
    }
    long
}
