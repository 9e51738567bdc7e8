//! cargo run --release --example echo_server [-- ADDRESS]
//!
//! A server whose connections are served by worker processes. The main process only accepts connections and
//! sends them to the workers, as values in a channel from which all workers receive. If a worker crashes,
//! only its connection is lost. Without an address, the server starts ten clients itself.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::{env, thread};

use runtime::{Fd, Pool, Receiver, worker};

/// Serves connections until there are no more, and returns their number.
#[worker]
fn serve(connections: Receiver<Fd<TcpStream>>) -> u64 {
    let mut count = 0;
    for connection in connections {
        count += 1;
        // A client that disconnects must not end the worker.
        let _ = echo(connection.into_inner());
    }
    count
}

fn echo(stream: TcpStream) -> std::io::Result<()> {
    let mut to = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        writeln!(to, "{} from a worker", line?)?;
    }
    Ok(())
}

fn client(address: std::net::SocketAddr, number: u64) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    writeln!(stream, "hello {number}")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer)
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1);
    let pool = Pool::builder().workers(3).build()?;
    let (sender, connections) = runtime::channel(16)?;
    let servers = pool.map_async(serve, (0..3).map(|_| connections.clone()));
    drop(connections);

    let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
    let own = listener.local_addr()?;
    let clients = match address {
        Some(_) => u64::MAX,
        None => 10,
    };
    let talk = thread::spawn(move || {
        let numbers = 0..if clients == 10 { 10 } else { 0 };
        numbers.map(|number| client(own, number)).collect::<Result<Vec<_>, _>>()
    });
    for _ in 0..clients {
        let (stream, _) = listener.accept()?;
        // Waits while all workers are busy and sixteen connections are waiting.
        sender.send(Fd::new(stream)?)?;
    }
    drop(sender);
    for answer in talk.join().expect("a client does not panic")? {
        print!("{answer}");
    }
    println!("{} connections served", servers.wait()?.iter().sum::<u64>());
    Ok(())
}
