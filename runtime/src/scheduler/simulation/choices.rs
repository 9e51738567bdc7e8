//! The source of the decisions of a schedule: a seed, or a list of earlier decisions.

/// A source of decisions that records them.
#[derive(Clone, Debug)]
pub(crate) struct Choices {
    state: u64,
    replay: Option<Vec<u32>>,
    made: Vec<u32>,
}

impl Choices {
    /// Creates a source whose decisions follow from a seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Choices {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            replay: None,
            made: Vec::new(),
        }
    }

    /// Creates a source that replays the decisions of a list, and then always decides for the first
    /// possibility.
    pub(crate) fn replayed(list: Vec<u32>) -> Self {
        Choices { state: 1, replay: Some(list), made: Vec::new() }
    }

    /// Returns the decisions so far.
    pub(crate) fn made(&self) -> Vec<u32> {
        self.made.clone()
    }

    /// Returns whether the decisions are those of a list.
    pub(super) fn is_replay(&self) -> bool {
        self.replay.is_some()
    }

    /// Decides for one of `count` possibilities.
    pub(super) fn pick(&mut self, count: usize) -> usize {
        let count = count.max(1) as u32;
        let drawn = match &self.replay {
            Some(list) => list.get(self.made.len()).copied().unwrap_or(0),
            None => self.draw(),
        };
        let choice = drawn % count;
        self.made.push(choice);
        choice as usize
    }

    /// Returns true once in `odds` times; always false after the end of a replay.
    pub(super) fn once_in(&mut self, odds: usize) -> bool {
        // With this order 0, to which shrinking tends, means that nothing special happens.
        self.pick(odds) + 1 == odds
    }

    fn draw(&mut self) -> u32 {
        // xorshift64*.
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as u32
    }
}
