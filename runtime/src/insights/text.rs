//! Names, durations, amounts and tables as people read them.

use std::fmt::{self, Write as _};

use crate::registry;

/// Returns the name of a task.
pub(super) fn name_of(task: u32) -> &'static str {
    registry::get(task).map_or("an unknown function", |entry| entry.name())
}

/// Formats nanoseconds in the unit that suits them.
pub(crate) fn time(nanoseconds: u64) -> String {
    let seconds = nanoseconds as f64 / 1e9;
    match seconds {
        s if s < 1e-6 => format!("{nanoseconds} ns"),
        s if s < 1e-3 => format!("{:.1} us", s * 1e6),
        s if s < 1.0 => format!("{:.1} ms", s * 1e3),
        s if s < 600.0 => format!("{s:.2} s"),
        s => format!("{:.1} min", s / 60.0),
    }
}

/// Formats a number of bytes in the unit that suits it.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1024.0;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < UNITS.len() {
        (amount, unit) = (amount / 1024.0, unit + 1);
    }
    format!("{amount:.1} {}", UNITS[unit])
}

/// Formats a part of a whole.
pub(crate) fn share(part: u64, whole: u64) -> String {
    match whole {
        0 => "-".to_owned(),
        _ => format!("{:.1} %", part as f64 * 100.0 / whole as f64),
    }
}

/// A table whose first column is aligned to the left, and the others to the right.
pub(crate) struct TextTable(Vec<Vec<String>>);

impl TextTable {
    pub(crate) fn new(columns: &[&str]) -> Self {
        TextTable(vec![columns.iter().map(ToString::to_string).collect()])
    }

    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.0.push(cells.into_iter().collect());
    }

    /// Writes the table, each line after `indent`.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |at| {
            let cells = self.0.iter().filter_map(|row: &Vec<String>| row.get(at));
            cells.map(|cell: &String| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.0 {
            let mut line = indent.to_owned();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match at {
                    0 => write!(line, "{cell:<width$}")?,
                    _ => write!(line, "  {cell:>width$}")?,
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Returns the text with the characters that have a meaning in XML and HTML replaced.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_suit() {
        let times = [0, 999, 1_500, 2_340_000, 1_000_000_000, 900_000_000_000].map(time);
        assert_eq!(times, ["0 ns", "999 ns", "1.5 us", "2.3 ms", "1.00 s", "15.0 min"]);
        let amounts = [0, 1023, 1024, 1536, 3 << 30, u64::MAX].map(bytes);
        let expected = ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "3.0 GiB", "16384.0 PiB"];
        assert_eq!(amounts, expected);
        assert_eq!([share(1, 3), share(0, 0)], ["33.3 %", "-"]);
        assert_eq!(escaped("<a b='\"&\n'>"), "&lt;a b=&#39;&quot;&amp; &#39;&gt;");
    }
}
