//! Those who do the same work.

/// A piece of work that all are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    /// Two starts in a fresh process: seconds until the first result of each.
    Start,
    /// `u64 -> u64` with default settings: seconds a task.
    Map,
    /// The same, each task handed over alone.
    Single,
    /// One call at a time: p50 and p99 in seconds.
    Calls,
    /// 8 MiB of bytes there and back: seconds.
    Bytes,
    /// 8 MiB of `f64` there and back: seconds.
    Floats,
    /// 64 MiB of `f64` that a worker only reads: seconds.
    OneWay,
    /// 12,000 strings of six bytes that a worker only reads: seconds a string.
    Strings,
    /// Many calls submitted before the first result is waited for: seconds a call.
    Handles,
}

impl Work {
    pub(crate) const ALL: [Work; 9] = [
        Work::Start,
        Work::Map,
        Work::Single,
        Work::Calls,
        Work::Bytes,
        Work::Floats,
        Work::OneWay,
        Work::Strings,
        Work::Handles,
    ];
}

/// Megabytes in one call of [`Work::Bytes`] and [`Work::Floats`].
pub(crate) const LEN: usize = 8 << 20;
/// Bytes in one call of [`Work::OneWay`].
pub(crate) const ONE_WAY: usize = 64 << 20;
/// Strings in one call of [`Work::Strings`].
pub(crate) const STRINGS: usize = 12_000;
pub(crate) const STRING_CALLS: usize = 20;
pub(crate) const HANDLES: usize = 200_000;
pub(crate) const CALLS: usize = 2000;
pub(crate) const LONG_CALLS: usize = 5;

/// How much of the work there is.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) quick: bool,
}

impl Size {
    /// Fewer where it only has to be seen to run.
    pub(crate) fn of(self, count: usize) -> usize {
        if self.quick { (count / 20).max(2) } else { count }
    }
}

pub(crate) trait Contender {
    fn name(&self) -> String;

    /// Does the work once; `None` if it cannot.
    fn run(&mut self, work: Work, size: Size) -> Option<Vec<f64>>;
}

/// p50 and p99 of many calls.
pub(crate) fn one_at_a_time(count: usize, mut call: impl FnMut(u64)) -> Vec<f64> {
    let times: Vec<f64> = (0..count as u64).map(|i| crate::measure::seconds(|| call(i))).collect();
    [0.5, 0.99].map(|share| crate::measure::quantile(times.clone(), share)).to_vec()
}

/// Seconds of one of a few calls, after one that does not count, with inputs that are made before.
pub(crate) fn there_and_back<T: Clone>(
    data: &T,
    calls: usize,
    mut call: impl FnMut(T),
) -> Vec<f64> {
    call(data.clone());
    let inputs = vec![data.clone(); calls];
    vec![crate::measure::seconds(|| inputs.into_iter().for_each(&mut call)) / calls as f64]
}

/// The numbers of [`Work::OneWay`], and their sum.
pub(crate) fn numbers() -> (Vec<f64>, f64) {
    let count = ONE_WAY / 8;
    (vec![0.5; count], count as f64 / 2.0)
}

/// Seconds of one of `calls` calls with the same input, after one that does not count.
pub(crate) fn repeated(calls: usize, mut call: impl FnMut()) -> f64 {
    call();
    crate::measure::seconds(|| (0..calls).for_each(|_| call())) / calls as f64
}

/// Starts of this program in a fresh process, by a hidden argument.
pub(crate) fn starts_in_fresh_process(name: &str) -> Option<Vec<f64>> {
    let output = std::process::Command::new(std::env::current_exe().ok()?)
        .args([crate::START, name])
        .output()
        .ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// The hidden run: two starts, both pools alive until the end.
pub(crate) fn starts<P>(start: impl Fn() -> P) {
    let mut pools = Vec::new();
    let times: Vec<f64> = (0..2).map(|_| crate::measure::seconds(|| pools.push(start()))).collect();
    println!("{}", serde_json::to_string(&times).expect("numbers"));
}
