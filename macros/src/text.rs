//! Formatting of tokens as a person would write them, for the signatures in error messages and in the
//! list of registered functions.

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// The tokens in one line.
///
/// `TokenStream::to_string` puts a space around every token that has been
/// through a parser: `values : & [f64]`.
pub(crate) fn line(tokens: TokenStream) -> String {
    let mut text = String::new();
    write(tokens, &mut text);
    text
}

/// The operators of several characters that stand in signatures.
const LONG: [&str; 4] = ["->", "::", "..", "..="];

/// Appends the tokens.
fn write(tokens: TokenStream, text: &mut String) {
    let mut tokens = tokens.into_iter().peekable();
    // The operator that the last tokens form, as far as it is read.
    let mut operator = String::new();
    let touches = |c: char| c.is_alphanumeric() || c == '_' || c == '>';
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::Brace if text.ends_with(touches) => (" { ", " }"),
                    Delimiter::Brace => ("{ ", " }"),
                    Delimiter::None => ("", ""),
                };
                text.push_str(open);
                write(group.stream(), text);
                text.push_str(close);
            }
            TokenTree::Ident(_) | TokenTree::Literal(_) => {
                if text.ends_with(touches) {
                    text.push(' ');
                }
                text.push_str(&token.to_string());
            }
            TokenTree::Punct(punct) => {
                operator.push(punct.as_char());
                let next = tokens.peek();
                let joins = match next {
                    Some(TokenTree::Punct(next)) if punct.spacing() == Spacing::Joint => {
                        LONG.contains(&&*format!("{operator}{next}"))
                    }
                    Some(_) | None => false,
                };
                if !joins {
                    push_operator(&operator, next.is_none(), text);
                    operator.clear();
                }
            }
        }
    }
}

/// Appends an operator, with the spaces that belong around it.
fn push_operator(operator: &str, last: bool, text: &mut String) {
    match operator {
        "," | ":" | ";" if last => text.push_str(operator),
        "," | ":" | ";" => text.extend([operator, " "]),
        "->" | "=" | "+" | "@" | "|" => text.extend([" ", operator, " "]),
        _ => text.push_str(operator),
    }
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn signatures_come_out_as_they_were_written() {
        for signature in [
            "fn nothing()",
            "fn weighted(values: &[f64], weight: f64) -> f64",
            "fn elided(_: &'_ str, cow: Cow<'_, str>) -> Result<(), String>",
            "fn patterns((a, b): (u8, u8), Point { x, .. }: Point, [c, ..]: [u8; 2 + 1])",
            "fn paths(a: <Vec<u8> as IntoIterator>::Item, b: ::std::vec::Vec<r#type>)",
            "fn holds(f: State<Box<dyn Fn(&str) -> u32 + Send>>, g: for<'a> fn(&'a mut u8) -> *const u8)",
        ] {
            let tokens = signature.parse().expect("these are tokens");
            assert_eq!(line(tokens), signature);
        }
    }
}
