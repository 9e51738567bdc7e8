//! Copies of parts of the library in packages of their own, which build within seconds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Returns the root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

/// Copies the files that are new or have changed, so that the others are not built again.
pub(crate) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        let mut entries: Vec<PathBuf> =
            fs::read_dir(from)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        entries.sort();
        return entries.iter().try_for_each(|entry| {
            copy_tree(entry, &to.join(entry.file_name().unwrap_or_default()))
        });
    }
    let text = fs::read(from)?;
    if fs::read(to).ok().as_ref() != Some(&text) {
        fs::write(to, text)?;
    }
    Ok(())
}
