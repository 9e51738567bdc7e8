//! The first word of a message in a ring.

/// The maximum length of a payload that is written to the ring itself (rule Q9).
pub(crate) const INLINE_LEN: usize = if cfg!(miri) { 256 } else { 16 << 10 };

/// The contents of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A chunk begins. The payload is its position.
    Chunk = 1,
    /// The output of an input.
    Value = 2,
    /// The failure of an input.
    Fail = 3,
    /// An output in a big slot. The payload consists of slot, length and ticket.
    BigValue = 4,
    /// A failure in a big slot.
    BigFail = 5,
    /// The chunk ends. The payload is its duration in nanoseconds.
    End = 6,
    /// The next output contains objects. The payload is their number (rule H5).
    Held = 7,
    /// Outputs of consecutive inputs, all of one length (rule Q23).
    Run = 8,
    /// The times of a part of the chunk (rule Q29).
    Timing = 9,
}

impl Kind {
    fn from_bits(bits: u64) -> Option<Kind> {
        const ALL: [Kind; 9] = [
            Kind::Chunk,
            Kind::Value,
            Kind::Fail,
            Kind::BigValue,
            Kind::BigFail,
            Kind::End,
            Kind::Held,
            Kind::Run,
            Kind::Timing,
        ];
        ALL.into_iter().find(|kind| *kind as u64 == bits)
    }
}

/// The first word of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// The index of the input in the chunk; for a run, that of the first input.
    pub(crate) index: usize,
    /// The length of the payload in bytes; for a run, the length of each output.
    pub(crate) len: usize,
    /// The number of outputs of a closed run. It is 0 for an open run and for other messages.
    pub(crate) count: usize,
}

/// The bits of a header word that hold the number of outputs of a run.
const COUNT: u64 = 0xffff << COUNT_SHIFT;
pub(super) const COUNT_SHIFT: u32 = 16;

/// The maximum number of outputs of a run.
pub(super) const MOST: usize = 0xffff;

impl Header {
    #[inline]
    pub(super) fn new(kind: Kind, index: usize, len: usize) -> Self {
        Header { kind, index, len, count: 0 }
    }

    #[inline]
    pub(super) fn to_word(self) -> u64 {
        let Header { kind, index, len, count } = self;
        (kind as u64) << 56 | (index as u64) << 32 | (count as u64) << COUNT_SHIFT | len as u64
    }

    pub(super) fn from_word(word: u64) -> Option<Header> {
        let len = (word & 0xffff) as usize;
        let count = ((word & COUNT) >> COUNT_SHIFT) as usize;
        let index = (word >> 32 & 0xff_ffff) as usize;
        let kind = Kind::from_bits(word >> 56)?;
        let possible = len <= INLINE_LEN && (count == 0 || kind == Kind::Run);
        possible.then_some(Header { kind, index, len, count })
    }

    /// Returns the number of words of the payload; for a run, those of the outputs that were written.
    #[inline]
    pub(crate) fn words(self) -> usize {
        match self.kind {
            Kind::Run => self.count * words_in_run(self.len),
            _ => self.len.div_ceil(8),
        }
    }
}

/// Returns the number of words of an output in a run. It is at least 1, so that the number of outputs follows
/// from the number of words.
#[inline]
pub(crate) fn words_in_run(len: usize) -> usize {
    len.div_ceil(8).max(1)
}
