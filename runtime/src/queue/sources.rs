//! Bytes in mappings, from which values are decoded.

#![allow(unsafe_code, reason = "hands memory that other processes write to the decoder")]

use crate::codec::Source;
use crate::sys::memory::Mapping;

impl Mapping {
    /// Bytes to decode. Only for ranges that the protocol lets this process read.
    #[inline]
    pub(crate) fn source(&self, offset: usize, len: usize) -> Source<'_> {
        let start = self.at(offset, len);
        // SAFETY: in bounds of a readable mapping that outlives the borrow of self; this
        // process does not write the range meanwhile, by the protocol.
        unsafe { Source::from_raw(start, len) }
    }

    /// Bytes of an input to decode, to which parameters may refer; `None` if they do not lie within the
    /// mapping. Only for inputs in the region of the tasks, while the worker has their chunk.
    #[inline]
    pub(crate) fn input(&self, offset: usize, len: usize) -> Option<Source<'_>> {
        let start = self.try_at(offset, len)?;
        // SAFETY: in bounds of a readable mapping that outlives the borrow of self. Nobody writes them
        // before the worker says that its chunk ended (rule Q25), which it does after the last use.
        Some(unsafe { Source::stable(start, len) })
    }
}
