//! The worker page, which a worker shares only with its caller.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::bar_slots::BarSlots;
use super::{DIRECT, OutputMarks, Ring, sized};
use crate::atomics::{AtomicU32, AtomicU64, Ordering, fence};
use crate::codec::Source;
use crate::sys::clock;
use crate::sys::crash::FaultRecord;
use crate::sys::memory::{Mapping, PAGE, SharedMemory};
use crate::sys::wakeup::Wakeup;

/// The number of words in the result ring.
const RING_WORDS: usize = sized(8, 1 << 8, 1 << 16);

/// The number of long results that a worker can have sent and the caller not yet freed (rule Q9).
pub(crate) const BIG_SLOTS: usize = sized(1, 2, 16);

/// The maximum length of a result in bytes, and the address space of a big slot. Its pages are allocated when
/// they are written.
pub(crate) const BIG_LEN: usize = 4 << 30;

/// The number of words in the panic record.
const PANIC_WORDS: usize = sized(1, 64, 2048);

/// The phase of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Phase {
    Starting = 0,
    Idle = 1,
    Busy = 2,
    Leaving = 3,
}

/// The input that a worker has begun. The position and the index are stored in one word (rule Q7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) position: u64,
    pub(crate) index: usize,
}

impl Started {
    #[inline]
    fn to_word(self) -> u64 {
        self.position << 16 | self.index as u64
    }

    fn from_word(word: u64) -> Option<Self> {
        (word != 0).then_some(Started { position: word >> 16, index: (word & 0xffff) as usize })
    }
}

#[cfg_attr(not(all(test, loom)), repr(C, align(64)))]
#[cfg_attr(all(test, loom), repr(C), derive(Default))]
struct FromCaller {
    consumed: AtomicU64,
    skip: AtomicU64,
    kill_mark: AtomicU64,
    leave: AtomicU32,
    spin: AtomicU32,
    /// The cancelled chunk of the queue, and the cancelled direct chunk.
    cancelled: [AtomicU64; 2],
    measure: AtomicU32,
    big_freed: [AtomicU64; BIG_SLOTS],
}

#[cfg_attr(not(all(test, loom)), repr(C, align(64)))]
#[cfg_attr(all(test, loom), repr(C), derive(Default))]
struct FromWorker {
    produced: AtomicU64,
    started: AtomicU64,
    chunk: AtomicU64,
    since: AtomicU64,
    done: AtomicU64,
    report_begun: AtomicU64,
    report_took: AtomicU64,
    phase: AtomicU32,
    asks: AtomicU32,
    polled: AtomicU32,
}

#[cfg_attr(not(all(test, loom)), repr(C, align(64)))]
#[cfg_attr(all(test, loom), repr(C), derive(Default))]
struct Both {
    wake: AtomicU32,
    stuck: AtomicU32,
}

/// The head of a worker page.
#[cfg_attr(not(all(test, loom)), repr(C, align(4096)))]
#[cfg_attr(all(test, loom), repr(C), derive(Default))]
pub(crate) struct WorkerPage {
    caller: FromCaller,
    worker: FromWorker,
    both: Both,
    pub(crate) faults: FaultRecord,
    pub(crate) marks: OutputMarks,
    pub(crate) bars: BarSlots,
    panic_len: AtomicU64,
    panic: [AtomicU64; PANIC_WORDS],
    ring: [AtomicU64; RING_WORDS],
}

// SAFETY: repr(C) and made of atomics only.
#[allow(unsafe_code, reason = "asserts what lies in shared memory")]
unsafe impl SharedMemory for WorkerPage {}

impl WorkerPage {
    // The words that the worker writes and the caller reads.

