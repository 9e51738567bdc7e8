//! Cutting a stream into lines.

use std::mem;
use std::ops::Range;

use super::LONGEST;
use super::line::OutputStream;
use crate::queue::MarkedInput;

/// Lines that were read and not yet passed on.
#[derive(Default)]
pub(super) struct LineBatch {
    bytes: Vec<u8>,
    lines: Vec<CutLine>,
}

#[derive(Clone)]
struct CutLine {
    place: Range<usize>,
    stream: OutputStream,
    input: Option<MarkedInput>,
}

impl LineBatch {
    fn push(&mut self, parts: [&[u8]; 2], stream: OutputStream, input: Option<MarkedInput>) {
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.lines.push(CutLine { place: start..self.bytes.len(), stream, input });
    }

    /// Returns the lines in the order in which they were read.
    pub(super) fn iter(
        &self,
    ) -> impl DoubleEndedIterator<Item = (&[u8], OutputStream, Option<MarkedInput>)> {
        let line = |line: &CutLine| (line.place.clone(), line.stream, line.input);
        self.lines
            .iter()
            .map(line)
            .map(|(place, stream, input)| (&self.bytes[place], stream, input))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.lines.len()
    }
}

/// Cuts one stream of a worker into lines.
#[derive(Default)]
pub(super) struct LineCutter {
    /// The beginning of a line whose end was not read, and the input that it belongs to.
    partial: Vec<u8>,
    input: Option<MarkedInput>,
}

impl LineCutter {
    /// Adds bytes that were read. `input_at` returns the input that has written the byte at an index.
    pub(super) fn push(
        &mut self,
        read: &[u8],
        stream: OutputStream,
        batch: &mut LineBatch,
        input_at: impl Fn(usize) -> Option<MarkedInput>,
    ) {
        let mut at = 0;
        while at < read.len() {
            if self.partial.is_empty() {
                self.input = input_at(at);
            }
            let rest = &read[at..];
            let rest = &rest[..rest.len().min(LONGEST - self.partial.len())];
            let end = rest.iter().position(|&byte| byte == b'\n');
            let line = &rest[..end.unwrap_or(rest.len())];
            at += line.len() + usize::from(end.is_some());
            if end.is_some() || self.partial.len() + line.len() == LONGEST {
                batch.push([&self.partial, line], stream, self.input);
                self.partial = Vec::new();
            } else {
                self.partial.extend_from_slice(line);
            }
        }
    }

    /// Handles the end of the stream. The remaining bytes are a line.
    pub(super) fn finish(&mut self, stream: OutputStream, batch: &mut LineBatch) {
        let partial = mem::take(&mut self.partial);
        if !partial.is_empty() {
            batch.push([&partial, &[]], stream, self.input);
        }
    }

    /// Returns the beginning of the present line.
    pub(super) fn partial(&self) -> &[u8] {
        &self.partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(parts: &[&[u8]]) -> Vec<(Vec<u8>, Option<u64>)> {
        let (mut cutter, mut batch) = (LineCutter::default(), LineBatch::default());
        let mut before = 0;
        for part in parts {
            // Each ten bytes are those of an input.
            let input_at = |at| Some(MarkedInput { task: 0, index: (before + at as u64) / 10 });
            cutter.push(part, OutputStream::Stdout, &mut batch, input_at);
            before += part.len() as u64;
        }
        cutter.finish(OutputStream::Stdout, &mut batch);
        let lines = batch.iter();
        lines.map(|(line, _, input)| (line.to_vec(), input.map(|input| input.index))).collect()
    }

    #[test]
    fn lines_are_whole_however_they_arrive() {
        let text = b"one\n\ntwo and a half\nrest";
        let whole = cut(&[text]);
        let lines: Vec<_> = whole.iter().map(|(line, _)| line.as_slice()).collect();
        assert_eq!(lines, [&b"one"[..], b"", b"two and a half", b"rest"]);
        let inputs: Vec<_> = whole.iter().map(|(_, input)| input.unwrap()).collect();
        assert_eq!(inputs, [0, 0, 0, 2]);
        for at in 0..text.len() {
            assert_eq!(cut(&[&text[..at], &text[at..]]), whole, "{at}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(cut(&bytes), whole);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = vec![b'a'; LONGEST];
        let lines = cut(&[&long, b"b\nc\n"]);
        let lengths: Vec<_> = lines.iter().map(|(line, _)| line.len()).collect();
        assert_eq!(lengths, [LONGEST, 1, 1]);
        assert_eq!(cut(&[&long[1..], b"\nc"])[0].0.len(), LONGEST - 1);
    }
}
