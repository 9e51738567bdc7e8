//! Tasks on other hosts: counts primes on all agents, and loses one of them in between.
//!
//! cargo run --release --features cluster --example cluster [URL]
//!
//! Without the address of a server, the program starts a server and two agents on this host, if `nats-server` is
//! installed. On other hosts, start agents with the same file: `PROCESSION_AGENT=URL PROCESSION_WORKERS=8 ./cluster`.

use std::collections::BTreeMap;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use runtime::{Pool, Result, worker};

/// Counts the primes in a range, and returns the process that counted.
#[worker]
fn count_primes(from: u64, to: u64) -> (u64, u32) {
    let is_prime =
        |n: &u64| *n > 1 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    let agent = runtime::parent_id().expect("it runs in a worker of an agent");
    ((from..to).filter(is_prime).count() as u64, agent)
}

/// A process that is killed when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a server on a free port, which keeps its queue in a folder; `None` if it is not installed.
fn start_server(folder: &std::path::Path) -> Option<(String, Running)> {
    let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
    let mut command = Command::new("nats-server");
    command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(folder);
    let server = Running(command.stderr(Stdio::null()).spawn().ok()?);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
    Some((format!("nats://127.0.0.1:{port}"), server))
}

/// Starts an agent: this program again.
fn start_agent(url: &str) -> std::io::Result<Running> {
    let mut command = Command::new(std::env::current_exe()?);
    // What it and its tasks write would mix with the output of this program.
    command.stderr(Stdio::null());
    // Seconds, so that the end of an agent is noticed soon.
    command.env("PROCESSION_HOST_TIMEOUT", "2");
    command.env("PROCESSION_AGENT", url).env("PROCESSION_WORKERS", "1").spawn().map(Running)
}

fn count(url: &str, lose: Option<Running>) -> Result<()> {
    let pool = Pool::builder().cluster(url).build()?;
    let begun = Instant::now();
    let ranges = (0..400).map(|n| (n * 5_000, (n + 1) * 5_000));
    let counts = pool.map_async(count_primes, ranges);
    if let Some(agent) = lose {
        thread::sleep(Duration::from_millis(100));
        println!("agent {} is killed, and its tasks run again on the other", agent.0.id());
        drop(agent);
    }
    let mut by_agent = BTreeMap::<u32, u64>::new();
    let counts = counts.wait()?;
    let primes: u64 = counts.iter().map(|(primes, _)| primes).sum();
    counts.iter().for_each(|(_, agent)| *by_agent.entry(*agent).or_default() += 1);
    println!("{primes} primes below 2000000, after {:.1} s", begun.elapsed().as_secs_f64());
    by_agent.iter().for_each(|(agent, tasks)| println!("  {tasks} tasks by agent {agent}"));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    if let Some(url) = std::env::args().nth(1) {
        return Ok(count(&url, None)?);
    }
    let folder = std::env::temp_dir().join(format!("procession-cluster-{}", std::process::id()));
    let Some((url, server)) = start_server(&folder) else {
        println!("install nats-server, or give the address of a server");
        return Ok(());
    };
    let agents = [start_agent(&url)?, start_agent(&url)?];
    // Until both are there, a pool that asks for two workers waits.
    drop(Pool::builder().cluster(&url).workers(2).build()?);
    count(&url, None)?;
    let [kept, lost] = agents;
    count(&url, Some(lost))?;
    drop((kept, server));
    Ok(std::fs::remove_dir_all(folder)?)
}
