//! cargo run --release --example async_tokio
//!
//! Tasks that are `async` functions, with the feature `tokio`. Each worker runs many of them at the same time, and
//! computes while others wait for answers of a slow server.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use runtime::{Pool, worker};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LATENCY: Duration = Duration::from_millis(50);

/// Asks the server for one page.
async fn page(server: SocketAddr, number: u64) -> io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(server).await?;
    stream.write_all(&number.to_le_bytes()).await?;
    let mut text = String::new();
    stream.read_to_string(&mut text).await?;
    Ok(text)
}

/// Counts the words of a page.
///
/// An error that serde cannot encode, such as that of `io`, becomes an error of the call.
#[worker]
async fn count_words(server: SocketAddr, number: u64) -> io::Result<usize> {
    Ok(page(server, number).await?.split_whitespace().count())
}

/// Waits for an answer that never comes, for as long as its caller allows.
#[worker]
async fn impatient(server: SocketAddr) -> Option<String> {
    let deadline = runtime::deadline()?;
    tokio::time::timeout_at(deadline.into(), page(server, u64::MAX)).await.ok()?.ok()
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    let mut number = [0; 8];
    stream.read_exact(&mut number)?;
    match u64::from_le_bytes(number) {
        u64::MAX => std::thread::sleep(Duration::from_secs(3600)),
        _ => std::thread::sleep(LATENCY),
    }
    let words = u64::from_le_bytes(number) % 10 + 1;
    stream.write_all("word ".repeat(words as usize).as_bytes())
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::builder().workers(2).concurrency(50).build()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let server = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || answer(stream));
        }
    });

    let begun = Instant::now();
    let words: usize = pool.map(count_words, (0..200_u64).map(|n| (server, n)))?.into_iter().sum();
    let (took, one_by_one) = (begun.elapsed(), LATENCY * 200);
    println!("200 pages with {words} words");
    println!(
        "{:.2} s, one after the other at least {:.0} s",
        took.as_secs_f64(),
        one_by_one.as_secs_f64()
    );

    let call = pool.task(impatient).soft_timeout(Duration::from_millis(100));
    println!("the page that never comes: {:?}", call.apply(server)?);
    Ok(())
}