    /// Returns the ring of results.
    #[inline]
    pub(crate) fn ring(&self) -> Ring<'_> {
        Ring { data: &self.ring, produced: &self.worker.produced, consumed: &self.caller.consumed }
    }

    #[inline]
    pub(crate) fn set_started(&self, started: Started) {
        self.worker.started.store(started.to_word(), Ordering::Release);
    }

    /// Stores that no input was begun, after the one that was taken last was put back.
    #[cfg(feature = "tokio")]
    pub(crate) fn clear_started(&self) {
        self.worker.started.store(0, Ordering::Release);
    }

    /// Lane: stores whether its input is being polled (rule N6).
    #[cfg(feature = "tokio")]
    pub(crate) fn set_polled(&self, polled: bool) {
        self.worker.polled.store(u32::from(polled), Ordering::Release);
    }

    /// Returns whether the input of a lane was being polled when its process ended.
    pub(crate) fn is_polled(&self) -> bool {
        self.worker.polled.load(Ordering::Acquire) != 0
    }

    pub(crate) fn started(&self) -> Option<Started> {
        Started::from_word(self.worker.started.load(Ordering::SeqCst))
    }

    /// Stores the current chunk and the time of its claim.
    #[inline]
    pub(crate) fn set_chunk(&self, position: u64, since: u64) {
        self.worker.report_begun.store(0, Ordering::Relaxed);
        self.worker.report_took.store(0, Ordering::Relaxed);
        self.worker.since.store(since, Ordering::Relaxed);
        self.worker.chunk.store(position, Ordering::Release);
    }

    /// Stores that there is no current chunk.
    #[inline]
    pub(crate) fn clear_chunk(&self) {
        self.worker.chunk.store(0, Ordering::Release);
    }

    pub(crate) fn chunk(&self) -> (u64, u64) {
        let position = self.worker.chunk.load(Ordering::Acquire);
        (position, self.worker.since.load(Ordering::Relaxed))
    }

    /// Records the time that `report` takes. Only the report of the first panic of a chunk is timed, because
    /// the names in a backtrace may have to be read from files.
    pub(crate) fn time_report<R>(&self, report: impl FnOnce() -> R) -> R {
        let FromWorker { report_begun, report_took, .. } = &self.worker;
        let begun = clock::now();
        let order = Ordering::Relaxed;
        let first = report_begun.compare_exchange(0, begun, Ordering::AcqRel, order).is_ok();
        let report = report();
        if first {
            report_took.store((clock::now() - begun).max(1), Ordering::Release);
        }
        report
    }

    /// Returns the nanoseconds that a report of the current chunk has taken, and whether it is still being
    /// created.
    pub(crate) fn reported(&self, now: u64) -> (u64, bool) {
        let begun = self.worker.report_begun.load(Ordering::Acquire);
        match self.worker.report_took.load(Ordering::Acquire) {
            _ if begun == 0 => (0, false),
            0 => (now.saturating_sub(begun), true),
            took => (took, false),
        }
    }

    #[inline]
    pub(crate) fn set_done(&self, tasks: u64) {
        self.worker.done.store(tasks, Ordering::Relaxed);
    }

    pub(crate) fn done(&self) -> u64 {
        self.worker.done.load(Ordering::Relaxed)
    }

    pub(crate) fn set_phase(&self, phase: Phase) {
        self.worker.phase.store(phase as u32, Ordering::Release);
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.worker.phase.load(Ordering::Acquire) {
            1 => Phase::Idle,
            2 => Phase::Busy,
            3 => Phase::Leaving,
            _ => Phase::Starting,
        }
    }

    /// Asks the caller to read the socket for objects.
    pub(crate) fn ask(&self) {
        self.worker.asks.fetch_add(1, Ordering::Release);
    }

    /// Returns the number of requests of the worker.
    pub(crate) fn asks(&self) -> u32 {
        self.worker.asks.load(Ordering::Acquire)
    }

    // The words that the caller writes and the worker reads.

    /// Asks the worker to stop before the next input of a chunk (rule Q10).
    pub(crate) fn set_skip(&self, position: u64) {
        self.caller.skip.store(position, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn skip(&self) -> u64 {
        self.caller.skip.load(Ordering::Relaxed)
    }

    /// Marks a chunk that the worker has as cancelled (rule Q28).
    pub(crate) fn cancel(&self, position: u64) {
        let word = &self.caller.cancelled[usize::from(position >= DIRECT)];
        word.fetch_max(position, Ordering::Relaxed);
    }

    /// Returns whether the chunk at a position is cancelled.
    #[inline]
    pub(crate) fn is_cancelled(&self, position: u64) -> bool {
        let word = &self.caller.cancelled[usize::from(position >= DIRECT)];
        word.load(Ordering::Relaxed) == position
    }

    /// Marks an input whose worker is about to be killed, or removes the mark (rule Q15).
    pub(crate) fn set_kill_mark(&self, kill_mark: Option<Started>) {
        self.caller.kill_mark.store(kill_mark.map_or(0, Started::to_word), Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Returns whether an input is marked for a kill. The worker checks this after its answer (rule Q15).
    pub(crate) fn is_marked_for_kill(&self, started: Started) -> bool {
        fence(Ordering::SeqCst);
        self.caller.kill_mark.load(Ordering::SeqCst) == started.to_word()
    }

    /// Asks the worker to leave when it has no chunk.
    pub(crate) fn ask_to_leave(&self) {
        self.caller.leave.fetch_max(1, Ordering::SeqCst);
    }

    /// Tells a worker thread that it was abandoned, so that it takes no further input.
    pub(crate) fn abandon(&self) {
        self.caller.leave.store(2, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_abandoned(&self) -> bool {
        self.caller.leave.load(Ordering::Relaxed) == 2
    }

    #[inline]
    pub(crate) fn is_asked_to_leave(&self) -> bool {
        self.caller.leave.load(Ordering::SeqCst) != 0
    }

    /// Sets the maximum number of workers that spin at the same time (rule Q17).
    pub(crate) fn set_spin(&self, limit: u32) {
        self.caller.spin.store(limit, Ordering::Relaxed);
    }

    pub(crate) fn spin(&self) -> usize {
        self.caller.spin.load(Ordering::Relaxed) as usize
    }

    /// Makes the worker report its times (rule Q29).
    pub(crate) fn set_measured(&self) {
        self.caller.measure.store(1, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn is_measured(&self) -> bool {
        self.caller.measure.load(Ordering::Relaxed) != 0
    }

    fn free_big(&self, slot: usize, ticket: u64) {
        self.caller.big_freed[slot].store(ticket, Ordering::Release);
    }

    pub(crate) fn big_freed(&self, slot: usize) -> u64 {
        self.caller.big_freed[slot].load(Ordering::Acquire)
    }

    /// Returns the word on which the worker sleeps (rule Q16).
    pub(crate) fn wake_word(&self) -> &AtomicU32 {
        &self.both.wake
    }

    /// Wakes the worker if it sleeps on its word; [`WorkerPageMap::wake`] also wakes a lane.
    pub(crate) fn wake(&self) {
        self.both.wake.fetch_add(1, Ordering::SeqCst);
        crate::sys::futex::wake(&self.both.wake, 1);
    }

    /// Worker: records whether it waits for the caller to read results or to free a slot. This is only a hint,
    /// because the worker also checks periodically.
    pub(crate) fn set_stuck(&self, stuck: bool) {
        self.both.stuck.store(u32::from(stuck), Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn wake_if_stuck(&self) {
        if self.both.stuck.load(Ordering::Relaxed) != 0 {
            self.wake();
        }
    }

    // The panic record contains the report of the last panic, in case the process does not survive it.

    /// Stores a report, which is cut off if it is too long.
    pub(crate) fn record_panic(&self, report: &[u8]) {
        let report = &report[..report.len().min(PANIC_WORDS * 8)];
        for (cell, bytes) in self.panic.iter().zip(report.chunks(8)) {
            let mut word = [0; 8];
            word[..bytes.len()].copy_from_slice(bytes);
            cell.store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        self.panic_len.store(report.len() as u64, Ordering::Release);
    }

    /// Clears the record after the process has survived the panic.
    #[inline]
    pub(crate) fn clear_panic(&self) {
        if self.panic_len.load(Ordering::Relaxed) != 0 {
            self.panic_len.store(0, Ordering::Relaxed);
        }
    }

    /// Returns the report of a dead worker.
    pub(crate) fn panic_record(&self) -> Option<Vec<u8>> {
        let len = self.panic_len.load(Ordering::Acquire) as usize;
        if len == 0 || len > PANIC_WORDS * 8 {
            return None;
        }
        let words = self.panic[..len.div_ceil(8)].iter();
        let mut bytes: Vec<u8> =
            words.flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect();
        bytes.truncate(len);
        Some(bytes)
    }
}

/// A mapped worker page.
pub(crate) struct WorkerPageMap {
    mapping: Mapping,
    big_len: usize,
    /// Caller: the freed tickets, in memory that the worker cannot overwrite.
    freed: [std::sync::atomic::AtomicU64; BIG_SLOTS],
    /// Caller: wakes the host of the worker, if the worker is a lane.
    lane_wakeup: Option<Wakeup>,
}

impl WorkerPageMap {
    const HEAD: usize = size_of::<WorkerPage>().next_multiple_of(PAGE);

    /// Creates a worker page. If address space is short, there is less room for long results.
    pub(crate) fn create() -> io::Result<(Self, OwnedFd)> {
        let mut big_len = BIG_LEN;
        loop {
            let size = Self::HEAD + BIG_SLOTS * big_len;
            if big_len > 1 << 20 && !crate::sys::memory::leaves_room(size) {
                big_len /= 4;
                continue;
            }
            match Mapping::with_file(c"procession-worker-page", size) {
                Ok((mapping, fd)) => {
                    crate::sys::memory::seal(&fd);
                    let (freed, lane_wakeup) = (Default::default(), None);
                    return Ok((WorkerPageMap { mapping, big_len, freed, lane_wakeup }, fd));
                }
                Err(error) if big_len <= 1 << 20 => return Err(error),
                Err(_) => big_len /= 4,
            }
        }
    }

    /// Worker: maps the worker page that the caller made.
    pub(crate) fn open(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let size = crate::sys::fds::size(fd.as_fd())?;
        let big_len = size.checked_sub(Self::HEAD).ok_or(io::ErrorKind::InvalidData)? / BIG_SLOTS;
        let mut mapping = Mapping::new(fd, size, true)?;
        mapping.keep_from_copies();
        Ok(WorkerPageMap { mapping, big_len, freed: Default::default(), lane_wakeup: None })
    }

    /// Caller: makes the worker a lane, whose host waits for `lane_wakeup`.
    pub(crate) fn with_lane_wakeup(mut self, lane_wakeup: Wakeup) -> Self {
        self.lane_wakeup = Some(lane_wakeup);
        self
    }

    /// Caller: wakes the worker (rules Q16 and N4).
    pub(crate) fn wake(&self) {
        self.view().wake();
        self.lane_wakeup.iter().for_each(Wakeup::wake);
    }

    #[inline]
    pub(crate) fn view(&self) -> &WorkerPage {
        self.mapping.view(0)
    }

    /// Caller: returns a big slot to the worker after its result was read.
    pub(crate) fn free_big(&self, slot: usize, ticket: u64) {
        self.freed[slot].store(ticket, Ordering::Relaxed);
        self.view().free_big(slot, ticket);
    }

    /// Caller: writes the freed tickets again, in case the worker has overwritten them.
    pub(crate) fn free_again(&self) {
        for (slot, ticket) in self.freed.iter().enumerate() {
            let ticket = ticket.load(Ordering::Relaxed);
            if self.view().big_freed(slot) != ticket {
                self.view().free_big(slot, ticket);
            }
        }
    }

    /// Returns the length of a big slot in bytes.
    pub(crate) fn big_len(&self) -> usize {
        self.big_len
    }

    /// Worker: returns the memory of a free big slot.
    pub(super) fn big_region(&self, slot: usize) -> std::ptr::NonNull<[u8]> {
        let start = self.mapping.at(Self::HEAD + slot * self.big_len, self.big_len);
        std::ptr::NonNull::slice_from_raw_parts(start, self.big_len)
    }

    /// Caller: returns the bytes of a big slot if the slot and the length are possible (rule Q20).
    pub(crate) fn big(&self, slot: usize, len: usize) -> Option<Source<'_>> {
        let possible = slot < BIG_SLOTS && len <= self.big_len;
        possible.then(|| self.mapping.source(Self::HEAD + slot * self.big_len, len))
    }

    /// Caller: returns a copy of the bytes of a big slot.
    pub(crate) fn copy_big(&self, slot: usize, len: usize) -> Option<Vec<u8>> {
        if slot >= BIG_SLOTS || len > self.big_len {
            return None;
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len).ok()?;
        self.mapping.read_into(Self::HEAD + slot * self.big_len, len, &mut bytes);
        Some(bytes)
    }

    /// Caller: writes bytes for a worker that does not exist yet to the beginning of its first big slot.
    pub(crate) fn write_first(&self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() + 8 > self.big_len {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        self.mapping.write(Self::HEAD, &(bytes.len() as u64).to_le_bytes());
        self.mapping.write(Self::HEAD + 8, bytes);
        Ok(())
    }

    /// Worker: reads the bytes that the caller has written by [`write_first`](Self::write_first).
    pub(crate) fn read_first(&self) -> Vec<u8> {
        let len =
            self.mapping.view::<std::sync::atomic::AtomicU64>(Self::HEAD).load(Ordering::Acquire)
                as usize;
        let mut bytes = Vec::new();
        if len <= self.big_len - 8 {
            self.mapping.read_into(Self::HEAD + 8, len, &mut bytes);
        }
        bytes
    }

    /// Returns the memory of a big slot to the system, except for the first `keep` bytes.
    pub(crate) fn trim_big(&self, slot: usize, keep: usize, len: usize) {
        if keep < len && len <= self.big_len {
            self.mapping.discard(Self::HEAD + slot * self.big_len + keep, len - keep);
        }
    }
}
