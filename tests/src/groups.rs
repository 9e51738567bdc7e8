//! Control groups, of version 1 or 2.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A control group of one controller, which is removed on drop.
pub struct ControlGroup {
    dir: PathBuf,
    /// The file by which this process returns to the group in which it was.
    before: PathBuf,
    version: u8,
}

impl ControlGroup {
    /// Creates a group below the one of this process, or returns `None` where this process may not.
    pub fn new(controller: &str) -> Option<Self> {
        let text = fs::read_to_string("/proc/self/cgroup").ok()?;
        let name = format!("procession-tests-{}", std::process::id());
        let of_version_1 = text.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            controllers.split(',').any(|one| one == controller).then_some(path)
        });
        let (above, version) = match of_version_1 {
            Some(path) => (below(&Path::new("/sys/fs/cgroup").join(controller), path), 1),
            // Only the root of version 2 may have both processes and groups below it.
            None => (PathBuf::from("/sys/fs/cgroup"), 2),
        };
        if version == 2 {
            fs::write(above.join("cgroup.subtree_control"), format!("+{controller}")).ok()?;
        }
        let before = match version {
            1 => above.join("cgroup.procs"),
            _ => {
                let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
                below(&above, path).join("cgroup.procs")
            }
        };
        let dir = above.join(name);
        fs::create_dir(&dir).ok()?;
        Some(ControlGroup { dir, before, version })
    }

    /// Sets a limit by the names of its file in version 1 and 2; returns whether the kernel has it.
    pub fn set(&self, files: [&str; 2], value: &str) -> bool {
        fs::write(self.dir.join(files[usize::from(self.version - 1)]), value).is_ok()
    }

    /// Moves this process into the group.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel.
    pub fn enter(&self) -> io::Result<()> {
        fs::write(self.dir.join("cgroup.procs"), std::process::id().to_string())
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        let _ = fs::write(&self.before, std::process::id().to_string());
        // Processes that have just ended may still be in it.
        crate::wait::for_it("the group is empty", || fs::remove_dir(&self.dir).is_ok());
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}
