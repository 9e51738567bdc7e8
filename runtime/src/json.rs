//! Writing JSON.

use std::fmt::{Display, Write as _};

/// A text in JSON that is being written.
#[derive(Default)]
pub(crate) struct JsonText {
    text: String,
    /// A value was written here, so that a comma precedes the next one.
    goes_on: bool,
}

impl JsonText {
    fn separate(&mut self) {
        if std::mem::replace(&mut self.goes_on, true) {
            self.text.push(',');
        }
    }

    fn enclosed(&mut self, [open, close]: [char; 2], inside: impl FnOnce(&mut Self)) {
        self.separate();
        self.text.push(open);
        self.goes_on = false;
        inside(self);
        self.text.push(close);
        self.goes_on = true;
    }

    /// Writes an object with the members that `inside` writes.
    pub(crate) fn object(&mut self, inside: impl FnOnce(&mut Self)) {
        self.enclosed(['{', '}'], inside);
    }

    /// Writes an array with an element for each item.
    pub(crate) fn array<T>(
        &mut self,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T),
    ) {
        self.enclosed(['[', ']'], |json| items.into_iter().for_each(|item| each(json, item)));
    }

    /// Writes the name of a member, whose value comes next.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.string(name);
        self.text.push(':');
        self.goes_on = false;
        self
    }

    /// Writes a string.
    pub(crate) fn string(&mut self, text: &str) {
        self.separate();
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.text.extend(['\\', c]),
                '\n' => self.text.push_str("\\n"),
                // `<` too, so that the text can stand in a page.
                c if c.is_control() || c == '<' || c == '\u{2028}' || c == '\u{2029}' => {
                    // Writing to a string cannot fail.
                    let _ = write!(self.text, "\\u{:04x}", u32::from(c));
                }
                c => self.text.push(c),
            }
        }
        self.text.push('"');
    }

    /// Writes a number, or `true` or `false`.
    pub(crate) fn number(&mut self, number: impl Display) {
        self.separate();
        let _ = write!(self.text, "{number}");
    }

    /// Writes a number with a fraction; what is no number is written as 0.
    pub(crate) fn fraction(&mut self, number: f64) {
        self.number(if number.is_finite() { number } else { 0.0 });
    }

    /// Writes a string, or `null`.
    pub(crate) fn string_or_null(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.string(text),
            None => self.number("null"),
        }
    }

    /// Writes a value that is JSON already.
    #[cfg(feature = "dashboard")]
    pub(crate) fn raw(&mut self, json: &str) {
        self.separate();
        self.text.push_str(json);
    }

    /// Writes members with numbers.
    pub(crate) fn numbers(&mut self, members: &[(&str, u64)]) {
        members.iter().for_each(|(name, number)| self.key(name).number(number));
    }

    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_nest_and_texts_are_escaped() {
        let mut json = JsonText::default();
        json.object(|json| {
            json.key("a\"").string("x\\\n\u{1}</script>é");
            json.key("b").array([1, 2], JsonText::number);
            json.key("c").object(|_| ());
            json.key("d").array([(); 0], |_, ()| ());
            json.numbers(&[("e", 3)]);
            json.key("f").fraction(f64::NAN);
            json.key("g").string_or_null(None);
        });
        let expected =
            r#"{"a\"":"x\\\n\u0001\u003c/script>é","b":[1,2],"c":{},"d":[],"e":3,"f":0,"g":null}"#;
        assert_eq!(json.into_text(), expected);
    }
}
