//! cargo run --release --example pipeline
//!
//! Three stages connected by channels: the first one reads lines, the second one counts their words, and the
//! third one adds the counts up. Each stage is a task in a separate process. A channel holds eight batches,
//! so that a fast stage waits for a slow one, and memory use stays small. A stage ends after the stage before
//! it has ended, because its channel is disconnected.

use std::{collections::BTreeMap, error::Error};

use runtime::{Pool, Receiver, Sender, worker};

type Counts = BTreeMap<String, u64>;

/// Generates text, in place of a file or a socket.
#[worker]
fn read(batches: u64, to: Sender<Vec<String>>) -> Result<u64, String> {
    let words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"];
    let line =
        |n: u64| (0..7).map(|k| words[((n * 7 + k) % 9) as usize]).collect::<Vec<_>>().join(" ");
    for batch in 0..batches {
        let lines = (0..100).map(|n| line(batch * 100 + n)).collect();
        to.send(lines).map_err(|error| error.to_string())?;
    }
    Ok(batches * 100)
}

/// Runs several times at the same time, with the same two channels.
#[worker]
fn count(from: Receiver<Vec<String>>, to: Sender<Counts>) -> Result<u64, String> {
    let mut lines = 0;
    for batch in from {
        let mut counts = Counts::new();
        for word in batch.iter().flat_map(|line| line.split(' ')) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
        lines += batch.len() as u64;
        to.send(counts).map_err(|error| error.to_string())?;
    }
    Ok(lines)
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().workers(4).build()?;
    let (to_count, batches) = runtime::channel(8)?;
    let (to_sum, counts) = runtime::channel(8)?;

    let reader = pool.submit(read, (1000, to_count));
    let counters = pool.map_async(count, (0..3).map(|_| (batches.clone(), to_sum.clone())));
    // The caller neither sends nor receives batches. It drops its own ends, which would keep the channels
    // connected.
    drop((batches, to_sum));

    // This loop is the last stage.
    let mut total = Counts::new();
    for counts in counts {
        for (word, count) in counts {
            *total.entry(word).or_default() += count;
        }
    }
    let read = reader.wait()??;
    let counted: u64 = counters.wait()?.into_iter().sum::<Result<u64, String>>()?;
    println!("{read} lines read, {counted} counted");
    for (word, count) in &total {
        println!("{word:6} {count}");
    }
    Ok(())
}
