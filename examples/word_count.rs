//! cargo run --release --example word_count
//!
//! Counts the words of all text files in the given folders. By default these are the sources of the crates
//! that cargo has fetched, or this repository.

use std::{collections::HashMap, env, error::Error, fs, io, path::PathBuf, time::Instant};

use runtime::{Pool, worker};
use serde::{Deserialize, Serialize};

#[derive(Default, Serialize, Deserialize)]
struct Counts {
    files: u64,
    bytes: u64,
    words: HashMap<String, u64>,
}

impl Counts {
    fn merge(mut self, other: Counts) -> Counts {
        self.files += other.files;
        self.bytes += other.bytes;
        for (word, count) in other.words {
            *self.words.entry(word).or_default() += count;
        }
        self
    }
}

/// One task: some of the files. Only their names are sent to the worker, which reads the text. Files that
/// cannot be read, or are not UTF-8, are skipped.
#[worker]
fn count_words(paths: &[PathBuf]) -> Counts {
    let mut counts = Counts::default();
    let texts = paths.iter().flat_map(fs::read_to_string);
    for text in texts.filter(|text| !text.contains('\0')) {
        counts.files += 1;
        counts.bytes += text.len() as u64;
        for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()) {
            *counts.words.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    counts
}

/// Returns the files in a folder with their sizes, without build output and hidden folders.
fn find_files(folder: PathBuf, files: &mut Vec<(u64, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let (path, meta) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        let name = path.file_name().unwrap_or_default();
        if meta.is_file() {
            files.push((meta.len(), path));
        } else if meta.is_dir() && name != "target" && !name.as_encoded_bytes().starts_with(b".") {
            find_files(path, files)?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut folders: Vec<PathBuf> = env::args().skip(1).map(PathBuf::from).collect();
    if folders.is_empty() {
        let cargo = env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo = cargo.unwrap_or_else(|| env::home_dir().unwrap_or_default().join(".cargo"));
        let (crates, here) = (cargo.join("registry/src"), env!("CARGO_MANIFEST_DIR"));
        folders.push(if crates.is_dir() { crates } else { PathBuf::from(here).join("..") });
    }
    let mut files = Vec::new();
    folders.into_iter().try_for_each(|folder| find_files(folder, &mut files))?;
    files.sort_unstable(); // by size, so that all tasks get about the same amount
    let bytes: u64 = files.iter().map(|(size, _path)| size).sum();
    let pool = Pool::builder().name("words").build()?;
    let workers = pool.workers().len();
    let mut tasks = vec![Vec::new(); 4 * workers];
    let places = (0..4 * workers).cycle();
    places.zip(files).for_each(|(place, (_size, path))| tasks[place].push(path));

    let begin = Instant::now();
    let call = pool.task(count_words);
    let call = if bytes > 50_000_000 { call.progress("counting") } else { call };
    let total = call.map(&tasks)?.into_iter().fold(Counts::default(), Counts::merge);
    let shared = begin.elapsed().as_secs_f64();

    // The same without a pool: a worker function can be called like any other function.
    let begin = Instant::now();
    let again = tasks.iter().map(|paths| count_words(paths)).reduce(Counts::merge);
    let alone = begin.elapsed().as_secs_f64();
    assert!(again.unwrap().words == total.words, "both ways count the same");

    let mut ranking: Vec<_> = total.words.into_iter().collect();
    ranking.sort_unstable_by_key(|(_, count)| std::cmp::Reverse(*count));
    for (word, count) in &ranking[..ranking.len().min(10)] {
        println!("{count:>9}  {word}");
    }
    let (files, bytes, distinct) = (total.files, total.bytes, ranking.len());
    println!("{files} files, {bytes} bytes, {distinct} distinct words");
    println!("{shared:.4} s with {workers} workers, {alone:.4} s in this process alone");
    println!("speed-up {:.2}", alone / shared);
    Ok(())
}
