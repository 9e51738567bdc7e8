//! Tasks on agents of this host, over a server that the benchmark starts: empty tasks, and tasks of one millisecond.
//!
//! `cargo bench -p procession --features cluster --bench cluster`. It needs `nats-server`.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use runtime::{Pool, worker};

#[worker]
fn nothing(x: u64) -> u64 {
    x
}

/// Uses the CPU for a millisecond.
#[worker]
fn spin(_: u64) {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(1) {
        std::hint::spin_loop();
    }
}

/// Waits for a millisecond and a little more.
#[worker]
fn nap(_: u64) {
    std::thread::sleep(Duration::from_millis(1));
}

/// A process that is killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn server(port: u16, store: &std::path::Path) -> Option<Running> {
    let process = Command::new("nats-server")
        .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
        .arg(store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        std::thread::sleep(Duration::from_millis(5));
    }
    Some(Running(process))
}

fn agent(url: &str, workers: usize) -> Running {
    let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
    command.env("PROCESSION_AGENT", url).env("PROCESSION_WORKERS", workers.to_string());
    Running(command.stderr(Stdio::null()).spawn().expect("the agent starts"))
}

fn main() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|one| one.local_addr());
    let port = port.expect("a free port").port();
    let store = std::env::temp_dir().join(format!("procession-bench-{}", std::process::id()));
    let Some(server) = server(port, &store) else {
        println!("skipped: nats-server is not installed");
        return;
    };
    let url = format!("nats://127.0.0.1:{port}");
    let agents = [agent(&url, 1), agent(&url, 1)];
    let remote = Pool::builder().cluster(&url).workers(2).build().expect("the pool starts");
    let local = Pool::builder().workers(2).build().expect("the pool starts");
    for (name, pool) in [("2 agents with 1 worker each", &remote), ("2 local workers", &local)] {
        pool.map(nothing, 0..100_000).expect("it works");
        for round in 0..3 {
            let tasks = 1_000_000;
            let begun = Instant::now();
            pool.map(nothing, 0..tasks).expect("it works");
            let each = begun.elapsed().as_nanos() as f64 / tasks as f64 / 1000.0;
            let tasks = 4000;
            let begun = Instant::now();
            pool.map(spin, 0..tasks).expect("it works");
            let ideal = Duration::from_millis(tasks / 2);
            let part = 100.0 * ideal.as_secs_f64() / begun.elapsed().as_secs_f64();
            let begun = Instant::now();
            pool.map(nap, 0..tasks).expect("it works");
            let naps = begun.elapsed().as_millis();
            let begun = Instant::now();
            let calls = 200;
            (0..calls).for_each(|x| drop(pool.apply(nothing, x)));
            let apply = begun.elapsed().as_micros() / u128::from(calls);
            println!(
                "{name}, round {round}: {each:.2} us per empty task; 4000 tasks of 1 ms: {part:.1} % of ideal; 4000 naps of \
                 1 ms: {naps} ms; apply: {apply} us"
            );
        }
    }
    drop((remote, agents, server));
    let _ = std::fs::remove_dir_all(store);
}
