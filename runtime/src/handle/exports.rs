//! The objects that the workers of a pool may request (rule H4).

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::{Object, ObjectId};

use crate::poison::IgnorePoison;

/// The objects in the inputs that a pool has in flight.
#[derive(Debug, Default)]
pub(crate) struct Exports {
    objects: Mutex<HashMap<ObjectId, (Arc<Object>, usize)>>,
}

impl Exports {
    /// Offers objects until the returned value is dropped.
    pub(crate) fn offer(self: &Arc<Self>, objects: Vec<Arc<Object>>) -> Offer {
        let mut table = self.objects.lock().ignore_poison();
        for object in &objects {
            let entry = table.entry(object.id()).or_insert_with(|| (Arc::clone(object), 0));
            entry.1 += 1;
        }
        drop(table);
        let ids = objects.iter().map(|object| object.id()).collect();
        Offer { exports: Arc::clone(self), ids }
    }

    /// Returns an object that a worker requests.
    pub(crate) fn get(&self, id: ObjectId) -> Option<Arc<Object>> {
        let table = self.objects.lock().ignore_poison();
        table.get(&id).map(|(object, _)| Arc::clone(object))
    }
}

/// Objects that workers may request until this value is dropped.
#[derive(Debug)]
pub(crate) struct Offer {
    exports: Arc<Exports>,
    ids: Vec<ObjectId>,
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut gone = Vec::new();
        let mut table = self.exports.objects.lock().ignore_poison();
        for id in &self.ids {
            if let Some((_, count)) = table.get_mut(id) {
                *count -= 1;
                if *count == 0 {
                    gone.extend(table.remove(id));
                }
            }
        }
        // The table is unlocked first, because closing files takes time.
        drop(table);
    }
}
