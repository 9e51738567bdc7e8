//! Errors that tasks can return although serde cannot serialize them.

use std::error::Error as StdError;

/// An error that cannot be serialized, of which only the message, the causes and the backtrace are
/// sent to the caller.
///
/// If a task returns a `Result` with such an error, the output of the call is the `Ok` value. An `Err`
/// becomes an [`Error`](crate::Error) of kind [`Failed`](crate::ErrorKind::Failed). Its message ends
/// with the message of the original error, and its [`source`](std::error::Error::source) is the chain
/// of causes. Like every error it contains the task, the input, the worker and the pid.
///
/// This trait is implemented for the errors of the standard library, for `Box<dyn Error>` with or
/// without `Send` and `Sync`, and for [`runtime::Error`](crate::Error). The features `anyhow` and
/// `eyre` add `anyhow::Error` and `eyre::Report`. An error that implements `Serialize` and
/// `Deserialize` does not need it: the caller receives the whole `Result` as a value.
///
/// ```
/// use runtime::{ErrorKind, worker};
///
/// #[worker]
/// fn lines(path: &str) -> std::io::Result<usize> {
///     Ok(std::fs::read_to_string(path)?.lines().count())
/// }
///
/// let outcomes = runtime::pool().map_all(lines, ["Cargo.toml", "no such file"]);
/// assert!(*outcomes[0].as_ref().unwrap() > 10); // the `Ok` value
/// let error = outcomes[1].as_ref().unwrap_err();
/// assert_eq!((error.kind(), error.index()), (ErrorKind::Failed, Some(1)));
/// assert!(error.to_string().ends_with("No such file or directory (os error 2)"));
/// ```
///
/// Implement it for your own errors that should not be serialized:
///
/// ```
/// use runtime::worker;
///
/// #[derive(Debug)]
/// struct Odd(u64);
///
/// impl std::fmt::Display for Odd {
///     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
///         write!(f, "{} is odd", self.0)
///     }
/// }
///
/// impl std::error::Error for Odd {}
///
/// impl runtime::Opaque for Odd {
///     fn as_error(&self) -> &(dyn std::error::Error + 'static) {
///         self
///     }
/// }
///
/// #[worker]
/// fn half(x: u64) -> Result<u64, Odd> {
///     if x % 2 == 0 { Ok(x / 2) } else { Err(Odd(x)) }
/// }
///
/// assert_eq!(runtime::pool().apply(half, 4)?, 2);
/// assert!(runtime::pool().apply(half, 5).unwrap_err().to_string().ends_with("5 is odd"));
/// # Ok::<(), runtime::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot travel to the caller: derive `serde::Serialize` and `serde::Deserialize` for it, or switch on the feature `serde` of the crate that it is from",
    note = "or return an `anyhow::Result` or a `Result<_, Box<dyn Error>>`, into which `?` turns any error"
)]
pub trait Opaque {
    /// Returns the error, whose message and causes are sent to the caller.
    fn as_error(&self) -> &(dyn StdError + 'static);

    /// Returns the backtrace of the error, if it has one.
    fn backtrace(&self) -> Option<String> {
        None
    }
}

macro_rules! opaque {
    ($($error:ty)*) => {$(
        impl Opaque for $error {
            fn as_error(&self) -> &(dyn StdError + 'static) {
                self
            }
        }
    )*};
    ($($error:ty)* => $this:ident, $seen:expr) => {$(
        impl Opaque for $error {
            fn as_error(&self) -> &(dyn StdError + 'static) {
                let $this = self;
                $seen
            }
        }
    )*};
}

opaque! {
    std::alloc::LayoutError
    std::array::TryFromSliceError
    std::cell::BorrowError
    std::cell::BorrowMutError
    std::char::CharTryFromError
    std::char::DecodeUtf16Error
    std::char::ParseCharError
    std::char::TryFromCharError
    std::collections::TryReserveError
    std::convert::Infallible
    std::env::JoinPathsError
    std::env::VarError
    std::ffi::FromBytesUntilNulError
    std::ffi::FromBytesWithNulError
    std::ffi::FromVecWithNulError
    std::ffi::IntoStringError
    std::ffi::NulError
    std::fmt::Error
    std::io::Error
    std::net::AddrParseError
    std::num::ParseFloatError
    std::num::ParseIntError
    std::num::TryFromIntError
    std::path::StripPrefixError
    std::str::ParseBoolError
    std::str::Utf8Error
    std::string::FromUtf16Error
    std::string::FromUtf8Error
    std::sync::mpsc::RecvError
    std::sync::mpsc::RecvTimeoutError
    std::sync::mpsc::TryRecvError
    std::thread::AccessError
    std::time::SystemTimeError
    std::time::TryFromFloatSecsError
}

opaque! {
    Box<dyn StdError>
    Box<dyn StdError + Send>
    Box<dyn StdError + Send + Sync>
    std::sync::Arc<dyn StdError + Send + Sync>
    => this, &**this
}

impl Opaque for crate::Error {
    fn as_error(&self) -> &(dyn StdError + 'static) {
        self
    }

    fn backtrace(&self) -> Option<String> {
        crate::Error::backtrace(self).map(str::to_owned)
    }
}

#[cfg(feature = "anyhow")]
impl Opaque for anyhow::Error {
    fn as_error(&self) -> &(dyn StdError + 'static) {
        self.as_ref()
    }

    fn backtrace(&self) -> Option<String> {
        let trace = anyhow::Error::backtrace(self);
        (trace.status() == std::backtrace::BacktraceStatus::Captured).then(|| trace.to_string())
    }
}

#[cfg(feature = "eyre")]
impl Opaque for eyre::Report {
    fn as_error(&self) -> &(dyn StdError + 'static) {
        self.as_ref()
    }
}
