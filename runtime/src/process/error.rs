//! Converts the errors of the pool inside a process into errors of the process.

use crate::call::WHERE_STATES_ARE_MADE;
use crate::error::Error;

/// Changes an error of the inner pool into an error of the process.
pub(super) fn of_process(error: Error) -> Error {
    error.with(|facts| {
        if facts.detail.contains(WHERE_STATES_ARE_MADE) {
            let text =
                facts.detail.replace(WHERE_STATES_ARE_MADE, "no initializer of this process makes");
            facts.detail = text.replace("Pool::builder()", "Process::builder()").into();
        }
    })
}
