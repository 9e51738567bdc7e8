//! The memory of an idle worker whose caller uses much memory.

use runtime::{Pool, Result, StartMethod};

use crate::measure::{Plan, Table, median, settle};

/// Kilobytes of a line of `smaps_rollup`, or several of them.
fn kilobytes(pid: u32, lines: &[&str]) -> f64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(path).expect("the worker lives");
    let value = |line: &str| line.split_whitespace().nth(1)?.parse::<f64>().ok();
    let wanted = |line: &&str| lines.iter().any(|name| line.starts_with(name));
    text.lines().filter(wanted).filter_map(value).sum()
}

fn mebibytes(samples: Vec<f64>) -> String {
    format!("{:.2} MiB", median(samples) / 1024.0)
}

pub(crate) fn run(plan: Plan) -> Result<()> {
    let len = plan.pick(64, 1024) << 20;
    // Not zero, so that every page is there.
    let held = std::hint::black_box(vec![1_u8; len]);
    let mut table = Table::new(&["method", "private", "proportional", "resident"]);
    let methods = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];
    for method in methods {
        let pool = Pool::builder().workers(4).start_method(method).build()?;
        let pool = crate::warm(pool)?;
        // Idle workers tidy up after a second.
        settle();
        std::thread::sleep(std::time::Duration::from_millis(1500));
        let workers = pool.workers();
        let of = |lines: &[&str]| {
            let each = workers.iter().map(|worker| kilobytes(worker.pid(), lines));
            mebibytes(each.collect())
        };
        let private = of(&["Private_Clean:", "Private_Dirty:"]);
        table.row([method.to_string(), private, of(&["Pss:"]), of(&["Rss:"])]);
    }
    drop(held);
    let what =
        format!("an idle worker of 4, the caller holding {} MiB; median of the workers", len >> 20);
    table.print("memory", &what);
    Ok(())
}
