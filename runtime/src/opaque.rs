//! Errors that do not travel: what a task may fail with although it is not serde's.

use std::error::Error as StdError;

/// An error that stays in the worker: of it only the text, the causes and the backtrace travel.
///
/// A task that returns a `Result` with such an error returns the value of `Ok` to its caller. An
/// `Err` is an [`Error`](crate::Error) of kind [`Failed`](crate::ErrorKind::Failed), whose text ends in
/// that of the error, whose [`source`](std::error::Error::source) is its chain of causes, and
/// which knows task, input, worker and pid.
///
/// It is implemented for the errors of the standard library, for `Box<dyn Error>` with or without
/// `Send` and `Sync`, for [`runtime::Error`](crate::Error), and with the features of that name for
/// `anyhow::Error` and `eyre::Report`. An error that implements `Serialize` and
/// `Deserialize` needs none of this: it is a value like any other.
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
/// assert!(*outcomes[0].as_ref().unwrap() > 10); // a number, and no `Result`
/// let error = outcomes[1].as_ref().unwrap_err();
/// assert_eq!((error.kind(), error.index()), (ErrorKind::Failed, Some(1)));
/// assert!(error.to_string().ends_with("No such file or directory (os error 2)"));
/// ```
///
/// Implement it for an error of your own that is not to be serialized:
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
    /// The error itself, for its text and its causes.
    fn as_error(&self) -> &(dyn StdError + 'static);

    /// The backtrace, if it has one.
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
