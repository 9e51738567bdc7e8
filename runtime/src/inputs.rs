//! The inputs of initializers and preloads, in one sealed file that each process maps and decodes in
//! place.
//!
//! For each function the file contains its number and the length of its input, eight bytes each, and
//! then the input.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use serde::Serialize;

use crate::codec::{Sink, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, Object};
use crate::registry::{self, Entry, Role};
use crate::sys::fds;
use crate::sys::memory::Mapping;

const HEAD: usize = 16;

/// A function to run once in a process, before its tasks or before it forks.
#[derive(Clone, Debug)]
pub(crate) struct Preload {
    /// Its index in the registry.
    pub(crate) task: u32,
    /// Its encoded input.
    pub(crate) input: Arc<Vec<u8>>,
    /// The objects in its input.
    pub(crate) objects: Vec<Arc<Object>>,
}

/// The objects to which the input refers.
impl PartialEq for Preload {
    fn eq(&self, other: &Self) -> bool {
        (self.task, &self.input) == (other.task, &other.input)
    }
}

impl Eq for Preload {}

impl Preload {
    /// Encodes the input of a registered function.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`] if it cannot be encoded.
    pub(crate) fn new(entry: Entry, input: &impl Serialize) -> Result<Preload> {
        let mut bytes = Vec::new();
        let mut sink = Sink::over(&mut bytes);
        let (encoded, objects) =
            handle::for_many(|| handle::collect(|| crate::codec::encode(input, &mut sink)));
        encoded.map_err(|error| {
            let text = format!("its input could not be encoded: {error}");
            Error::new(ErrorKind::Encode, text).on_task(entry.name())
        })?;
        sink.finish();
        Ok(Preload { task: entry.id, input: bytes.into(), objects })
    }

    /// Returns whether it is a function of the library, and not of the program.
    pub(crate) fn is_internal(&self) -> bool {
        registry::get(self.task).is_some_and(|entry| entry.registration.role == Role::Internal)
    }

    pub(crate) fn parts(&self) -> (u32, Source<'_>) {
        (self.task, Source::new(&self.input))
    }
}

/// Stores the functions and their inputs in a file, which is all that a process needs to run them.
pub(crate) fn pack(preloads: &[&Preload]) -> io::Result<OwnedFd> {
    let head = |preload: &&Preload| {
        let words = [u64::from(preload.task), preload.input.len() as u64];
        words.map(u64::to_le_bytes).concat()
    };
    let heads: Vec<Vec<u8>> = preloads.iter().map(head).collect();
    let bodies = preloads.iter().map(|preload| preload.input.as_slice());
    let parts = heads.iter().zip(bodies).flat_map(|(head, body)| [head.as_slice(), body]);
    fds::blob(&parts.collect::<Vec<_>>())
}

/// The mapped contents of a file that [`pack`] has written.
#[derive(Default)]
pub(crate) struct Inputs {
    mapping: Option<Mapping>,
    places: Vec<(u32, Range<usize>)>,
}

impl Inputs {
    pub(crate) fn open(blob: &OwnedFd) -> io::Result<Self> {
        let end = fds::size(blob.as_fd())?;
        if end == 0 {
            return Ok(Inputs::default());
        }
        let mapping = Mapping::sealed(blob.as_fd(), end)?;
        let (mut at, mut places) = (0, Vec::new());
        while at < end {
            let place = place(&mapping, at).ok_or(io::ErrorKind::InvalidData)?;
            at = place.1.end;
            places.push(place);
        }
        Ok(Inputs { mapping: Some(mapping), places })
    }

    /// Returns the indices of the functions, and the sources of their inputs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, Source<'_>)> {
        let source = |mapping, at: &Range<usize>| Mapping::source(mapping, at.start, at.len());
        self.places
            .iter()
            .filter_map(move |(task, at)| Some((*task, source(self.mapping.as_ref()?, at))))
    }
}

/// Returns the bytes from an offset on.
fn place(mapping: &Mapping, at: usize) -> Option<(u32, Range<usize>)> {
    let start = at.checked_add(HEAD).filter(|start| *start <= mapping.len())?;
    let task = u32::try_from(mapping.load_u64(at)).ok()?;
    let len = usize::try_from(mapping.load_u64(at + 8)).ok()?;
    let end = start.checked_add(len).filter(|end| *end <= mapping.len())?;
    Some((task, start..end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preload(task: u32, input: &[u8]) -> Preload {
        Preload { task, input: input.to_vec().into(), objects: Vec::new() }
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn inputs_are_read_as_stored() {
        let big = vec![7; 100_000];
        let stored = [preload(3, &big), preload(9, b""), preload(0, b"abc")];
        let inputs = Inputs::open(&pack(&stored.each_ref()).unwrap()).unwrap();
        let read: Vec<_> = inputs.iter().map(|(task, source)| (task, source.remaining())).collect();
        assert_eq!(read, [(3, 100_000), (9, 0), (0, 3)]);
        assert_eq!(Inputs::open(&pack(&[]).unwrap()).unwrap().iter().count(), 0);
    }

    #[test]
    #[cfg_attr(miri, ignore = "maps a file")]
    fn what_is_cut_short_is_refused() {
        let whole = [1_u64, 3].map(u64::to_le_bytes).concat();
        for bytes in [&whole[..], &whole[..15], &[whole.as_slice(), b"ab"].concat()] {
            assert!(Inputs::open(&fds::blob(&[bytes]).unwrap()).is_err());
        }
        assert!(Inputs::open(&fds::blob(&[&whole, b"abc"]).unwrap()).is_ok());
    }
}
