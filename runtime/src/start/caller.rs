//! Whose rights a birth has (rule 10).

use crate::error::{Error, Result};
use crate::sys::rights::{Present, Rights};
use crate::sys::threads;

/// The thread that built a pool, as `/proc` numbers it.
///
/// Births happen on the thread of the dispatcher, which had the rights of this one when it
/// was started. What the process gives up as a whole, both give up; what a thread gives up
/// for itself alone, the other one has to be brought to.
pub(super) struct Caller(i32);

impl Caller {
    /// The calling thread.
    pub(super) fn here() -> Self {
        Caller(threads::current())
    }

    /// What a birth on the calling thread may have: no more than the caller.
    ///
    /// # Errors
    ///
    /// If the calling thread has rights that the caller has not, and cannot give them up.
    pub(super) fn present(&self) -> Result<Present> {
        let own = Rights::own();
        if threads::current() == self.0 || self.excess(&own.rights).is_empty() {
            return Ok(own);
        }
        Rights::adopt(self.0);
        let own = Rights::own();
        let excess = self.excess(&own.rights);
        if excess.is_empty() {
            return Ok(own);
        }
        Err(Error::start(format!(
            "the thread that built this pool has since changed its rights ({}), and the pool's own \
             thread, which starts the workers, cannot follow; build another pool",
            excess.join(", ")
        )))
    }

    /// In what the rights of the calling thread are not those of the caller, if that lives.
    fn excess(&self, own: &Rights) -> Vec<&'static str> {
        let caller = Rights::of(self.0);
        caller.map_or(Vec::new(), |caller| own.difference(&caller.with_unseen_of(own)))
    }
}
