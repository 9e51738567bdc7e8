//! Channels between two processes: this project, `ipc-channel` and queues of CPython, interleaved in one run.
//!
//! `cargo run --release -p procession-benches --bin channels [-- --quick]`
//!
//! Prints a table of medians of five rounds. Without `python3` the queues of Python are left out.

mod contender;
mod ipc;
mod own;
mod python;

use std::time::Duration;

use contender::{Contender, Figures, Round};

/// Makes this program the peer of one of `ipc-channel`.
const PEER: &str = "--hidden-peer";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [PEER, name] => return ipc::peer(name),
        [] | ["--quick"] => {}
        _ => return Err("only --quick is an argument".into()),
    }
    let quick = !arguments.is_empty();
    let round = match quick {
        true => Round { messages: 20_000, trips: 1_000, large: 4, of: 5 },
        false => Round { messages: 1_000_000, trips: 50_000, large: 100, of: 5 },
    };
    let mut contenders: Vec<Box<dyn Contender>> = vec![Box::new(own::Own), Box::new(ipc::Ipc)];
    for name in ["SimpleQueue", "Queue", "Pipe"] {
        contenders.extend(python::Python::new(name).map(|one| Box::new(one) as Box<dyn Contender>));
    }
    let mut all: Vec<Vec<Figures>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..round.of {
        for (contender, figures) in contenders.iter().zip(&mut all) {
            figures.push(contender.run(&round)?);
        }
    }
    let medians: Vec<Figures> = all.iter().map(|figures| contender::median(figures)).collect();
    print(&contenders, &medians);
    Ok(())
}

fn print(contenders: &[Box<dyn Contender>], medians: &[Figures]) {
    println!("| | a number, one way | there and back, p50 | p99 | 1 MiB, one way |");
    println!("|---|---|---|---|---|");
    let first = &medians[0];
    for (contender, figures) in contenders.iter().zip(medians) {
        let cell = |value: f64, first: f64| match value / first {
            _ if value.is_nan() => "-".to_owned(),
            times if times < 1.05 => format!("{:.3?}", Duration::from_secs_f64(value)),
            times => format!("{:.3?} ({times:.1}x)", Duration::from_secs_f64(value)),
        };
        println!(
            "| {} | {} | {} | {} | {} |",
            contender.name(),
            cell(figures.one_way, first.one_way),
            cell(figures.trip, first.trip),
            cell(figures.trip_p99, first.trip_p99),
            cell(figures.large, first.large),
        );
    }
}
