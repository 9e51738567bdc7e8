//! The errors of sending and receiving.
//!
//! They have the names of those of `crossbeam_channel`. The variant `Failed` is additional: a value cannot be encoded, or the system
//! has no memory or descriptors left.

use std::error::Error as StdError;
use std::fmt;

use crate::error::Error;

/// The reason why an operation on a channel did not complete. The public errors convert from it.
#[derive(Debug)]
pub(crate) enum ChannelError {
    /// The time limit of the operation has passed.
    TimedOut,
    /// The other side is gone, and no message is left for this one.
    Disconnected,
    Failed(Error),
}

impl From<Error> for ChannelError {
    fn from(error: Error) -> Self {
        ChannelError::Failed(error)
    }
}

const NO_RECEIVER: &str = "the channel is disconnected: its last receiver is gone";
const NO_SENDER: &str = "the channel is empty and disconnected: its last sender is gone";
const FULL: &str = "the channel is full";
const EMPTY: &str = "the channel is empty";

/// The error of [`Sender::send`](crate::Sender::send): the value, and the reason unless that is that the last receiver is gone.
///
/// ```
/// use runtime::SendError;
///
/// let (sender, receiver) = runtime::channel::<u64>(8)?;
/// drop(receiver);
/// let Err(SendError(value, ..)) = sender.send(7) else { panic!("nobody receives") };
/// assert_eq!(value, 7);
/// # Ok::<(), runtime::Error>(())
/// ```
pub struct SendError<T>(pub T, pub Option<Error>);

/// The error of [`Sender::try_send`](crate::Sender::try_send).
pub enum TrySendError<T> {
    /// The channel is full.
    Full(T),
    /// The last receiver is gone.
    Disconnected(T),
    /// The value cannot be sent, for the given reason.
    Failed(T, Error),
}

/// The error of [`Sender::send_timeout`](crate::Sender::send_timeout).
pub enum SendTimeoutError<T> {
    /// The channel was full for the whole time.
    Timeout(T),
    /// The last receiver is gone.
    Disconnected(T),
    /// The value cannot be sent, for the given reason.
    Failed(T, Error),
}

/// The error of [`Receiver::recv`](crate::Receiver::recv).
#[derive(Debug)]
pub enum RecvError {
    /// The channel is empty, and the last sender was dropped or its process has ended.
    Disconnected,
    /// A message could not be received, for the given reason.
    Failed(Error),
}

/// The error of [`Receiver::try_recv`](crate::Receiver::try_recv).
#[derive(Debug)]
pub enum TryRecvError {
    /// The channel is empty, but senders exist.
    Empty,
    /// The channel is empty, and the last sender was dropped or its process has ended.
    Disconnected,
    /// A message could not be received, for the given reason.
    Failed(Error),
}

/// The error of [`Receiver::recv_timeout`](crate::Receiver::recv_timeout).
#[derive(Debug)]
pub enum RecvTimeoutError {
    /// No message arrived in that time.
    Timeout,
    /// The channel is empty, and the last sender was dropped or its process has ended.
    Disconnected,
    /// A message could not be received, for the given reason.
    Failed(Error),
}

impl<T> From<(T, ChannelError)> for SendError<T> {
    fn from((value, error): (T, ChannelError)) -> Self {
        match error {
            ChannelError::Failed(error) => SendError(value, Some(error)),
            // A send without a limit does not time out.
            ChannelError::TimedOut | ChannelError::Disconnected => SendError(value, None),
        }
    }
}

impl<T> From<(T, ChannelError)> for TrySendError<T> {
    fn from((value, error): (T, ChannelError)) -> Self {
        match error {
            ChannelError::TimedOut => TrySendError::Full(value),
            ChannelError::Disconnected => TrySendError::Disconnected(value),
            ChannelError::Failed(error) => TrySendError::Failed(value, error),
        }
    }
}

impl<T> From<(T, ChannelError)> for SendTimeoutError<T> {
    fn from((value, error): (T, ChannelError)) -> Self {
        match error {
            ChannelError::TimedOut => SendTimeoutError::Timeout(value),
            ChannelError::Disconnected => SendTimeoutError::Disconnected(value),
            ChannelError::Failed(error) => SendTimeoutError::Failed(value, error),
        }
    }
}

