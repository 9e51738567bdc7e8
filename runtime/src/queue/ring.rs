//! The ring of results, which one worker writes and the caller reads (rules Q7 and Q8).
//!
//! A message consists of a header word and its payload in whole words. The words are relaxed atomics,
//! ordered by `produced` and `consumed`. If a worker violates the protocol, the reader reads wrong
//! values, but its behaviour remains defined.

use crate::atomics::{AtomicU64, Ordering};

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
}

impl Kind {
    fn from_bits(bits: u64) -> Option<Kind> {
        const ALL: [Kind; 7] = [
            Kind::Chunk,
            Kind::Value,
            Kind::Fail,
            Kind::BigValue,
            Kind::BigFail,
            Kind::End,
            Kind::Held,
        ];
        ALL.into_iter().find(|kind| *kind as u64 == bits)
    }
}

/// The first word of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Which input of the chunk.
    pub(crate) index: usize,
    /// Bytes of the payload.
    pub(crate) len: usize,
}

impl Header {
    fn to_word(self) -> u64 {
        (self.kind as u64) << 56 | (self.index as u64) << 32 | self.len as u64
    }

    fn from_word(word: u64) -> Option<Header> {
        let len = (word & 0xffff_ffff) as usize;
        let index = (word >> 32 & 0xff_ffff) as usize;
        let kind = Kind::from_bits(word >> 56)?;
        (len <= INLINE_LEN).then_some(Header { kind, index, len })
    }

    /// Words of the payload.
    fn words(self) -> usize {
        self.len.div_ceil(8)
    }
}

/// The worker broke the protocol (rule Q20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The shared part of a ring.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    /// A power of two of words.
    pub(crate) data: &'a [AtomicU64],
    pub(crate) produced: &'a AtomicU64,
    pub(crate) consumed: &'a AtomicU64,
}

impl<'a> Ring<'a> {
    #[inline]
    fn word(self, at: u64) -> &'a AtomicU64 {
        &self.data[at as usize & (self.data.len() - 1)]
    }
}

/// The worker's end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Producer {
    at: u64,
    /// The last known value of `consumed`.
    seen: u64,
}

impl Producer {
    /// Whether a payload of `len` bytes fits now.
    #[inline]
    pub(crate) fn fits(&mut self, ring: Ring<'_>, len: usize) -> bool {
        let end = self.at + 1 + len.div_ceil(8) as u64;
        if end.wrapping_sub(self.seen) > ring.data.len() as u64 {
            self.seen = ring.consumed.load(Ordering::Acquire);
        }
        end.wrapping_sub(self.seen) <= ring.data.len() as u64
    }

    /// Writes a message; it must [fit](Self::fits).
    #[inline]
    pub(crate) fn push(&mut self, ring: Ring<'_>, kind: Kind, index: usize, payload: &[u8]) {
        let header = Header { kind, index, len: payload.len() };
        self.put(ring, header.to_word());
        let mut words = payload.chunks_exact(8);
        for word in &mut words {
            self.put(ring, u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.put(ring, u64::from_le_bytes(last));
        }
        crate::fault::fault("publishing");
        ring.produced.store(self.at, Ordering::Release);
    }

    #[inline]
    fn put(&mut self, ring: Ring<'_>, word: u64) {
        ring.word(self.at).store(word, Ordering::Relaxed);
        self.at += 1;
    }
}

/// The caller's end. Its place is private to the caller; the shared word only tells
/// the worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Consumer {
    at: u64,
}

