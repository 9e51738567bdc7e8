//! The contents of a request and of a reply.

/// The id of a call, unique among all calls: the reply link over which the answer is sent, and the number of
/// the call in that link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId {
    /// The number of the reply link.
    pub(crate) link: u64,
    pub(crate) serial: u64,
}

/// The head of a request, which precedes the arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ActorRequest {
    pub(crate) id: RequestId,
    /// The index of the method in the table of its actor.
    pub(crate) method: u32,
    /// Whether the caller does not wait for an answer.
    pub(crate) cast: bool,
    /// Whether the last objects of the message are the sending end of the reply link.
    pub(crate) registers: bool,
    /// The time of sending, by the monotonic clock.
    pub(crate) sent: u64,
    /// The time after which the call is not begun any more; 0 if there is none.
    pub(crate) until: u64,
    /// The actors whose calls wait for this one.
    pub(crate) chain: Vec<u64>,
}

impl ActorRequest {
    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let flags = u64::from(self.cast) | u64::from(self.registers) << 1;
        let head = u64::from(self.method) | flags << 32 | (self.chain.len() as u64) << 40;
        let words = [head, self.id.link, self.id.serial, self.sent, self.until];
        words.iter().chain(&self.chain).for_each(|word| to.extend(word.to_le_bytes()));
    }

    /// Decodes the head of a request, and returns it with the bytes that follow.
    pub(crate) fn read(bytes: &[u8]) -> Option<(ActorRequest, &[u8])> {
        let mut rest = bytes;
        let mut next = || {
            let (word, more) = rest.split_first_chunk::<8>()?;
            rest = more;
            Some(u64::from_le_bytes(*word))
        };
        let head = next()?;
        let id = RequestId { link: next()?, serial: next()? };
        let (sent, until) = (next()?, next()?);
        let chain = (0..head >> 40).map(|_| next()).collect::<Option<_>>()?;
        let request = ActorRequest {
            id,
            method: head as u32,
            cast: head >> 32 & 1 == 1,
            registers: head >> 33 & 1 == 1,
            sent,
            until,
            chain,
        };
        Some((request, rest))
    }
}

/// The outcome of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyStatus {
    /// The output follows.
    Value,
    /// An encoded `Failure` follows.
    Failed,
    /// The call was not begun, because its time had expired.
    Expired,
    /// The call was not begun, because the actor had ended.
    Ended,
}

/// Writes the head of a reply; the rest follows.
pub(crate) fn begin_reply(to: &mut Vec<u8>, serial: u64, status: ReplyStatus) {
    to.clear();
    to.extend(serial.to_le_bytes());
    to.push(status as u8);
}

/// Decodes the head of a reply, and returns it with the bytes that follow.
pub(crate) fn read_reply(bytes: &[u8]) -> Option<(u64, ReplyStatus, &[u8])> {
    let (serial, rest) = bytes.split_first_chunk::<8>()?;
    let (status, rest) = rest.split_first()?;
    let status = match status {
        0 => ReplyStatus::Value,
        1 => ReplyStatus::Failed,
        2 => ReplyStatus::Expired,
        3 => ReplyStatus::Ended,
        _ => return None,
    };
    Some((u64::from_le_bytes(*serial), status, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_written() {
        for (cast, registers, chain) in [(false, true, vec![]), (true, false, vec![1, u64::MAX])] {
            let id = RequestId { link: u64::MAX, serial: 7 };
            let request =
                ActorRequest { id, method: u32::MAX, cast, registers, sent: 3, until: 9, chain };
            let mut bytes = Vec::new();
            request.write(&mut bytes);
            assert_eq!(bytes.len(), 40 + 8 * request.chain.len());
            bytes.extend(b"rest");
            let (read, rest) = ActorRequest::read(&bytes).unwrap();
            assert_eq!((read, rest), (request, &b"rest"[..]));
            assert!((0..bytes.len() - 4).all(|len| ActorRequest::read(&bytes[..len]).is_none()));
        }
    }

    #[test]
    fn a_reply_is_read_as_written() {
        let mut bytes = vec![1, 2, 3];
        for status in
            [ReplyStatus::Value, ReplyStatus::Failed, ReplyStatus::Expired, ReplyStatus::Ended]
        {
            begin_reply(&mut bytes, 77, status);
            bytes.extend(b"rest");
            assert_eq!(read_reply(&bytes), Some((77, status, &b"rest"[..])));
        }
        assert!((0..9).all(|len| read_reply(&bytes[..len]).is_none()));
    }
}
