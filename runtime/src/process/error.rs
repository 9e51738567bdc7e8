//! What the pool inside of a process reports, in the words of a process.

use crate::call::WHERE_STATES_ARE_MADE;
use crate::error::Error;

/// Errors of the pool inside, as those of a process.
pub(super) fn of_process(error: Error) -> Error {
    error.with(|facts| {
        if facts.detail.contains(WHERE_STATES_ARE_MADE) {
            let text =
                facts.detail.replace(WHERE_STATES_ARE_MADE, "no initializer of this process makes");
            facts.detail = text.replace("Pool::builder()", "Process::builder()").into();
        }
    })
}