impl Consumer {
    /// One that has read up to a place.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn at(at: u64) -> Self {
        Consumer { at }
    }

    /// Whether something came since.
    #[inline]
    pub(crate) fn has_news(&self, ring: Ring<'_>) -> bool {
        ring.produced.load(Ordering::Acquire) != self.at
    }

    /// Returns the position up to which the ring can be read.
    ///
    /// # Errors
    ///
    /// If that cannot be (rule Q20).
    #[inline]
    pub(crate) fn end(&self, ring: Ring<'_>) -> Result<u64, Malformed> {
        let end = ring.produced.load(Ordering::Acquire);
        match end.wrapping_sub(self.at) <= ring.data.len() as u64 {
            true => Ok(end),
            false => Err(Malformed("its ring holds more than fits")),
        }
    }

    /// The message that comes next before `end`, if there is one.
    ///
    /// # Errors
    ///
    /// If its header makes no sense, or it does not end before `end` (rule Q20).
    #[inline]
    pub(crate) fn peek(&self, ring: Ring<'_>, end: u64) -> Result<Option<Header>, Malformed> {
        if self.at == end {
            return Ok(None);
        }
        // Read once: it may change under our eyes.
        let word = ring.word(self.at).load(Ordering::Relaxed);
        let header = Header::from_word(word).ok_or(Malformed("a result has no valid header"))?;
        match end.wrapping_sub(self.at) > header.words() as u64 {
            true => Ok(Some(header)),
            false => Err(Malformed("a result is longer than its ring")),
        }
    }

    /// Appends the payload of a message that was [peeked](Self::peek), and steps over it.
    #[inline]
    pub(crate) fn take(&mut self, ring: Ring<'_>, header: Header, to: &mut Vec<u64>) {
        let first = self.at.wrapping_add(1);
        let words = header.words() as u64;
        to.extend((0..words).map(|n| ring.word(first.wrapping_add(n)).load(Ordering::Relaxed)));
        self.at = first.wrapping_add(words);
    }

    /// Tells the worker what was read, so that it may write there again (rule Q8).
    #[inline]
    pub(crate) fn tell(&self, ring: Ring<'_>) {
        ring.consumed.store(self.at, Ordering::Release);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Owned {
        data: Vec<AtomicU64>,
        produced: AtomicU64,
        consumed: AtomicU64,
    }

    impl Owned {
        fn new(words: usize) -> Self {
            Owned {
                data: (0..words).map(|_| AtomicU64::new(0)).collect(),
                produced: AtomicU64::new(0),
                consumed: AtomicU64::new(0),
            }
        }

        fn ring(&self) -> Ring<'_> {
            Ring { data: &self.data, produced: &self.produced, consumed: &self.consumed }
        }
    }

    fn drain(
        ring: Ring<'_>,
        consumer: &mut Consumer,
    ) -> Result<Vec<(Header, Vec<u64>)>, Malformed> {
        let mut seen = Vec::new();
        let end = consumer.end(ring)?;
        while let Some(header) = consumer.peek(ring, end)? {
            let mut words = Vec::new();
            consumer.take(ring, header, &mut words);
            seen.push((header, words));
        }
        consumer.tell(ring);
        Ok(seen)
    }

    #[test]
    fn messages_wrap_around_the_end() {
        let owned = Owned::new(8);
        let ring = owned.ring();
        let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
        for round in 0..20_usize {
            let payload = [round as u8; 17];
            assert!(producer.fits(ring, 17));
            producer.push(ring, Kind::Value, round, &payload);
            assert!(!producer.fits(ring, 40), "8 words do not hold 4 and 6");
            let seen = drain(ring, &mut consumer).unwrap();
            assert_eq!(seen.len(), 1);
            assert_eq!(seen[0].0, Header { kind: Kind::Value, index: round, len: 17 });
            let bytes: Vec<u8> = seen[0].1.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(bytes[..17], payload);
        }
    }

    #[test]
    fn rule_20_nonsense_is_refused() {
        let refused = |produced, header: Option<Header>| {
            let owned = Owned::new(8);
            owned.produced.store(produced, Ordering::Relaxed);
            owned.data[0].store(header.map_or(0, Header::to_word), Ordering::Relaxed);
            drain(owned.ring(), &mut Consumer::default()).is_err()
        };
        let value = |len| Some(Header { kind: Kind::Value, index: 0, len });
        assert!(refused(9, value(0)), "more than fits");
        assert!(refused(1, None), "kind 0");
        assert!(refused(1, value(64)), "cut off");
        assert!(refused(8, value(INLINE_LEN + 1)), "too long");
        assert!(!refused(2, value(8)));
    }
}
