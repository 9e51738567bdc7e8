//! The times that a worker reports (rule Q29).

/// The message by which a worker reports a part of its chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Timing<'a> {
    /// The times at which the part began and ended, in nanoseconds of the clock that all processes share.
    pub(crate) begun: u64,
    pub(crate) ended: u64,
    /// The number of inputs; 0 if only the usage is reported.
    pub(crate) count: u64,
    /// The nanoseconds in which long outputs were encoded and the worker waited for its caller.
    pub(crate) sending: u64,
    /// The bytes of the outputs.
    pub(crate) output: u64,
    pub(crate) usage: Usage,
    /// The number of inputs that were timed together; at least 1.
    pub(crate) step: u64,
    /// The nanoseconds of each group of `step` inputs.
    pub(crate) each: &'a [u64],
}

/// The resources that a worker has used since its start. A value that was not measured is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// The CPU time in nanoseconds.
    pub(crate) cpu: u64,
    /// The maximum memory in bytes.
    pub(crate) peak: u64,
}

impl<'a> Timing<'a> {
    /// Appends the payload of the message.
    pub(crate) fn put(&self, to: &mut Vec<u8>) {
        let Timing { begun, ended, count, sending, output, usage, step, each } = *self;
        let head = [begun, ended, count, sending, output, usage.cpu, usage.peak, step];
        to.extend(head.iter().chain(each).flat_map(|word| word.to_le_bytes()));
    }

    /// Reads a payload. Returns `None` if it is invalid.
    pub(crate) fn from_words(words: &'a [u64]) -> Option<Self> {
        let (&[begun, ended, count, sending, output, cpu, peak, step], each) =
            words.split_first_chunk()?;
        let is_complete = step > 0 && each.len() as u64 == count.div_ceil(step);
        let usage = Usage { cpu, peak };
        is_complete.then_some(Timing { begun, ended, count, sending, output, usage, step, each })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let usage = Usage { cpu: 6, peak: 7 };
        let (begun, ended, sending, output, step) = (1, 2, 4, 5, 3);
        let timing = Timing { begun, ended, count: 5, sending, output, usage, step, each: &[8, 9] };
        let mut bytes = Vec::new();
        timing.put(&mut bytes);
        let mut words: Vec<u64> = bytes
            .chunks(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
            .collect();
        assert_eq!(Timing::from_words(&words), Some(timing));
        assert_eq!(Timing::from_words(&words[..9]), None, "three inputs of five");
        assert_eq!(Timing::from_words(&words[..7]), None);
        words[2] = u64::MAX;
        assert_eq!(Timing::from_words(&words), None);
        words[7] = 0;
        assert_eq!(Timing::from_words(&words), None);
    }
}
