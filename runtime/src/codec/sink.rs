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

/// A provider of memory for a [`Sink`].
///
/// # Safety
/// The region returned by [`grow`](Backing::grow) must be at least `filled.len() + more` bytes
/// long, must start with the bytes of `filled`, and must be valid for reads and writes of this
/// process until the next `grow` or the end of the borrow that the sink holds.
pub(crate) unsafe trait Backing {
    /// Provides room for `more` bytes after those of `filled`, which is the written front of the last
    /// region.
    ///
    /// `filled` is a raw slice and not a reference, because its memory may be freed or moved here.
    ///
    /// # Safety
    /// `filled` must be the initialized front of the last region, or of the region with which the sink
    /// was created.
    unsafe fn grow(&mut self, filled: NonNull<[u8]>, more: usize) -> io::Result<NonNull<[u8]>>;

    /// Receives, when the sink is dropped, the number of bytes that were written to the last region.
    ///
    /// # Safety
    /// These bytes must be initialized.
    #[inline]
    unsafe fn settle(&mut self, _len: usize) {}
}

/// A growing sequence of bytes.
//
// `repr(C)` keeps `len` away from the other fields. If it were loaded together with a neighbour after it
// was stored alone, store forwarding would fail, which costs more than the rest of the encoding of a
// small value.
#[repr(C)]
pub(crate) struct Sink<'a> {
    // Invariant: `start` is valid for reads and writes of `cap` bytes, of which the first `len` are
    // initialized.
    start: NonNull<u8>,
    cap: usize,
    backing: &'a mut dyn Backing,
    len: usize,
    /// Whether numbers in slices are aligned by padding.
    is_aligned: bool,
    /// The reason why the backing did not grow the last time.
    failure: Option<io::Error>,
}

impl<'a> Sink<'a> {
    /// Creates an empty sink that fills `region` and then uses `backing`.
    ///
    /// # Safety
    /// `region` must be valid for reads and writes of this process, and must not be used otherwise,
    /// until `backing` is first asked to grow, or else for as long as the sink lives. `backing` must
    /// regard it as its last region.
    pub(crate) unsafe fn new(backing: &'a mut dyn Backing, region: NonNull<[u8]>) -> Self {
        let (start, cap) = (region.cast(), region.len());
        Sink { start, len: 0, cap, backing, is_aligned: false, failure: None }
    }

    /// Aligns the numbers in slices by padding, relative to the start of the region.
    pub(crate) fn aligned(mut self) -> Self {
        self.is_aligned = true;
        self
    }

    /// Creates a sink that appends to `vec`, which gets its new length when the sink is dropped.
    pub(crate) fn over(vec: &'a mut Vec<u8>) -> Self {
        let region = spare_of(vec);
        let len = vec.len();
        // SAFETY: the allocation of the vector is valid for its capacity, and only `grow` uses it while
        // `vec` is borrowed.
        let mut sink = unsafe { Sink::new(vec, region) };
        sink.len = len;
        sink
    }

    /// Returns the number of bytes written.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Truncates the sink to `len` bytes; does nothing if there are fewer.
    #[inline]
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Returns whether the sink still fills its first region.
    #[inline]
    pub(crate) fn is_in(&self, region: NonNull<u8>) -> bool {
        self.start == region
    }

    /// Returns the start of the region.
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

    /// Returns the reason why there was no room for the last write.
    #[cold]
    pub(super) fn failure(&mut self) -> io::Error {
        self.failure.take().unwrap_or_else(|| io::ErrorKind::OutOfMemory.into())
    }

    /// Starts a draft, whose bytes count only after they were committed.
    #[inline]
    pub(super) fn draft(&mut self) -> Draft<'_, 'a> {
        Draft { start: self.start, len: self.len, cap: self.cap, sink: self }
    }

