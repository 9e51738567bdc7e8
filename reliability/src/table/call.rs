//! A call in which some inputs fail, and the checks of its outcomes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use runtime::{Error, ErrorKind, Pool, PoolBuilder, StartMethod};

use crate::tasks::{Fault, Moment, Order, Report, double, obey, value_of};
use crate::{counts, usage};

/// The number of inputs of a call with faults.
pub(crate) const INPUTS: usize = 24;

/// The start method and the number of workers of the pools.
#[derive(Clone, Copy)]
pub(crate) struct Bench {
    pub(crate) method: StartMethod,
    pub(crate) workers: usize,
}

impl Bench {
    pub(crate) fn builder(&self) -> PoolBuilder {
        Pool::builder().workers(self.workers).start_method(self.method).name("table")
    }

    pub(crate) fn pool(&self) -> Result<Pool, String> {
        self.builder().build().map_err(|error| format!("the pool was not built: {error}"))
    }
}

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Apply,
    Map,
    MapAll,
    Submit,
}

pub(crate) const CALLS: [Call; 4] = [Call::Apply, Call::Map, Call::MapAll, Call::Submit];

/// The outcome of an input; `None` if the call does not return it.
pub(crate) type Outcome = Option<Result<Report, Error>>;

/// The options of the calls.
#[derive(Clone, Copy, Default)]
pub(crate) struct Extra {
    pub(crate) chunk: Option<usize>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) retries: u32,
}

impl Call {
    /// Runs the call, and returns the outcome of every order.
    pub(crate) fn run(self, pool: &Pool, orders: &[Order], extra: Extra) -> Vec<Outcome> {
        let task = || {
            let mut task = pool.task(obey).retries(extra.retries);
            if let Some(time) = extra.timeout {
                task = task.timeout(time);
            }
            match extra.chunk {
                Some(len) => task.chunk_size(len),
                None => task,
            }
        };
        match self {
            Call::Apply => orders.iter().map(|order| Some(task().apply(*order))).collect(),
            Call::MapAll => task().map_all(orders.iter().copied()).into_iter().map(Some).collect(),
            Call::Map => match task().map(orders.iter().copied()) {
                Ok(reports) => reports.into_iter().map(|report| Some(Ok(report))).collect(),
                Err(error) => {
                    let mut outcomes: Vec<Outcome> = orders.iter().map(|_| None).collect();
                    let at = error.index().unwrap_or(usize::MAX);
                    match outcomes.get_mut(at) {
                        Some(outcome) => *outcome = Some(Err(error)),
                        None => outcomes.push(Some(Err(error))),
                    }
                    outcomes
                }
            },
            Call::Submit => std::thread::scope(|scope| {
                let threads: Vec<_> = orders
                    .chunks(orders.len().div_ceil(4))
                    .map(|share| {
                        scope.spawn(|| {
                            let handles: Vec<_> =
                                share.iter().map(|order| task().submit(*order)).collect();
                            handles
                                .into_iter()
                                .map(|handle| Some(handle.wait()))
                                .collect::<Vec<_>>()
                        })
                    })
                    .collect();
                threads
                    .into_iter()
                    .flat_map(|thread| thread.join().expect("no thread panics"))
                    .collect()
            }),
        }
    }

    /// Returns the index that the error of an order contains.
    fn index(self, order: usize) -> usize {
        match self {
            Call::Map | Call::MapAll => order,
            Call::Apply | Call::Submit => 0,
        }
    }
}

/// The expected outcome of an input that fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) kind: ErrorKind,
    pub(crate) signal: Option<i32>,
    pub(crate) code: Option<i32>,
    /// A part of the message.
    pub(crate) text: &'static str,
    /// The number of times that the task was begun.
    pub(crate) runs: u64,
    /// Whether the error names the worker.
    pub(crate) placed: bool,
}

/// Returns the expected outcome of an input with a fault.
pub(crate) fn ending(fault: Fault, moment: Moment) -> Ending {
    let plain = |kind| Ending {
        kind,
        signal: None,
        code: None,
        text: "",
        runs: u64::from(moment != Moment::Decoding),
        placed: true,
    };
    let signaled = |signal| Ending { signal: Some(signal), ..plain(ErrorKind::Signaled) };
    let conversion = match moment {
        Moment::Decoding => plain(ErrorKind::Decode),
        Moment::Encoding => plain(ErrorKind::Encode),
        Moment::DecodingInCaller => Ending { placed: false, ..plain(ErrorKind::Decode) },
        Moment::Running => plain(ErrorKind::Panicked),
    };
    match fault {
        Fault::Kill => signaled(libc::SIGKILL),
        Fault::Abort => signaled(libc::SIGABRT),
        Fault::Segfault => signaled(libc::SIGSEGV),
        Fault::Overflow => Ending { text: "stack overflowed", ..signaled(libc::SIGSEGV) },
        Fault::Exit(code) => Ending { code: Some(code), ..plain(ErrorKind::Exited) },
        Fault::Panic if moment == Moment::Running => Ending { text: "struck", ..conversion },
        Fault::Refuse => Ending { text: "refused", ..conversion },
        _ => conversion,
    }
}

