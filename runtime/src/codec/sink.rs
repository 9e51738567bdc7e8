//! The target of encoded bytes: a region of memory that can grow.
#![allow(
    unsafe_code,
    reason = "writes into a region whose bounds it keeps itself, so that a scalar costs one compare and one store"
)]

use std::io;
use std::mem;
use std::ptr::{self, NonNull};

use bincode::enc::write::Writer;
use bincode::error::EncodeError as BincodeEncode;

/// Gives a [`Sink`] its memory.
///
/// # Safety
/// The region returned by [`grow`](Backing::grow) must be at least `filled.len() + more` bytes
/// long, must start with the bytes of `filled`, and must be valid for reads and writes of this
/// process until the next `grow` or the end of the borrow that the sink holds.
pub(crate) unsafe trait Backing {
    /// Makes room for `more` bytes after those of `filled`, the written front of the region given
    /// last.
    ///
    /// `filled` is a raw slice, and not a reference, so that the memory behind it may be freed or
    /// moved here.
    ///
    /// # Safety
    /// `filled` must be the front of the region given last (at first: of the one the sink was made
    /// with), and all of it initialized.
    unsafe fn grow(&mut self, filled: NonNull<[u8]>, more: usize) -> io::Result<NonNull<[u8]>>;

    /// Learns, when the sink is dropped, that the first `len` bytes of the last region were
    /// written.
    ///
    /// # Safety
    /// They must be initialized.
    #[inline]
    unsafe fn settle(&mut self, _len: usize) {}
}

/// A growing run of bytes.
//
// `repr(C)` keeps `len` away from the rest: loaded together with a neighbour, right after it was
// stored alone, it would cost a failed store forwarding, which is more than the rest of encoding a
// small value.
#[repr(C)]
pub(crate) struct Sink<'a> {
    // Invariant: `start` is valid for reads and writes of `cap` bytes, of which the first `len` are
    // initialized.
    start: NonNull<u8>,
    cap: usize,
    backing: &'a mut dyn Backing,
    len: usize,
    /// Numbers in slices are aligned by padding.
    is_aligned: bool,
    /// Why the backing last did not grow.
    failure: Option<io::Error>,
}

impl<'a> Sink<'a> {
    /// An empty sink that fills `region` and then turns to `backing`.
    ///
    /// # Safety
    /// `region` must be valid for reads and writes of this process, which uses it for nothing else,
    /// until `backing` is first asked to grow, and otherwise for as long as the sink lives.
    /// `backing` must take it for the region that it gave last.
    pub(crate) unsafe fn new(backing: &'a mut dyn Backing, region: NonNull<[u8]>) -> Self {
        let (start, cap) = (region.cast(), region.len());
        Sink { start, len: 0, cap, backing, is_aligned: false, failure: None }
    }

    /// Aligns the numbers in slices, counted from the start of the region, by padding.
    pub(crate) fn aligned(mut self) -> Self {
        self.is_aligned = true;
        self
    }

    /// A sink that appends to `vec`, which gets its new length when the sink is dropped.
    pub(crate) fn over(vec: &'a mut Vec<u8>) -> Self {
        let region = spare_of(vec);
        let len = vec.len();
        // SAFETY: the vector's allocation is valid for its capacity, and nothing but `grow` touches
        // it while `vec` is borrowed.
        let mut sink = unsafe { Sink::new(vec, region) };
        sink.len = len;
        sink
    }

    /// Returns the number of bytes written.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Forgets all but the first `len` bytes; no effect when there are fewer.
    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Whether it still fills the region that it was made with.
    #[inline]
    pub(crate) fn is_in(&self, region: NonNull<u8>) -> bool {
        self.start == region
    }

    /// Where the region begins.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Appends `bytes`.
    #[inline]
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut draft = self.draft();
        match draft.write(bytes) {
            Ok(()) => draft.commit(),
            Err(Full) => return Err(self.failure()),
        }
        Ok(())
    }

    /// Why there was no room for what was written last.
    #[cold]
    pub(super) fn failure(&mut self) -> io::Error {
        self.failure.take().unwrap_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Starts to append bytes that count only once they are committed.
    #[inline]
    pub(super) fn draft(&mut self) -> Draft<'_, 'a> {
        Draft { start: self.start, len: self.len, cap: self.cap, sink: self }
    }

    /// Overwrites bytes that were written before.
    ///
    /// # Panics
    /// When `at .. at + bytes.len()` is not within what was written.
    #[inline]
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        let end = at.checked_add(bytes.len());
        assert!(end.is_some_and(|end| end <= self.len), "patch past the end of the sink");
        // SAFETY: `at + bytes.len() <= len <= cap`, and `bytes` is elsewhere as in `write`.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(at), bytes.len());
        }
    }

    /// Copies `len` bytes that were written to another place among those that were.
    ///
    /// # Panics
    /// When either is not within what was written.
    pub(crate) fn copy_within(&mut self, from: usize, to: usize, len: usize) {
        let end = from.max(to).checked_add(len);
        assert!(end.is_some_and(|end| end <= self.len), "a copy past the end of the sink");
        let start = self.start.as_ptr();
        // SAFETY: both ranges lie within the first `len` bytes, which are initialized.
        unsafe { ptr::copy(start.add(from), start.add(to), len) };
    }

    /// As [`patch`](Sink::patch), with the first `len` bytes written by a draft.
    #[inline(never)]
    fn patch_draft(&mut self, len: usize, at: usize, bytes: &[u8]) {
        let committed = mem::replace(&mut self.len, len);
        self.patch(at, bytes);
        self.len = committed;
    }

    /// The bytes written. In memory shared with other processes, only while none of them writes
    /// there.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialized and nothing writes to them while `self` is
        // borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Ends the sink, which leaves its length with the backing, as dropping it does.
    pub(crate) fn finish(self) -> usize {
        self.len
    }

    /// Gives the start and the length of a region that continues the first `len` bytes of this one
    /// and has room for `more`; without a start there is none, and [`failure`](Sink::failure) says
    /// why.
    ///
    /// What it gives fits two registers, and the error stays behind, because a call of this stands
    /// next to every write of a scalar: the less it takes there, the larger are the types whose
    /// encoding the compiler inlines.
    #[cold]
    #[inline(never)]
    fn grow(&mut self, len: usize, more: usize) -> (Option<NonNull<u8>>, usize) {
        match self.try_grow(len, more) {
            Ok(()) => (Some(self.start), self.cap),
            Err(error) => {
                self.failure = Some(error);
                (None, 0)
            }
        }
    }

    fn try_grow(&mut self, len: usize, more: usize) -> io::Result<()> {
        let wanted = len.checked_add(more).ok_or(io::ErrorKind::OutOfMemory)?;
        let filled = NonNull::slice_from_raw_parts(self.start, len);
        // SAFETY: `start` is the region given last, and the sink or its draft has written `len` bytes.
        let region = unsafe { self.backing.grow(filled, more) }?;
        assert!(region.len() >= wanted, "the backing of a sink grew too little");
        self.start = region.cast();
        self.cap = region.len();
        Ok(())
    }
}

