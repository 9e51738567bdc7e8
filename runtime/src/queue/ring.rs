//! The ring of results, which one worker writes and the caller reads (rules Q7 and Q8).
//!
//! A message consists of a header word and its payload in whole words. The words are relaxed atomics,
//! ordered by `produced` and `consumed`. If a worker violates the protocol, the reader reads wrong
//! values, but its behaviour remains defined.
//!
//! Outputs of one length that follow each other share the header of a *run* (rule Q23).

use super::header::{COUNT_SHIFT, Header, Kind, MOST, words_in_run};
use crate::atomics::{AtomicU64, Ordering};

/// A violation of the protocol by a worker (rule Q20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

/// The shared part of a ring.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    /// The words, whose number is a power of two.
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

/// The end of a ring that the worker writes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Producer {
    at: u64,
    /// The position up to which the worker may write, as of the last check.
    limit: u64,
    /// The index of the input before which the open run ends at the latest; 0 if no run is open.
    end: usize,
    /// The length of the previous output, and the number of words of each output in a run.
    len: usize,
    words: usize,
    run: OpenRun,
}

/// The run that a worker has begun and not closed.
#[derive(Clone, Copy, Debug, Default)]
struct OpenRun {
    header_at: u64,
    header: u64,
}

impl Producer {
    /// Returns whether a payload of `len` bytes fits now.
    #[inline]
    pub(crate) fn fits(&mut self, ring: Ring<'_>, len: usize) -> bool {
        let end = self.at + 1 + words_in_run(len) as u64;
        if end > self.limit {
            let consumed = ring.consumed.load(Ordering::Acquire);
            self.limit = consumed.wrapping_add(ring.data.len() as u64);
        }
        end <= self.limit
    }

    /// Returns the number of words that were written.
    pub(crate) fn written(&self) -> u64 {
        self.at
    }

    /// Writes a message; it must [fit](Self::fits).
    #[inline]
    pub(crate) fn push(&mut self, ring: Ring<'_>, kind: Kind, index: usize, payload: &[u8]) {
        self.close_run(ring);
        self.put(ring, Header::new(kind, index, payload.len()).to_word());
        self.put_bytes(ring, payload);
        self.publish(ring);
    }

    /// Appends the output of an input to the open run, if it has the length of the run and fits without
    /// another check. Returns whether the output was written.
    #[inline]
    pub(crate) fn append_to_run(&mut self, ring: Ring<'_>, index: usize, output: &[u8]) -> bool {
        let fits_run = index < self.end
            && output.len() == self.len
            && self.at + self.words as u64 <= self.limit;
        if fits_run {
            match <[u8; 8]>::try_from(output) {
                Ok(word) => self.put(ring, u64::from_le_bytes(word)),
                Err(_) => self.put_in_run(ring, output),
            }
            self.publish(ring);
        }
        fits_run
    }

    /// Writes the output of an input if it fits now. Returns whether it was written.
    ///
    /// An output that is as long as the previous one is appended to the open run, or begins a run.
    pub(crate) fn output(&mut self, ring: Ring<'_>, index: usize, output: &[u8]) -> bool {
        let is_like_before = output.len() == self.len;
        if index >= self.end || !is_like_before {
            self.close_run(ring);
        }
        if !self.fits(ring, output.len()) {
            return false;
        }
        if self.append_to_run(ring, index, output) {
            return true;
        }
        self.len = output.len();
        if !is_like_before {
            self.push(ring, Kind::Value, index, output);
            return true;
        }
        self.words = words_in_run(output.len());
        // The reader frees the memory of a run when the run is closed, so a run must not fill the ring.
        let most = ring.data.len() / 4 / self.words;
        let header = Header::new(Kind::Run, index, output.len()).to_word();
        self.run = OpenRun { header_at: self.at, header };
        self.end = index + most.clamp(1, MOST);
        self.put(ring, header);
        self.put_in_run(ring, output);
        self.publish(ring);
        true
    }

    /// Writes the number of outputs to the header of the open run. A reader that sees a later message also sees
    /// this number.
    #[inline]
    fn close_run(&mut self, ring: Ring<'_>) {
        if self.end != 0 {
            let OpenRun { header_at, header } = self.run;
            let count = (self.at - header_at - 1) / self.words as u64;
            ring.word(header_at).store(header | count << COUNT_SHIFT, Ordering::Relaxed);
            self.end = 0;
        }
    }

    #[inline]
    fn publish(&mut self, ring: Ring<'_>) {
        crate::fault::fault("publishing");
        ring.produced.store(self.at, Ordering::Release);
    }