/// Runs a call in which the victims fail, and checks every outcome.
pub(crate) fn check(
    pool: &Pool,
    call: Call,
    victims: &[usize],
    fault: Fault,
    moment: Moment,
    extra: Extra,
    ending: &Ending,
) -> Result<(), String> {
    // Each call has its own indices, because inputs of an earlier call may still run.
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let base = CALLS.fetch_add(1, Ordering::Relaxed) * INPUTS;
    let order = |index| match victims.contains(&index) {
        true => Order { index: base + index, fault, moment },
        false => Order::harmless(base + index),
    };
    let orders: Vec<Order> = (0..INPUTS).map(order).collect();
    let outcomes = call.run(pool, &orders, extra);
    if outcomes.len() != orders.len() {
        return Err(format!(
            "{} outcomes of {} inputs: {outcomes:?}",
            outcomes.len(),
            orders.len()
        ));
    }
    for (index, outcome) in outcomes.iter().enumerate() {
        one(call, base, index, outcome.as_ref(), victims.contains(&index).then_some(ending))?;
    }
    let failed = outcomes.iter().flatten().filter(|outcome| outcome.is_err()).count();
    match call {
        Call::Map if failed != usize::from(!victims.is_empty()) => {
            Err("map did not fail".to_owned())
        }
        _ => Ok(()),
    }
}

/// Checks the outcome of one order.
fn one(
    call: Call,
    base: usize,
    index: usize,
    outcome: Option<&Result<Report, Error>>,
    ending: Option<&Ending>,
) -> Result<(), String> {
    let count = counts::of(base + index);
    let error = match (outcome, ending) {
        (None, _) => {
            // A map that failed returns only one outcome, but no input may run twice.
            return match count.runs {
                0 | 1 => Ok(()),
                runs => Err(format!("input {index} ran {runs} times")),
            };
        }
        (Some(Ok(report)), None) if report.value != value_of(base + index) => {
            return Err(format!("input {index} has the value of another"));
        }
        (Some(Ok(_)), None) => {
            return match count.runs {
                1 => Ok(()),
                runs => Err(format!("input {index} is done but ran {runs} times")),
            };
        }
        (Some(Ok(_)), Some(_)) => return Err(format!("input {index} did not fail")),
        (Some(Err(error)), None) => return Err(format!("input {index} failed: {error}")),
        (Some(Err(error)), Some(_)) => error,
    };
    let Some(ending) = ending else { return Ok(()) };
    let facts = (error.kind(), error.signal(), error.exit_code());
    if facts != (ending.kind, ending.signal, ending.code) {
        return Err(format!("input {index} ended as {facts:?} instead of {ending:?}: {error}"));
    }
    if !error.to_string().contains(ending.text) {
        return Err(format!("`{error}` does not say `{}`", ending.text));
    }
    if error.index() != Some(call.index(index)) {
        return Err(format!("input {index} is called {:?}", error.index()));
    }
    if error.task().is_none_or(|task| !task.contains("obey")) {
        return Err(format!("the error names the task {:?}", error.task()));
    }
    if ending.placed && (error.pid(), error.worker()) != (Some(count.pid), count.worker) {
        return Err(format!(
            "input {index} was in worker {:?} (pid {}), the error says {:?} ({:?})",
            count.worker,
            count.pid,
            error.worker(),
            error.pid()
        ));
    }
    match count.runs == ending.runs {
        true => Ok(()),
        false => Err(format!("input {index} ran {} times instead of {}", count.runs, ending.runs)),
    }
}

/// Checks that the pool still works.
pub(crate) fn answers(pool: &Pool) -> Result<(), String> {
    let one = pool.apply(double, 21).map_err(|error| format!("a trivial call fails: {error}"))?;
    let many = pool.map(double, 0..100).map_err(|error| format!("a trivial map fails: {error}"))?;
    match one == 42 && many.iter().zip(0..100).all(|(value, x)| *value == 2 * x) {
        true => Ok(()),
        false => Err("a trivial call gives wrong values".to_owned()),
    }
}

/// Waits until all workers of a pool serve.
pub(crate) fn complete(pool: &Pool, workers: usize) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let infos = pool.workers();
        let ready = |info: &runtime::WorkerInfo| {
            matches!(info.state(), runtime::WorkerState::Idle) && usage::is_alive(info.pid())
        };
        if infos.len() == workers && infos.iter().all(ready) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("after 10 s the workers are {infos:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Checks that a dropped pool has left no resources; `before` are those before the pool was built.
pub(crate) fn nothing_left(before: usage::Usage) -> Result<(), String> {
    // The end of a thread or process is visible with a delay.
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        let now = usage::here();
        let same = now.fds <= before.fds
            && now.threads <= before.threads
            && now.children <= before.children;
        // Other mappings are stacks and arenas that the C library keeps for new threads.
        if same && now.shared <= before.shared {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(format!("left behind: {now} instead of {before}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
