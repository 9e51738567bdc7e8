//! Tests of the expansion of a block, and of what is refused in it.

use proc_macro2::TokenStream;

use super::annotate;
use crate::tests::{messages_of, text_of};

fn expanded(arguments: &str, item: &str) -> TokenStream {
    let tokens = |text: &str| text.parse::<TokenStream>().expect("it is Rust");
    annotate(tokens(arguments), tokens(item))
}

fn text(arguments: &str, item: &str) -> String {
    text_of(expanded(arguments, item))
}

fn refused(item: &str) -> Vec<String> {
    messages_of(expanded("", item))
}

#[test]
fn a_block_stays_and_gets_a_proxy() {
    let text = text("", "impl Log { pub fn push(&mut self, line: String) { self.0.push(line) } }");
    assert!(text.starts_with("impl Log { pub fn push"), "{text}");
    assert!(text.contains("pub struct LogProxy"), "{text}");
    assert_eq!(text.matches("self . 0 . push (line)").count(), 1, "{text}");
    assert!(text.contains("Method :: exclusive (\"push\" ,"), "{text}");
}

#[test]
fn only_public_methods_with_self_are_in_the_proxy() {
    let block = "impl Log { pub fn new() -> Self { Log } fn hidden<T>(&self, t: T) {} \
                 const A: u8 = { 3 }; pub type B = u8; helper! { x } pub(crate) fn len(&self) -> usize { 0 } }";
    let text = text("", block);
    assert_eq!(text.matches("Method :: shared").count(), 1, "{text}");
    assert!(text.contains("pub (crate) fn len (& self ,) -> "), "{text}");
}

#[test]
fn casts_are_taken_out_and_noted() {
    let text = text("", "impl Log { #[cast] #[doc = \"x\"] pub fn push(&self, line: &str) {} }");
    assert!(!text.contains("# [cast]"), "{text}");
    assert!(text.contains("Method :: shared (\"push\" ,"), "{text}");
    assert!(text.contains("Proxy :: cast"), "{text}");
    assert_eq!(text.matches("# [doc = \"x\"]").count(), 2, "{text}");
}

#[test]
fn self_is_named_in_the_proxy() {
    let text = text("", "impl a::Log<u8> { pub fn merge(&mut self, o: Vec<Self>) -> Self::X { } }");
    let proxy = &text[text.find("LogProxy").expect("it is there")..];
    assert!(proxy.contains("o : Vec < a :: Log < u8 > >"), "{proxy}");
    assert!(!proxy.contains("Self :: X"), "{proxy}");
}

#[test]
fn every_mistake_is_told_at_once() {
    let block = "impl Log { pub async fn a(self) {} pub fn b<T>(&self, t: &mut T) -> &str { \"\" } \
                 #[cast] pub fn c(&self) -> u8 { 0 } #[cast] fn d(&self) {} pub fn e(&self) {} }";
    let messages = refused(block);
    assert_eq!(messages.len(), 7, "{messages:#?}");
    let text = expanded("", block).to_string();
    assert!(text.contains("\"e\""), "what is right is there: {text}");
    assert!(!text.contains("thunk_1"), "and nothing else: {text}");
}

#[test]
fn what_is_no_block_of_a_type_is_refused() {
    for (item, count) in [
        ("fn f() {}", 1),
        ("impl Log {}", 1),
        ("impl Log { fn f(&self) {} }", 1),
        ("impl Clone for Log { fn clone(&self) -> Self { Log } }", 1),
        ("impl<T> Log<T> { pub fn f(&self) {} }", 1),
        ("impl [u8] { pub fn f(&self) {} }", 1),
        ("impl Log { #[cast(now)] pub fn f(&self) {} }", 1),
        ("impl Log { pub fn f(&self, s: State<u8>) {} }", 1),
    ] {
        assert_eq!(refused(item).len(), count, "{item}: {:?}", refused(item));
    }
}
