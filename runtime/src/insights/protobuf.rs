//! Writing messages in the encoding of protocol buffers.

/// A message that is being written.
#[derive(Default)]
pub(super) struct MessageBytes(Vec<u8>);

impl MessageBytes {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn tag(&mut self, field: u32, wire: u64) {
        self.varint(u64::from(field) << 3 | wire);
    }

    /// Writes a field with an unsigned integer, an enumeration or a flag.
    pub(super) fn number(&mut self, field: u32, value: u64) -> &mut Self {
        self.tag(field, 0);
        self.varint(value);
        self
    }

    /// Writes a field of the type `fixed64`.
    pub(super) fn fixed(&mut self, field: u32, value: u64) -> &mut Self {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) -> &mut Self {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    /// Writes a field with a string.
    pub(super) fn string(&mut self, field: u32, text: &str) -> &mut Self {
        self.bytes(field, text.as_bytes())
    }

    /// Writes a field with a message.
    pub(super) fn message(
        &mut self,
        field: u32,
        fill: impl FnOnce(&mut MessageBytes),
    ) -> &mut Self {
        let mut inner = MessageBytes::default();
        fill(&mut inner);
        self.bytes(field, &inner.0)
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_encoded_as_the_format_says() {
        let mut message = MessageBytes::default();
        message.number(1, 150).string(2, "testing").fixed(47, 1);
        message.message(3, |inner| {
            inner.number(1, 150);
        });
        let mut expected = vec![0x08, 0x96, 0x01, 0x12, 0x07];
        expected.extend(b"testing");
        expected.extend([0xf9, 0x02, 1, 0, 0, 0, 0, 0, 0, 0, 0x1a, 0x03, 0x08, 0x96, 0x01]);
        assert_eq!(message.into_bytes(), expected);
    }
}