impl Drop for Sink<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: by the invariant of `len`.
        unsafe { self.backing.settle(self.len) }
    }
}

/// There is no room, and the sink knows why.
pub(super) struct Full;

/// Bytes being appended to a sink. Dropped without [`commit`](Draft::commit), as on an error or a
/// panic, they never were.
///
/// It is a copy of what the sink knows so that a compiler which sees all of a value's encoding can
/// keep it in registers.
pub(super) struct Draft<'s, 'a> {
    // Invariant: `start` and `cap` are those of `sink`, and the first `len` bytes there are
    // initialized.
    start: NonNull<u8>,
    len: usize,
    cap: usize,
    sink: &'s mut Sink<'a>,
}

impl<'s, 'a> Draft<'s, 'a> {
    /// The number of bytes that the sink will have.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether numbers in slices are aligned by padding.
    #[inline]
    pub(super) fn is_aligned(&self) -> bool {
        self.sink.is_aligned
    }

    /// How many more bytes there is room for without growing.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.cap - self.len
    }

    /// Makes room for `count` bytes.
    #[inline]
    fn reserve(&mut self, count: usize) -> Result<(), Full> {
        if count > self.room() {
            let (start, cap) = self.sink.grow(self.len, count);
            let Some(start) = start else { return Err(Full) };
            (self.start, self.cap) = (start, cap);
        }
        Ok(())
    }

    /// Appends `bytes`, and makes room for `more` after them.
    #[inline]
    pub(super) fn write_before(&mut self, bytes: &[u8], more: usize) -> Result<(), Full> {
        self.reserve(bytes.len().checked_add(more).ok_or(Full)?)?;
        self.write_reserved(bytes)
    }

    #[inline]
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.reserve(bytes.len())?;
        self.write_reserved(bytes)
    }

    /// Appends `bytes`, for which there is room.
    ///
    /// That it never grows leaves one path through several of these, on which the compiler sees
    /// that a check repeats one that was made before.
    #[inline]
    pub(super) fn write_reserved(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.room() {
            return Err(Full);
        }
        // SAFETY: `len + bytes.len() <= cap` holds, and the region is borrowed by the sink alone, so
        // `bytes` is elsewhere.
        unsafe {
            let to = self.start.add(self.len);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len());
        }
        self.len += bytes.len();
        Ok(())
    }

    /// As [`Sink::patch`], also for bytes of this draft.
    #[inline]
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.sink.patch_draft(self.len, at, bytes);
    }

    /// Makes the bytes part of the sink.
    #[inline]
    pub(super) fn commit(self) {
        self.sink.len = self.len;
    }

    /// Leaves the sink as it was.
    #[inline]
    pub(super) fn abandon(self) -> &'s mut Sink<'a> {
        self.sink
    }
}

impl Writer for Draft<'_, '_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> Result<(), BincodeEncode> {
        Draft::write(self, bytes).map_err(|Full| BincodeEncode::UnexpectedEnd)
    }
}

/// The whole allocation of `vec`, filled or not.
fn spare_of(vec: &mut Vec<u8>) -> NonNull<[u8]> {
    let start = NonNull::new(vec.as_mut_ptr()).expect("a vector's pointer is never null");
    NonNull::slice_from_raw_parts(start, vec.capacity())
}

// SAFETY: `reserve` keeps the first `len` bytes and makes room for `more` behind them; the
// allocation stays until the next `grow`.
unsafe impl Backing for Vec<u8> {
    unsafe fn grow(&mut self, filled: NonNull<[u8]>, more: usize) -> io::Result<NonNull<[u8]>> {
        // SAFETY: `filled` is this vector's allocation, and initialized.
        unsafe { self.settle(filled.len()) };
        self.try_reserve(more).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(spare_of(self))
    }

    unsafe fn settle(&mut self, len: usize) {
        assert!(len <= self.capacity());
        // SAFETY: the sink has written the first `len` bytes of the region it was given, which is
        // this vector's allocation.
        unsafe { self.set_len(len) }
    }
}
