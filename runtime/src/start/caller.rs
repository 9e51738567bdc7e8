//! The thread whose rights a worker receives (rule L10).

use crate::error::{Error, Result};
use crate::sys::rights::{PresentRights, Rights};
use crate::sys::threads;

/// The thread that built a pool.
///
/// The dispatcher starts the workers. It was created by this thread, with the same rights. If the whole
/// process gives up rights, both threads lose them. If only this thread gives up rights, the dispatcher
/// has to give them up as well.
pub(super) struct Caller {
    /// The id of the thread, as in `/proc`.
    thread: i32,
    /// The rights of the dispatcher when they were last read. If the caller still has the same rights,
    /// nothing has changed, so reading those of one thread is sufficient.
    known: Rights,
}

impl Caller {
    /// Returns the calling thread.
    pub(super) fn here() -> Self {
        Caller { thread: threads::current(), known: Rights::own().rights }
    }

    /// Returns the rights that the thread has read itself.
    pub(super) fn rights(&self) -> &Rights {
        &self.known
    }

    /// Returns the rights for a start on the calling thread, which is the dispatcher: no more than those
    /// of the caller.
    ///
    /// # Errors
    ///
    /// Fails if the calling thread has rights that the caller does not have, and cannot give them up.
    pub(super) fn present(&mut self) -> Result<PresentRights> {
        let caller = Rights::of(self.thread, self.known.securebits());
        match caller {
            Some(caller) if self.known.difference(&caller.rights).is_empty() => return Ok(caller),
            Some(_) => {}
            // The thread has ended, so the rights of the calling thread count.
            None => return Ok(Rights::own()),
        }
        let mut excess = Vec::new();
        for last in [false, true] {
            let own = Rights::own();
            let caller = Rights::of(self.thread, own.rights.securebits());
            excess = caller.map_or(Vec::new(), |caller| own.rights.difference(&caller.rights));
            if excess.is_empty() {
                self.known = own.rights.clone();
                return Ok(own);
            }
            if !last {
                Rights::adopt(self.thread);
            }
        }
        Err(Error::start(format!(
            "the thread that built this pool has since changed its rights ({}), and the pool's own \
             thread, which starts the workers, cannot follow; build another pool",
            excess.join(", ")
        )))
    }
}
