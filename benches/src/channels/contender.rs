//! What is measured of each.

/// How much is measured.
pub(crate) struct Round {
    /// Small messages in a stream.
    pub(crate) messages: u64,
    /// Round trips.
    pub(crate) trips: u64,
    /// Messages of [`LARGE`] bytes.
    pub(crate) large: u64,
    /// How many rounds there are.
    pub(crate) of: usize,
}

/// The bytes of a large message.
pub(crate) const LARGE: usize = 1 << 20;

/// How many messages a channel holds, where that can be said.
pub(crate) const CAPACITY: usize = 1024;

/// Seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// For each message of a stream.
    pub(crate) one_way: f64,
    pub(crate) trip: f64,
    pub(crate) trip_p99: f64,
    /// For each large message of a stream.
    pub(crate) large: f64,
}

/// A kind of channel.
pub(crate) trait Contender {
    fn name(&self) -> String;
    fn run(&self, round: &Round) -> Result<Figures, Box<dyn std::error::Error>>;
}

/// The median of each figure.
pub(crate) fn median(figures: &[Figures]) -> Figures {
    let of = |get: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = figures.iter().map(get).collect();
        values.sort_unstable_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Figures {
        one_way: of(|f| f.one_way),
        trip: of(|f| f.trip),
        trip_p99: of(|f| f.trip_p99),
        large: of(|f| f.large),
    }
}

/// The median and the 99th percentile of times in seconds.
pub(crate) fn percentiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_unstable_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 99 / 100])
}
