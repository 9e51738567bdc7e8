//! The first word of a message in a ring.

/// The longest payload that goes through the ring itself (rule Q9).
pub(crate) const INLINE_LEN: usize = if cfg!(miri) { 256 } else { 16 << 10 };

/// The contents of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Begins the chunk whose position is the payload.
    Chunk = 1,
    /// The output of an input.
    Value = 2,
    /// Why an input has no output.
    Fail = 3,
    /// An output in a big slot: slot, length and ticket.
    BigValue = 4,
    /// A reason in a big slot.
    BigFail = 5,
    /// Ends the chunk; the payload is the nanoseconds it took.
    End = 6,
    /// The next output holds as many objects as the payload says (rule H5).
    Held = 7,
    /// Outputs of consecutive inputs, all of one length (rule Q23).
    Run = 8,
    /// How long a part of the chunk took (rule Q29).
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
    /// Which input of the chunk; of a run, the first.
    pub(crate) index: usize,
    /// Bytes of the payload; of a run, of each output.
    pub(crate) len: usize,
    /// Of a run, how many outputs it has; 0 while it is open, and of any other message.
    pub(crate) count: usize,
}

/// The bits of a header word that hold the number of outputs of a run.
const COUNT: u64 = 0xffff << COUNT_SHIFT;
pub(super) const COUNT_SHIFT: u32 = 16;

/// The most outputs of a run.
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

    /// Words of the payload, or of those outputs of a run that there are.
    #[inline]
    pub(crate) fn words(self) -> usize {
        match self.kind {
            Kind::Run => self.count * words_in_run(self.len),
            _ => self.len.div_ceil(8),
        }
    }
}

/// Words of an output in a run. There is always one, so that the place of an output says how many
/// came before it.
#[inline]
pub(crate) fn words_in_run(len: usize) -> usize {
    len.div_ceil(8).max(1)
}
