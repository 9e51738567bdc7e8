//! A program that says nothing of clusters, and runs on one because of a variable of its environment.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use procession_tests::{ONCE, StartMethod, conformance};
use runtime::{Pool, State, initializer, worker};

use crate::hosts::{Server, is_skipped};

conformance! {
    ONCE => [a_program_runs_unchanged_on_a_cluster];
}

/// The variable that makes an execution of this file the program, with the folder of its texts.
pub(crate) const PROGRAM: &str = "PROCESSION_TESTS_UNCHANGED";

#[worker]
fn count_words(path: PathBuf) -> BTreeMap<String, u64> {
    let mut words = BTreeMap::new();
    for word in std::fs::read_to_string(path).unwrap().split_whitespace() {
        *words.entry(word.to_lowercase()).or_default() += 1;
    }
    words
}

/// What each worker loads before it draws.
struct Colours {
    table: Vec<u8>,
}

#[initializer]
fn load_colours(first: u8) -> Colours {
    Colours { table: (0..=255).map(|n: u8| n.wrapping_add(first)).collect() }
}

/// Draws a map, and returns its bytes.
#[worker]
fn draw_map(colours: State<Colours>, hour: usize, width: usize) -> Vec<u8> {
    (0..width * width).map(|pixel| colours.table[(pixel * (hour + 1)) % 256]).collect()
}

#[worker]
fn processes() -> (u32, Option<u32>) {
    (std::process::id(), runtime::parent_id())
}

/// The program, as a user has written it for one machine.
pub(crate) fn be_program(folder: PathBuf) {
    let pool = Pool::builder().initializer(load_colours, 7).build().unwrap();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut words: BTreeMap<String, u64> = BTreeMap::new();
    for (_, counts) in pool.imap_unordered(count_words, files) {
        for (word, count) in counts.unwrap() {
            *words.entry(word).or_default() += count;
        }
    }
    println!("{words:?}");
    let maps = pool.map(draw_map, (0..60).map(|hour| (hour, 150))).unwrap();
    let hash = |map: &Vec<u8>| {
        map.iter().fold(7_u64, |hash, byte| hash * 31 % 1_000_003 + u64::from(*byte))
    };
    println!("{:?}", maps.iter().map(hash).collect::<Vec<_>>());
    let (worker, parent) = pool.apply(processes, ()).unwrap();
    eprintln!("{}", parent.filter(|_| worker != std::process::id()).unwrap());
}

fn a_program_runs_unchanged_on_a_cluster(_: StartMethod) {
    if is_skipped() {
        return;
    }
    let server = Server::start();
    let texts = server.path().join("texts");
    std::fs::create_dir(&texts).unwrap();
    for n in 0..40 {
        std::fs::write(texts.join(n.to_string()), format!("one two {n} Two three\n").repeat(50))
            .unwrap();
    }
    let agent = server.agent(2);
    let program = |cluster: Option<String>| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env(PROGRAM, &texts).envs(cluster.map(|url| ("PROCESSION_CLUSTER", url)));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let parent = String::from_utf8(output.stderr).unwrap();
        (String::from_utf8(output.stdout).unwrap(), parent.trim().to_owned())
    };
    let (local, parent) = program(None);
    assert_ne!(parent, agent.pid().to_string());
    let (far, parent) = program(Some(server.url()));
    assert_eq!(parent, agent.pid().to_string());
    assert!(local.contains("\"two\": 4000"), "{local}");
    assert_eq!(local, far);
}
