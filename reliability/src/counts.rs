//! Counters of tasks that survive the death of their process: words in a file that the caller and
//! its workers map.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys;

const VARIABLE: &str = "RELIABILITY_COUNTS";
const ROOM: usize = 1 << 14;
const FIELDS: usize = 4;

static WORDS: OnceLock<&'static [AtomicU64]> = OnceLock::new();

/// Creates the file, which workers find by the environment. Called before there are threads.
pub(crate) fn create() {
    let path = scratch("counts");
    let made = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let file = made.expect("the folder for temporary files can be written");
    file.set_len((ROOM * FIELDS * 8) as u64).expect("a file can grow");
    #[allow(unsafe_code, reason = "set_var")]
    // SAFETY: this process has only one thread so far.
    unsafe {
        std::env::set_var(VARIABLE, &path);
    }
    let words = sys::map_words(&file, ROOM * FIELDS).expect("a file can be mapped");
    WORDS.get_or_init(|| words);
}

/// Returns a path in a folder of this process, which the command removes at its end.
pub(crate) fn scratch(name: &str) -> PathBuf {
    let folder =
        std::env::temp_dir().join(format!("procession-reliability-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
    folder.join(name)
}

/// Removes the folder that [`scratch`] has created.
pub(crate) fn clean() {
    let folder =
        std::env::temp_dir().join(format!("procession-reliability-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(folder);
}

fn words() -> Option<&'static [AtomicU64]> {
    if let Some(words) = WORDS.get() {
        return Some(words);
    }
    let path = std::env::var_os(VARIABLE)?;
    let file: File = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let words = sys::map_words(&file, ROOM * FIELDS).ok()?;
    Some(WORDS.get_or_init(|| words))
}

fn field(index: usize, field: usize) -> Option<&'static AtomicU64> {
    words()?.get(index * FIELDS + field)
}

/// Records that an input has reached a worker.
pub(crate) fn seen(index: usize) {
    if let (Some(pid), Some(worker)) = (field(index, 1), field(index, 2)) {
        pid.store(u64::from(std::process::id()), Ordering::SeqCst);
        worker.store(runtime::worker_id().map_or(0, |id| id as u64 + 1), Ordering::SeqCst);
    }
}

/// Records that a task runs.
pub(crate) fn ran(index: usize) {
    if let Some(runs) = field(index, 0) {
        runs.fetch_add(1, Ordering::SeqCst);
    }
}

/// Marks this process as one whose answers are not reliable.
pub(crate) fn vandal() {
    let pid = std::process::id();
    if let Some(word) = field(pid as usize % ROOM, 3) {
        word.store(u64::from(pid), Ordering::SeqCst);
    }
}

/// Returns whether an input was in a process that is marked as a [`vandal`].
pub(crate) fn was_with_vandal(index: usize) -> bool {
    let pid = of(index).pid;
    field(pid as usize % ROOM, 3).is_some_and(|word| word.load(Ordering::SeqCst) == u64::from(pid))
}

/// The counters of one input.
pub(crate) struct Count {
    pub(crate) runs: u64,
    pub(crate) pid: u32,
    pub(crate) worker: Option<usize>,
}

pub(crate) fn of(index: usize) -> Count {
    let read = |at| field(index, at).map_or(0, |word| word.load(Ordering::SeqCst));
    Count { runs: read(0), pid: read(1) as u32, worker: (read(2) as usize).checked_sub(1) }
}

/// Resets all counters.
pub(crate) fn clear() {
    words().into_iter().flatten().for_each(|word| word.store(0, Ordering::SeqCst));
}
