//! The thread whose rights a worker receives (rule L10).

use crate::error::{Error, Result};
use crate::sys::rights::{PresentRights, Rights};
use crate::sys::threads;

/// The thread that built a pool.
///
/// Starts of workers happen on the thread of the dispatcher, which had the rights of this one when it
/// was started. What the process gives up as a whole, both give up; what a thread gives up
/// for itself alone, the other one has to be brought to.
pub(super) struct Caller {
    /// As `/proc` numbers it.
    thread: i32,
    /// What the thread that starts of workers happen on had when it was looked at last. While the
    /// caller has the same nothing has changed for either, so that one look is enough.
    known: Rights,
}

impl Caller {
    /// The calling thread.
    pub(super) fn here() -> Self {
        Caller { thread: threads::current(), known: Rights::own().rights }
    }

    /// Its rights, as it reads them itself.
    pub(super) fn rights(&self) -> &Rights {
        &self.known
    }

    /// What a start on the calling thread, which is another one, may have: no more than the
    /// caller.
    ///
    /// # Errors
    ///
    /// If the calling thread has rights that the caller has not, and cannot give them up.
    pub(super) fn present(&mut self) -> Result<PresentRights> {
        let caller = Rights::of(self.thread, self.known.securebits());
        match caller {
            Some(caller) if self.known.difference(&caller.rights).is_empty() => return Ok(caller),
            Some(_) => {}
            // It has ended; who goes on for it is the calling thread.
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