impl From<ChannelError> for RecvError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::Failed(error) => RecvError::Failed(error),
            // A receive without a limit does not time out.
            ChannelError::TimedOut | ChannelError::Disconnected => RecvError::Disconnected,
        }
    }
}

impl From<ChannelError> for TryRecvError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::TimedOut => TryRecvError::Empty,
            ChannelError::Disconnected => TryRecvError::Disconnected,
            ChannelError::Failed(error) => TryRecvError::Failed(error),
        }
    }
}

impl From<ChannelError> for RecvTimeoutError {
    fn from(error: ChannelError) -> Self {
        match error {
            ChannelError::TimedOut => RecvTimeoutError::Timeout,
            ChannelError::Disconnected => RecvTimeoutError::Disconnected,
            ChannelError::Failed(error) => RecvTimeoutError::Failed(error),
        }
    }
}

impl<T> SendError<T> {
    /// Returns the value that was not sent.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// Returns whether the last receiver is gone.
    pub fn is_disconnected(&self) -> bool {
        self.1.is_none()
    }

    /// Returns the reason why the value could not be sent, or `None` if the last receiver is gone.
    pub fn error(&self) -> Option<&Error> {
        self.1.as_ref()
    }
}

impl<T> TrySendError<T> {
    /// Returns the value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Full(value) | Self::Disconnected(value) | Self::Failed(value, _) => value,
        }
    }

    /// Returns whether the channel was full.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full(_))
    }

    /// Returns whether the last receiver is gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }
}

impl<T> SendTimeoutError<T> {
    /// Returns the value that was not sent.
    pub fn into_inner(self) -> T {
        match self {
            Self::Timeout(value) | Self::Disconnected(value) | Self::Failed(value, _) => value,
        }
    }

    /// Returns whether the timeout expired.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout(_))
    }

    /// Returns whether the last receiver is gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected(_))
    }
}

impl RecvError {
    /// Returns whether the last sender is gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl TryRecvError {
    /// Returns whether the channel was empty while senders exist.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// Returns whether the last sender is gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl RecvTimeoutError {
    /// Returns whether the timeout expired.
    pub fn is_timeout(&self) -> bool {
        matches!(self, Self::Timeout)
    }

    /// Returns whether the last sender is gone.
    pub fn is_disconnected(&self) -> bool {
        matches!(self, Self::Disconnected)
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.1 {
            None => f.write_str(NO_RECEIVER),
            Some(error) => error.fmt(f),
        }
    }
}

impl<T> fmt::Display for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str(FULL),
            Self::Disconnected(_) => f.write_str(NO_RECEIVER),
            Self::Failed(_, error) => error.fmt(f),
        }
    }
}

impl<T> fmt::Display for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => write!(f, "{FULL}, and nothing was received in time"),
            Self::Disconnected(_) => f.write_str(NO_RECEIVER),
            Self::Failed(_, error) => error.fmt(f),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disconnected => f.write_str(NO_SENDER),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str(EMPTY),
            Self::Disconnected => f.write_str(NO_SENDER),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => write!(f, "{EMPTY}, and nothing was sent in time"),
            Self::Disconnected => f.write_str(NO_SENDER),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

// Values need not be `Debug`.
impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.1 {
            None => f.write_str("SendError(..)"),
            Some(error) => write!(f, "SendError(.., {error:?})"),
        }
    }
}

impl<T> fmt::Debug for TrySendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("Full(..)"),
            Self::Disconnected(_) => f.write_str("Disconnected(..)"),
            Self::Failed(_, error) => write!(f, "Failed(.., {error:?})"),
        }
    }
}

impl<T> fmt::Debug for SendTimeoutError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout(_) => f.write_str("Timeout(..)"),
            Self::Disconnected(_) => f.write_str("Disconnected(..)"),
            Self::Failed(_, error) => write!(f, "Failed(.., {error:?})"),
        }
    }
}

impl<T> StdError for SendError<T> {}
impl<T> StdError for TrySendError<T> {}
impl<T> StdError for SendTimeoutError<T> {}
impl StdError for RecvError {}
impl StdError for TryRecvError {}
impl StdError for RecvTimeoutError {}
