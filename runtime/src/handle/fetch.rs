//! Fetches an object that this process does not have.

use std::sync::{Arc, Mutex};

use super::{Object, ObjectId, ObjectLink};
use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;

static SOURCE: PerProcess<Mutex<Option<Arc<ObjectLink>>>> = PerProcess::new();

/// Sets the link to the process from which this process requests objects: the caller of this
/// worker.
pub(crate) fn set_source(source: Arc<ObjectLink>) {
    *SOURCE.get().lock().ignore_poison() = Some(source);
}

/// Returns whether this process can request objects, because it is a worker.
pub(super) fn has_source() -> bool {
    SOURCE.get().lock().ignore_poison().is_some()
}

/// Finds an object in this process, or requests it (rules H2 and H4).
pub(super) fn find(id: ObjectId) -> Result<Arc<Object>, String> {
    if let Some(object) = Object::find(id) {
        return Ok(object);
    }
    let source = SOURCE.get().lock().ignore_poison().clone();
    let Some(source) = source else {
        return Err("an object in it is gone: its last handle was dropped".to_owned());
    };
    source.fetch(id).map_err(|error| format!("an object in it could not be fetched: {error}"))
}
