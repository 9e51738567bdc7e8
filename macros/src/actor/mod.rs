//! `#[actor]`, which generates a proxy with the methods of a type.
//!
//! It works in the same three stages as the attributes of functions: it parses the block (`ast`), checks it
//! (`valid`), and generates the proxy (`expand`). The bodies of the methods are not parsed.

mod ast;
mod expand;
#[cfg(test)]
mod tests;
mod valid;

use proc_macro2::TokenStream;
use quote::ToTokens as _;

/// Returns the block without `#[cast]`, followed by the proxy and by the errors of its mistakes.
pub(crate) fn annotate(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let mut tokens = ast::without_casts(item.clone());
    let block = match ast::Block::parse(arguments, item) {
        Ok(block) => block,
        Err(mistakes) => {
            tokens.extend(mistakes.into_compile_error());
            return tokens;
        }
    };
    let (actor, mistakes) = valid::Actor::check(block);
    if let Some(actor) = actor {
        expand::Proxy::new(&actor).to_tokens(&mut tokens);
    }
    if let Err(mistakes) = mistakes.into_result() {
        tokens.extend(mistakes.into_compile_error());
    }
    tokens
}