    /// Overwrites bytes that were written before.
    ///
    /// # Panics
    /// Panics if `at .. at + bytes.len()` is not within the written bytes.
    #[inline]
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        let end = at.checked_add(bytes.len());
        assert!(end.is_some_and(|end| end <= self.len), "patch past the end of the sink");
        // SAFETY: `at + bytes.len() <= len <= cap`, and `bytes` does not overlap, as in `write`.
        unsafe {
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr().add(at), bytes.len());
        }
    }

    /// Copies `len` written bytes to another place within the written bytes.
    ///
    /// # Panics
    /// Panics if one of the ranges is not within the written bytes.
    pub(crate) fn copy_within(&mut self, from: usize, to: usize, len: usize) {
        let end = from.max(to).checked_add(len);
        assert!(end.is_some_and(|end| end <= self.len), "a copy past the end of the sink");
        let start = self.start.as_ptr();
        // SAFETY: both ranges are within the first `len` bytes, which are initialized.
        unsafe { ptr::copy(start.add(from), start.add(to), len) };
    }

    /// Like [`patch`](Sink::patch), if a draft has written the first `len` bytes.
    #[inline(never)]
    fn patch_draft(&mut self, len: usize, at: usize, bytes: &[u8]) {
        let committed = mem::replace(&mut self.len, len);
        self.patch(at, bytes);
        self.len = committed;
    }

    /// Returns the written bytes. In shared memory this may be called only while no other process writes
    /// them.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are initialized, and nothing writes to them while `self` is
        // borrowed.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Ends the sink, which reports its length to the backing, as when it is dropped.
    pub(crate) fn finish(self) -> usize {
        self.len
    }

    /// Returns the start and the length of a region that continues the first `len` bytes of this one and
    /// has room for `more`. Without a start there is none, and [`failure`](Sink::failure) returns the
    /// reason.
    ///
    /// The result fits two registers, and the error is stored, because a call of this function is beside
    /// every write of a scalar. The less code it needs there, the larger are the types whose encoding
    /// the compiler inlines.
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
        // SAFETY: `start` is the last region, and the sink or its draft has written `len` bytes.
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

/// The sink is full, and has the reason.
pub(super) struct Full;

/// Bytes that are being appended to a sink. If the draft is dropped without [`commit`](Draft::commit),
/// because of an error or a panic, the bytes are discarded.
///
/// It has a copy of the fields of the sink, so that the compiler can keep them in registers if it sees
/// the whole encoding of a value.
pub(super) struct Draft<'s, 'a> {
    // Invariant: `start` and `cap` are those of `sink`, and the first `len` bytes there are
    // initialized.
    start: NonNull<u8>,
    len: usize,
    cap: usize,
    sink: &'s mut Sink<'a>,
}

impl<'s, 'a> Draft<'s, 'a> {
    /// Returns the number of bytes that the sink will have.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns whether numbers in slices are aligned by padding.
    #[inline]
    pub(super) fn is_aligned(&self) -> bool {
        self.sink.is_aligned
    }

    /// Returns the number of bytes that fit without growing.
    #[inline]
    pub(super) fn room(&self) -> usize {
        self.cap - self.len
    }

    /// Reserves room for `count` bytes.
    #[inline]
    fn reserve(&mut self, count: usize) -> Result<(), Full> {
        if count > self.room() {
            let (start, cap) = self.sink.grow(self.len, count);
            let Some(start) = start else { return Err(Full) };
            (self.start, self.cap) = (start, cap);
        }
        Ok(())
    }

    /// Appends `bytes`, and reserves room for `more` after them.
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

    /// Appends `bytes`, for which there must be room.
    ///
    /// Because it never grows, the code for several writes has a single path, on which the compiler
    /// recognizes repeated checks.
    #[inline]
    pub(super) fn write_reserved(&mut self, bytes: &[u8]) -> Result<(), Full> {
        if bytes.len() > self.room() {
            return Err(Full);
        }
        // SAFETY: `len + bytes.len() <= cap`, and only the sink borrows the region, so `bytes` does not
        // overlap.
        unsafe {
            let to = self.start.add(self.len);
            ptr::copy_nonoverlapping(bytes.as_ptr(), to.as_ptr(), bytes.len());
        }
        self.len += bytes.len();
        Ok(())
    }

    /// Like [`Sink::patch`], also for bytes of this draft.
    #[inline]
    pub(super) fn patch(&mut self, at: usize, bytes: &[u8]) {
        self.sink.patch_draft(self.len, at, bytes);
    }

    /// Adds the bytes to the sink.
    #[inline]
    pub(super) fn commit(self) {
        self.sink.len = self.len;
    }

    /// Discards the bytes; the sink keeps its previous contents.
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

/// Returns the whole allocation of `vec`.
fn spare_of(vec: &mut Vec<u8>) -> NonNull<[u8]> {
    let start = NonNull::new(vec.as_mut_ptr()).expect("a vector's pointer is never null");
    NonNull::slice_from_raw_parts(start, vec.capacity())
}

// SAFETY: `reserve` keeps the first `len` bytes and reserves room for `more` after them; the allocation
// stays until the next `grow`.
unsafe impl Backing for Vec<u8> {
    unsafe fn grow(&mut self, filled: NonNull<[u8]>, more: usize) -> io::Result<NonNull<[u8]>> {
        // SAFETY: `filled` is the allocation of this vector, and initialized.
        unsafe { self.settle(filled.len()) };
        self.try_reserve(more).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        Ok(spare_of(self))
    }

    unsafe fn settle(&mut self, len: usize) {
        assert!(len <= self.capacity());
        // SAFETY: the sink has written the first `len` bytes of its region, which is the allocation of
        // this vector.
        unsafe { self.set_len(len) }
    }
}
