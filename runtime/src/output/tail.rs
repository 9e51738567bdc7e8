//! The last lines of a worker.

/// The maximum length of a tail in bytes.
pub(super) const TAIL: usize = 4 << 10;

/// The end of what a worker has written to both streams, line by line.
#[derive(Default)]
pub(super) struct OutputTail {
    /// At most twice as long as what is kept, so that it is seldom moved.
    bytes: Vec<u8>,
}

impl OutputTail {
    /// Adds a line, without its line feed.
    pub(super) fn push(&mut self, line: &[u8]) {
        self.bytes.extend(&line[line.len().saturating_sub(TAIL)..]);
        self.bytes.push(b'\n');
        if self.bytes.len() > 2 * TAIL {
            self.bytes.drain(..self.bytes.len() - TAIL);
        }
    }

    /// Returns the tail as text, from the beginning of a line if there is one, or `None` if nothing was written.
    pub(super) fn text(mut self) -> Option<String> {
        // The last line feed was added here.
        self.bytes.pop()?;
        let from = self.bytes.len().saturating_sub(TAIL);
        let is_start = from == 0 || self.bytes[from - 1] == b'\n';
        let last = &self.bytes[from..];
        let skipped = match last.iter().position(|&byte| byte == b'\n') {
            Some(at) if !is_start => at + 1,
            // A part of a single line, without the rest of a character.
            None if !is_start => {
                last.iter().take(3).take_while(|&&byte| byte & 0xc0 == 0x80).count()
            }
            _ => 0,
        };
        Some(String::from_utf8_lossy(&last[skipped..]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(lines: &[&str]) -> Option<String> {
        let mut tail = OutputTail::default();
        lines.iter().for_each(|line| tail.push(line.as_bytes()));
        tail.text()
    }

    #[test]
    fn a_short_output_is_kept_whole() {
        assert_eq!(tail(&[]), None);
        assert_eq!(tail(&["one", "", "three"]).unwrap(), "one\n\nthree");
    }

    #[test]
    fn the_last_lines_are_kept_whole() {
        let lines: Vec<String> = (0..10_000).map(|n| format!("line {n}")).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let kept = tail(&lines).unwrap();
        assert!(kept.len() <= TAIL && kept.len() > TAIL - 20, "{}", kept.len());
        assert!(kept.starts_with("line ") && kept.ends_with("\nline 9999"), "{kept}");
    }

    #[test]
    fn of_a_long_line_the_end_is_kept() {
        let kept = tail(&["before", &"é".repeat(10 << 20)]).unwrap();
        assert!(kept.chars().all(|c| c == 'é') && kept.len() > TAIL - 4, "{}", kept.len());
        let kept = tail(&[&"a".repeat(TAIL), "b"]).unwrap();
        assert_eq!(kept, "b");
        assert_eq!(tail(&["b", &"a".repeat(TAIL)]).unwrap(), "a".repeat(TAIL));
    }
}