    #[inline]
    fn put_in_run(&mut self, ring: Ring<'_>, output: &[u8]) {
        match output.is_empty() {
            true => self.put(ring, 0),
            false => self.put_bytes(ring, output),
        }
    }

    #[inline]
    fn put_bytes(&mut self, ring: Ring<'_>, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.put(ring, u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        let rest = words.remainder();
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.put(ring, u64::from_le_bytes(last));
        }
    }

    #[inline]
    fn put(&mut self, ring: Ring<'_>, word: u64) {
        ring.word(self.at).store(word, Ordering::Relaxed);
        self.at += 1;
    }
}

/// The end of a ring that the caller reads. Its position is private to the caller; the shared word only
/// informs the worker.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Consumer {
    at: u64,
    run: Option<SeenRun>,
}

/// A run that is not read to its end.
#[derive(Clone, Copy, Debug)]
struct SeenRun {
    header_at: u64,
    /// The header when it was first read.
    header: Header,
    /// The number of outputs that were taken.
    taken: usize,
}

impl Consumer {
    /// Creates a consumer that has read up to a position.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn at(at: u64) -> Self {
        Consumer { at, run: None }
    }

    /// Returns whether the ring has unread messages.
    #[inline]
    pub(crate) fn has_messages(&self, ring: Ring<'_>) -> bool {
        ring.produced.load(Ordering::Acquire) != self.at
    }

    /// Returns the position up to which the ring can be read.
    ///
    /// # Errors
    ///
    /// Returns an error if the position is impossible (rule Q20).
    #[inline]
    pub(crate) fn end(&self, ring: Ring<'_>) -> Result<u64, Malformed> {
        let end = ring.produced.load(Ordering::Acquire);
        match end.wrapping_sub(self.at) <= ring.data.len() as u64 {
            true => Ok(end),
            false => Err(Malformed("its ring holds more than fits")),
        }
    }

    /// Returns the header of the next message before `end`, if there is one. For a run, the header describes
    /// the outputs before `end` that were not taken.
    ///
    /// # Errors
    ///
    /// Returns an error if the header is invalid, or if the message does not end before `end` (rule Q20).
    #[inline]
    pub(crate) fn peek(&mut self, ring: Ring<'_>, end: u64) -> Result<Option<Header>, Malformed> {
        loop {
            if let Some(run) = self.run {
                let seen = Header::from_word(ring.word(run.header_at).load(Ordering::Relaxed));
                let same = seen.filter(|seen| Header { count: 0, ..*seen } == run.header);
                let Header { len, count, .. } = same.ok_or(RUN_CHANGED)?;
                let there = end.wrapping_sub(self.at) as usize / words_in_run(len);
                let left = match count {
                    0 => usize::MAX,
                    count => count.checked_sub(run.taken).ok_or(RUN_CHANGED)?,
                };
                if left == 0 {
                    self.run = None;
                    continue;
                }
                let (index, count) = (run.header.index + run.taken, there.min(left));
                return Ok((count > 0).then_some(Header { index, count, ..run.header }));
            }
            if self.at == end {
                return Ok(None);
            }
            // The word is read only once, because the worker may change it at any time.
            let word = ring.word(self.at).load(Ordering::Relaxed);
            let header =
                Header::from_word(word).ok_or(Malformed("a result has no valid header"))?;
            if header.kind == Kind::Run {
                let header = Header { count: 0, ..header };
                self.run = Some(SeenRun { header_at: self.at, header, taken: 0 });
                self.at = self.at.wrapping_add(1);
                continue;
            }
            return match end.wrapping_sub(self.at) > header.words() as u64 {
                true => Ok(Some(header)),
                false => Err(Malformed("a result is longer than its ring")),
            };
        }
    }

    /// Appends the payload of a message whose header [`peek`](Self::peek) has returned, and advances past it.
    #[inline]
    pub(crate) fn take(&mut self, ring: Ring<'_>, header: Header, to: &mut Vec<u64>) {
        match &mut self.run {
            Some(run) => run.taken += header.count,
            None => self.at = self.at.wrapping_add(1),
        }
        let words = header.words();
        let start = self.at as usize & (ring.data.len() - 1);
        let (before, rest) = ring.data.split_at(start);
        let straight = words.min(rest.len());
        to.extend(rest[..straight].iter().map(|word| word.load(Ordering::Relaxed)));
        if straight < words {
            // The payload continues at the beginning of the ring.
            to.extend(before[..words - straight].iter().map(|word| word.load(Ordering::Relaxed)));
        }
        self.at = self.at.wrapping_add(words as u64);
    }

    /// Publishes the position up to which the ring was read, so that the worker may reuse the memory (rule Q8).
    /// The header of a run is read until the run is closed.
    ///
    /// The position is published in steps of an eighth of the ring, because the worker reads words beside it for
    /// each input.
    #[inline]
    pub(crate) fn publish_consumed(&self, ring: Ring<'_>) {
        let read = self.run.map_or(self.at, |run| run.header_at);
        let published = ring.consumed.load(Ordering::Relaxed);
        if read.wrapping_sub(published) >= ring.data.len() as u64 / 8 {
            ring.consumed.store(read, Ordering::Release);
        }
    }
}

