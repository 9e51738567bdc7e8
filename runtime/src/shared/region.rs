//! Allocates the memory of an object, and describes the range to which a value refers.

use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::Object;
use crate::sys::memory::{self, PAGE};

/// A range of the memory of an object, as it is encoded in a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RegionPlace {
    /// The offset in bytes.
    pub(super) offset: usize,
    /// The length in elements.
    pub(super) len: usize,
}

/// Allocates an object for `len` zeroed elements of the given size (rule M1).
pub(super) fn allocate(len: usize, element: usize) -> Result<Arc<Object>> {
    let cannot = |error: io::Error| {
        let text = format!(
            "failed to allocate shared memory for {len} elements of {element} bytes: {error}"
        );
        Error::new(ErrorKind::OutOfMemory, text)
    };
    let bytes =
        len.checked_mul(element).and_then(|bytes| bytes.max(1).checked_next_multiple_of(PAGE));
    let bytes = bytes.filter(|bytes| isize::try_from(*bytes).is_ok());
    let bytes = bytes.ok_or_else(|| cannot(io::ErrorKind::OutOfMemory.into()))?;
    let file = memory::object_file(bytes).map_err(cannot)?;
    Object::new(vec![file]).map_err(cannot)
}

/// Returns the range in bytes, if it is within the object and aligned for its elements (rule M6).
pub(super) fn check(
    place: RegionPlace,
    object: &Object,
    element: usize,
    align: usize,
) -> Result<usize, &'static str> {
    let size = crate::sys::fds::size(object.fd(0).as_fd()).map_err(|_| "its memory is gone")?;
    let bytes = place.len.checked_mul(element).ok_or("it is longer than memory can be")?;
    let end = place.offset.checked_add(bytes).ok_or("it is longer than memory can be")?;
    if end > size {
        return Err("it is longer than its memory");
    }
    if !place.offset.is_multiple_of(align) {
        return Err("it is not aligned");
    }
    Ok(bytes)
}
