//! Where a process gets an object that it does not have.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Object, ObjectId};
use crate::sys::generation::PerProcess;

/// Someone who can be asked for objects: the caller of this worker.
pub(crate) trait Source: Send + Sync {
    /// Asks for an object.
    ///
    /// # Errors
    ///
    /// If it is not given.
    fn fetch(&self, id: ObjectId) -> io::Result<Arc<Object>>;
}

static SOURCE: PerProcess<Mutex<Option<Arc<dyn Source>>>> = PerProcess::new();

/// Sets whom this process asks.
pub(crate) fn set_source(source: Arc<dyn Source>) {
    *SOURCE.get().lock().unwrap_or_else(PoisonError::into_inner) = Some(source);
}

/// Whether this process can ask anyone: whether it is a worker.
pub(super) fn has_source() -> bool {
    SOURCE.get().lock().unwrap_or_else(PoisonError::into_inner).is_some()
}

/// Finds an object here, or asks for it (rules H2 and H4).
pub(super) fn find(id: ObjectId) -> Result<Arc<Object>, String> {
    if let Some(object) = Object::find(id) {
        return Ok(object);
    }
    let source = SOURCE.get().lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(source) = source else {
        return Err("an object in it is gone: its last handle was dropped".to_owned());
    };
    source.fetch(id).map_err(|error| format!("an object in it could not be fetched: {error}"))
}
