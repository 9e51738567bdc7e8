//! `#[actor]`: from the methods of a type to a proxy with the same methods.
//!
//! The same three stages as for functions: take the block apart (`ast`), judge it (`valid`), write what stands
//! beside it (`expand`). The bodies of the methods are never parsed.

mod ast;
mod expand;
#[cfg(test)]
mod tests;
mod valid;

use proc_macro2::TokenStream;
use quote::ToTokens as _;

/// The block as it is written, without `#[cast]`, and beside it the proxy, or the mistakes.
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
