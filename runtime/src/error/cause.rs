//! The causes of a failed task: the texts of the sources of an error.

use std::error::Error as StdError;
use std::fmt;

/// A cause, and its own cause.
#[derive(Clone)]
pub(crate) struct Cause {
    text: Box<str>,
    cause: Option<Box<Cause>>,
}

impl Cause {
    /// Returns the chain of causes with these texts, the nearest one first.
    pub(crate) fn chain(texts: Vec<String>) -> Option<Box<Cause>> {
        let link = |cause, text: String| Some(Box::new(Cause { text: text.into(), cause }));
        texts.into_iter().rev().fold(None, link)
    }
}

/// Returns the causes of an error, the nearest first.
pub(crate) fn causes<'e>(
    error: &'e (dyn StdError + 'static),
) -> impl Iterator<Item = &'e (dyn StdError + 'static)> {
    let mut next = error.source();
    std::iter::from_fn(move || {
        let cause = next?;
        next = cause.source();
        Some(cause)
    })
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