const RUN_CHANGED: Malformed = Malformed("a run of results became another one");

#[cfg(all(test, not(loom)))]
mod tests {
    use super::super::header::INLINE_LEN;
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
        consumer.publish_consumed(ring);
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
            assert_eq!(seen[0].0, Header::new(Kind::Value, round, 17));
            let bytes: Vec<u8> = seen[0].1.iter().flat_map(|word| word.to_le_bytes()).collect();
            assert_eq!(bytes[..17], payload);
        }
    }

    #[test]
    fn rule_23_outputs_of_one_length_share_a_header() {
        let owned = Owned::new(64);
        let ring = owned.ring();
        let (mut producer, mut consumer) = (Producer::default(), Consumer::default());
        let (mut sent, mut next, mut headers) = (Vec::new(), 0, 0);
        let mut random = 7_u64;
        for index in 0..2000_usize {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            // Mostly of one length, of which there are several, empty ones among them.
            let len = [8, 8, 0, 5, 16][index / 100 % 5] + usize::from(random >> 60 == 0);
            let output = vec![index as u8; len];
            while !producer.output(ring, index, &output) {
                assert!(next < index, "the reader has read everything and freed too little");
                headers += drained(ring, &mut consumer, &sent, &mut next);
            }
            sent.push(output);
            if random >> 61 == 1 {
                headers += drained(ring, &mut consumer, &sent, &mut next);
                assert_eq!(next, sent.len(), "what is published can be read at once");
            }
            if random >> 57 == 1 {
                producer.push(ring, Kind::End, 0, &[]);
            }
        }
        drained(ring, &mut consumer, &sent, &mut next);
        assert_eq!(next, sent.len());
        assert!(headers < 1200, "{headers} pieces");
    }

    /// Reads what is there and compares it with what was sent; returns the number of pieces.
    fn drained(
        ring: Ring<'_>,
        consumer: &mut Consumer,
        sent: &[Vec<u8>],
        next: &mut usize,
    ) -> usize {
        let pieces = drain(ring, consumer).unwrap();
        for (header, words) in &pieces {
            let count = match header.kind {
                Kind::End => continue,
                Kind::Run => header.count,
                _ => 1,
            };
            assert_eq!(header.index, *next);
            let each = words.chunks(words_in_run(header.len)).take(count);
            let each = each.chain((words.is_empty()).then_some(&[][..]));
            for words in each {
                let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
                assert_eq!(bytes[..header.len], sent[*next]);
                *next += 1;
            }
        }
        pieces.len()
    }

    #[test]
    fn rule_20_a_run_does_not_become_another_one() {
        let owned = Owned::new(16);
        let ring = owned.ring();
        let run = |count| Header { count, ..Header::new(Kind::Run, 0, 8) };
        let set = |header: Header| owned.data[0].store(header.to_word(), Ordering::Relaxed);
        for (then, is_lie) in
            [(run(3), false), (run(1), true), (Header::new(Kind::Run, 0, 16), true)]
        {
            let mut consumer = Consumer::default();
            set(run(0));
            owned.produced.store(3, Ordering::Relaxed);
            assert_eq!(drain(ring, &mut consumer).unwrap()[0].0.count, 2);
            assert_eq!(owned.consumed.load(Ordering::Relaxed), 0, "the header is still read");
            set(then);
            owned.produced.store(4, Ordering::Relaxed);
            assert_eq!(drain(ring, &mut consumer).is_err(), is_lie, "{then:?}");
        }
    }

    #[test]
    fn rule_20_malformed_messages_are_refused() {
        let refused = |produced, header: Option<Header>| {
            let owned = Owned::new(8);
            owned.produced.store(produced, Ordering::Relaxed);
            owned.data[0].store(header.map_or(0, Header::to_word), Ordering::Relaxed);
            drain(owned.ring(), &mut Consumer::default()).is_err()
        };
        let value = |len| Some(Header::new(Kind::Value, 0, len));
        assert!(refused(9, value(0)), "more than fits");
        assert!(refused(1, None), "kind 0");
        assert!(refused(1, value(64)), "cut off");
        assert!(refused(8, value(INLINE_LEN + 1)), "too long");
        assert!(!refused(2, value(8)));
    }
}
