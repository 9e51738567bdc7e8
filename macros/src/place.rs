//! The place of a function in its source.
//!
//! An attribute receives only the tokens of the function, which are the same inside and outside of an
//! `impl` block. In an `impl` block the generated code would cause three errors that do not mention the
//! cause. Therefore this module examines the source before the function, if it can be read. It does so
//! only for this one message, and assumes a free function in any case of doubt.

use proc_macro2::Ident;

/// Whether a function with this name is an item of an `impl` or `trait` block.
pub(crate) fn in_impl(name: &Ident) -> bool {
    if !proc_macro::is_available() {
        return false;
    }
    let span = name.span().unwrap();
    let text = span.local_file().and_then(|file| std::fs::read_to_string(file).ok());
    text.is_some_and(|text| {
        innermost(before(&text, span.line(), span.column())).is_some_and(is_impl)
    })
}

/// The text before a line and a column, both from 1.
fn before(text: &str, line: usize, column: usize) -> &str {
    let start: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let len = text[start..].char_indices().nth(column.saturating_sub(1)).map_or(0, |(at, _)| at);
    &text[..start + len]
}

/// Whether a block that begins like this is one of an `impl` or a `trait`.
fn is_impl(head: &str) -> bool {
    let words = || head.split(|c: char| !c.is_alphanumeric() && c != '_');
    words().any(|word| word == "impl" || word == "trait") && words().all(|word| word != "fn")
}

/// How the innermost block begins that is open at the end of this text.
fn innermost(text: &str) -> Option<&str> {
    let (mut open, mut head, mut at) = (Vec::new(), 0, 0);
    while let Some(next) = text[at..].chars().next() {
        let rest = &text[at..];
        let len = match next {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '"' => string(rest),
            'r' if is_raw(rest) && !text[..at].ends_with(is_word) => raw_string(rest),
            '\'' => character(rest),
            _ => next.len_utf8(),
        };
        let token = at;
        at += len;
        match next {
            '{' => open.push(&text[head..token]),
            '}' => drop(open.pop()),
            ';' => {}
            _ => continue,
        }
        head = at;
    }
    open.pop()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() && c != 'b' || c == '_'
}

/// The length of a comment that may hold others.
fn comment(rest: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        let (step, change) = match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (2, 1),
            [b'*', b'/', ..] => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth += change;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.bytes().skip(1).position(|byte| {
        let ends = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |end| end + 2)
}

fn is_raw(rest: &str) -> bool {
    rest[1..].trim_start_matches('#').starts_with('"')
}

fn raw_string(rest: &str) -> usize {
    let hashes = rest[1..].len() - rest[1..].trim_start_matches('#').len();
    let end = format!("\"{}", "#".repeat(hashes));
    let start = hashes + 2;
    rest[start..].find(&end).map_or(rest.len(), |at| start + at + end.len())
}

/// A character, or the first of a lifetime.
fn character(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some((at, escaped))) => {
            let from = at + escaped.len_utf8();
            rest[from..].find('\'').map_or(rest.len(), |end| from + end + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_known_by_its_head() {
        let inside = |text: &str| innermost(text).is_some_and(is_impl);
        for text in [
            "struct A; impl A { ",
            "impl<T> A<T> where T: Fn() -> u8 { fn a() { {} } #[worker] ",
            "mod m { #[cfg(x)] unsafe impl A for B { const C: &str = \"}\"; ",
            "trait T: U { fn a(); ",
            "impl A { /* } /* } */ */ // }\n const C: char = '}'; const D: char = '\\'';",
            "impl<'a> A<'a> { const R: &str = r#\"}\"}\"#; const B: &[u8] = br\"}\"; ",
        ] {
            assert!(inside(text), "{text}");
        }
        for text in [
            "",
            "impl A { fn a() { ",
            "impl A {} ",
            "fn a(f: impl Fn()) { ",
            "fn a() -> impl Iterator<Item = u8> { ",
            "// impl A {\n",
            "const A: &str = \"impl A {\"; ",
            "mod implementation { ",
            "impl A { fn b(&self) {} } mod m { ",
        ] {
            assert!(!inside(text), "{text}");
        }
    }

    #[test]
    fn text_is_cut_at_a_line_and_a_column() {
        assert_eq!(before("a\nbü d\ne", 2, 4), "a\nbü ");
        assert_eq!(before("abc", 1, 1), "");
    }
}
