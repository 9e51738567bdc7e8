//! Rules that keep the library readable: unambiguous names, and limits of size.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::tree::{Modules, Type};

/// The maximum number of lines of a file.
const LINES: usize = 500;

/// The maximum number of fields of a type in [`LEGIBLE`].
const FIELDS: usize = 15;

/// The folders whose types are limited.
const LEGIBLE: [&str; 2] = ["pool", "scheduler"];

/// The markers of the kinds of parameters and outputs. Each has the name of what it marks, and is always
/// used together with the name of this module.
const KINDS: [&str; 2] = ["task", "kinds"];

/// The modules that the scheduler must not use, because it only decides.
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

/// Returns the names that types of more than one file have, with the places. A file may contain a name
/// twice only if the types depend on a feature.
pub(crate) fn ambiguous(modules: &Modules) -> Vec<String> {
    /// A public name, by its file, which is the standard term.
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

/// Returns the types with too many fields.
pub(crate) fn wide(modules: &Modules) -> Vec<String> {
    types(modules)
        .filter(|(path, of)| {
            path.first().is_some_and(|first| LEGIBLE.contains(&first.as_str()))
                && of.fields > FIELDS
        })
        .map(|(_, of)| format!("{}:{}: {} has {} fields", of.file, of.line, of.name, of.fields))
        .collect()
}

/// Returns the modules that the scheduler uses although it must not.
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

/// Returns the source files in a folder that have too many lines.
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
