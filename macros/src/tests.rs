//! Tests of the expansions: a function is expanded, and the output is parsed and examined.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::visit::{self, Visit};

use crate::beside;
use crate::messages::Role;

fn expanded(role: Role, arguments: &str, item: &str) -> TokenStream {
    let tokens = |text: &str| text.parse::<TokenStream>().expect("it is Rust");
    beside(role, tokens(arguments), tokens(item))
}

/// The code as text, its tokens with a space between them.
pub(crate) fn text_of(tokens: TokenStream) -> String {
    let file: syn::File = syn::parse2(tokens).expect("what is written parses");
    file.to_token_stream().to_string()
}

/// The messages of the errors in the code, in order.
pub(crate) fn messages_of(tokens: TokenStream) -> Vec<String> {
    struct Messages(Vec<String>);
    impl Visit<'_> for Messages {
        fn visit_macro(&mut self, of: &syn::Macro) {
            if of.path.segments.last().is_some_and(|last| last.ident == "compile_error") {
                self.0.push(of.parse_body::<syn::LitStr>().expect("it has a message").value());
            }
            visit::visit_macro(self, of);
        }
    }
    let mut messages = Messages(Vec::new());
    messages.visit_file(&syn::parse2(tokens).expect("errors parse, too"));
    messages.0
}

fn text(role: Role, arguments: &str, item: &str) -> String {
    text_of(expanded(role, arguments, item))
}

fn refused(role: Role, arguments: &str, item: &str) -> Vec<String> {
    messages_of(expanded(role, arguments, item))
}

#[test]
fn a_worker_is_one_registration_beside_the_function() {
    let text = text(Role::Worker, "", "fn square(x: u64) -> u64 { x * x }");
    assert_eq!(text.matches("inventory :: submit !").count(), 1, "{text}");
    assert!(text.contains("Registration :: worker"), "{text}");
    assert!(text.contains("fn __procession_thunk"), "{text}");
    assert!(text.contains(":: runtime"), "{text}");
    assert!(!text.contains("x * x"), "the function itself is not written again: {text}");
}

#[test]
fn an_initializer_is_registered_as_one_and_kept() {
    let text = text(Role::Initializer, "", "fn load(path: PathBuf) -> Model { Model(path) }");
    assert!(text.contains("Registration :: initializer"), "{text}");
    assert!(!text.contains("Registration :: worker"), "{text}");
    assert!(text.contains("KeepLocal"), "{text}");
}

#[test]
fn a_borrowed_parameter_is_decoded_as_what_owns_it() {
    let of = |parameter: &str| text(Role::Worker, "", &format!("fn f({parameter}) {{}}"));
    let borrowed = of("text: &str");
    assert!(borrowed.contains("Borrows :: < str >"), "{borrowed}");
    let owned = of("text: String");
    assert!(owned.contains("Takes :: < String >"), "{owned}");
    assert!(!owned.contains("Borrows ::"), "{owned}");
}

#[test]
fn parameters_are_decoded_in_their_order_and_named_in_errors() {
    let text = text(Role::Worker, "", "fn f(model: State<Model>, (a, b): (u8, u8), mut c: u8) {}");
    let first = text.find("\"model\"").expect("the first is named");
    let second = text.find("\"(a, b)\"").expect("a pattern is named as it is written");
    let third = text.rfind("c\"").expect("the last is named");
    assert!(first < second && second < third, "{text}");
}

#[test]
fn the_library_is_found_where_the_argument_says() {
    for argument in ["crate = other::place", "crate = \"other::place\""] {
        let text = text(Role::Worker, argument, "fn f() {}");
        assert!(text.contains("other :: place"), "{text}");
        assert!(!text.contains(":: runtime"), "{text}");
    }
}

#[test]
fn a_configured_function_has_a_configured_registration() {
    let text = text(Role::Worker, "", "#[cfg(unix)] fn f() {}");
    assert!(text.contains("cfg (unix)"), "{text}");
}

#[test]
fn every_mistake_is_told_at_once_and_nothing_is_registered() {
    let item = "unsafe extern fn f<T>(x: &mut T) -> &T { x }";
    let messages = refused(Role::Worker, "", item);
    assert!(messages.len() >= 4, "{messages:?}");
    let text = text(Role::Worker, "", item);
    assert!(!text.contains("inventory"), "{text}");
}

#[test]
fn what_is_no_function_is_refused_by_one_message() {
    assert_eq!(refused(Role::Worker, "", "struct Point;").len(), 1);
    assert_eq!(refused(Role::Initializer, "name = 3", "fn f() {}").len(), 1);
}
