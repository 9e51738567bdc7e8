//! The system calls of the library are in one folder.

use crate::tree::{Modules, Path};

/// The crates through which the library calls the kernel.
const CRATES: [&str; 2] = ["libc", "nix"];

/// The folder that may use them.
const FOLDER: &str = "sys";

/// Returns the uses of these crates outside of the folder.
pub(crate) fn outside(modules: &Modules) -> Vec<String> {
    let elsewhere = |path: &Path| path.first().is_none_or(|first| first != FOLDER);
    modules
        .iter()
        .filter(|(path, _)| elsewhere(path))
        .flat_map(|(_, module)| &module.references)
        .filter(|reference| CRATES.contains(&reference.path[0].trim_start_matches("::")))
        .map(|reference| {
            format!("{}:{}: {}", reference.file, reference.line, reference.path.join("::"))
        })
        .collect()
}
