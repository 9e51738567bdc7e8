//! cargo run --release --example word_count
//!
//! Counts the words of all text files below the folders given as arguments; without any, of those
//! of this repository.

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

/// One task: some of the files. Only their names travel to the worker, the text is read there.
/// Files that are not UTF-8 text, or cannot be read, are left out.
#[worker]
fn count_words(paths: &[PathBuf]) -> Counts {
    let mut counts = Counts::default();
    let texts = paths.iter().flat_map(fs::read_to_string);
    for text in texts.filter(|text| !text.contains('\0')) {
        counts.files += 1;
        counts.bytes += text.len() as u64;
        let words = text.split(|c: char| !c.is_alphabetic());
        for word in words.filter(|word| !word.is_empty()) {
            *counts.words.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    counts
}

/// The files below a folder with their sizes; build output and hidden folders are left out.
fn find_files(folder: PathBuf, files: &mut Vec<(u64, PathBuf)>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (meta, name) = (entry.metadata()?, entry.file_name());
        if meta.is_file() {
            files.push((meta.len(), entry.path()));
        } else if meta.is_dir() && name != "target" && !name.as_encoded_bytes().starts_with(b".") {
            find_files(entry.path(), files)?;
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut folders: Vec<_> = env::args().skip(1).collect();
    if folders.is_empty() {
        folders.push(concat!(env!("CARGO_MANIFEST_DIR"), "/..").into());
    }
    let mut files = Vec::new();
    for folder in folders {
        find_files(folder.into(), &mut files)?;
    }
    files.sort_unstable(); // by size, so that each task gets as much as the others
    let pool = Pool::builder().name("words").build()?;
    let workers = pool.workers().len();
    let mut tasks = vec![Vec::new(); 4 * workers];
    for (place, (_size, path)) in files.into_iter().enumerate() {
        tasks[place % (4 * workers)].push(path);
    }

    let begin = Instant::now();
    let shares = pool.map(count_words, tasks.iter().map(Vec::as_slice))?;
    let total = shares.into_iter().fold(Counts::default(), Counts::merge);
    let shared = begin.elapsed().as_secs_f64();

    // The same without a pool: a worker function can be called like any other.
    let begin = Instant::now();
    let shares = tasks.iter().map(|paths| count_words(paths));
    let again = shares.fold(Counts::default(), Counts::merge);
    let alone = begin.elapsed().as_secs_f64();
    assert!(again.words == total.words, "both ways count the same");

    let (files, bytes, words) = (total.files, total.bytes, total.words.len());
    let mut ranking: Vec<_> = total.words.into_iter().collect();
    ranking.sort_unstable_by_key(|(_, count)| *count);
    for (word, count) in ranking.iter().rev().take(10) {
        println!("{count:>9}  {word}");
    }
    println!("{files} files, {bytes} bytes, {words} distinct words");
    println!("{shared:.4} s with {workers} workers, {alone:.4} s in this process alone");
    println!("speed-up {:.2}", alone / shared);
    Ok(())
}
