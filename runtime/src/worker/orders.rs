//! The messages between a launcher of lanes and a host (rules N1 to N3 in `start/lanes.rs`).
//!
//! A message is a tag and the ticket of a lane. Both ends use the descriptors of an order by their places, which
//! [`worker`](super) defines.

use std::os::fd::BorrowedFd;

/// The place of the order socket and the kill socket among the descriptors of the first lane of a host.
pub(crate) const AT: usize = 6;

/// The number of descriptors that belong to one lane: control socket, page, link and wake-up eventfd. The other descriptors
/// of an order are those of the pool, which the host has.
pub(crate) const OWN: usize = 4;

/// To a host: open a lane. Descriptors: those that belong to the lane.
const OPEN: u8 = 1;
/// From a host: an order was taken.
const TAKEN: u8 = 2;
/// From a host: a lane has left.
const LEFT: u8 = 3;

/// The length of a message.
pub(crate) const LEN: usize = 9;

/// Returns the descriptors that belong to a lane.
pub(crate) fn own<'a>(
    control: BorrowedFd<'a>,
    fds: &[BorrowedFd<'a>],
) -> Option<[BorrowedFd<'a>; OWN]> {
    let [page, _, _, _, link, lane_wakeup, ..] = *fds else { return None };
    Some([control, page, link, lane_wakeup])
}

fn message(tag: u8, ticket: u64) -> [u8; LEN] {
    let mut bytes = [tag; LEN];
    bytes[1..].copy_from_slice(&ticket.to_le_bytes());
    bytes
}

fn ticket(tag: u8, bytes: &[u8]) -> Option<u64> {
    let (first, ticket) = bytes.split_first()?;
    ticket.try_into().ok().filter(|_| *first == tag).map(u64::from_le_bytes)
}

/// Returns the message to open a lane.
pub(crate) fn open_message(ticket: u64) -> [u8; LEN] {
    message(OPEN, ticket)
}

/// Returns the ticket of a lane that is to be opened.
pub(super) fn opened(bytes: &[u8]) -> Option<u64> {
    ticket(OPEN, bytes)
}

/// Returns the message that an order was taken.
pub(super) fn taken_message(ticket: u64) -> [u8; LEN] {
    message(TAKEN, ticket)
}

/// Returns the message that a lane has left.
pub(super) fn left_message(ticket: u64) -> [u8; LEN] {
    message(LEFT, ticket)
}

/// Returns the ticket of a lane that has left.
pub(crate) fn left(bytes: &[u8]) -> Option<u64> {
    ticket(LEFT, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_written() {
        assert_eq!(left(&left_message(u64::MAX - 1)), Some(u64::MAX - 1));
        assert_eq!(opened(&open_message(3)), Some(3));
        assert_eq!(left(&taken_message(3)), None);
        assert_eq!(left(&left_message(7)[..8]), None);
        assert_eq!(left(&[]), None);
    }
}
