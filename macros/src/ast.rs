//! The first stage, which parses the source without checking it.
//!
//! The body of the function is not parsed but passed through, so that it can use syntax that `syn` does
//! not support yet.

use proc_macro2::{TokenStream, TokenTree};
use syn::ext::IdentExt as _;
use syn::parse::{Parse, ParseStream, Parser as _};
use syn::{Attribute, Ident, LitStr, Path, Signature, Token, Visibility};

use crate::messages::{Mistake, Role};

/// A function with one of the attributes, as written.
pub(crate) struct Annotated {
    /// Which attribute it is.
    pub(crate) role: Role,
    /// What stands in its parentheses.
    pub(crate) arguments: Vec<Argument>,
    /// The attributes below it.
    pub(crate) attrs: Vec<Attribute>,
    /// Everything from `fn`, or the words before it, to the return type.
    pub(crate) signature: Signature,
}

/// One argument of the attribute.
pub(crate) enum Argument {
    /// `crate = path` or `crate = "path"`
    Crate(Ident, Path),
    /// `crate` and something else
    NoPath(TokenStream),
    /// Anything else
    Unknown(TokenStream),
}

impl Annotated {
    /// Takes an annotated item apart.
    ///
    /// # Errors
    /// When it is not a function with a body.
    pub(crate) fn parse(
        role: Role,
        arguments: TokenStream,
        item: TokenStream,
    ) -> syn::Result<Self> {
        let function = |input: ParseStream<'_>| {
            let attrs = input.call(Attribute::parse_outer)?;
            input.parse::<Visibility>()?;
            let rest = input.fork().parse::<TokenStream>()?;
            let head = head(rest);
            if !is_function(&head) {
                input.parse::<TokenStream>()?;
                return Err(syn::Error::new_spanned(head, Mistake::NotAFunction.wording(role)));
            }
            let signature = input.parse::<Signature>()?;
            if !input.peek(syn::token::Brace) {
                input.parse::<TokenStream>()?;
                return Err(syn::Error::new_spanned(signature, Mistake::NoBody.wording(role)));
            }
            input.parse::<TokenStream>()?;
            Ok((attrs, signature))
        };
        let (attrs, signature) = function.parse2(item)?;

        Ok(Annotated {
            role,
            arguments: split(arguments).map(Argument::read).collect(),
            attrs,
            signature,
        })
    }
}

impl Argument {
    /// Recognises one argument; what cannot be read is kept for the next stage.
    pub(crate) fn read(tokens: TokenStream) -> Self {
        let known = |input: ParseStream<'_>| {
            let name = Ident::parse_any(input)?;
            let value = input.parse::<TokenStream>()?;
            if name == "crate" { Ok((name, value)) } else { Err(input.error("unknown")) }
        };
        let Ok((name, value)) = known.parse2(tokens.clone()) else {
            return Argument::Unknown(tokens);
        };
        match Assigned::parse.parse2(value) {
            Ok(Assigned(path)) => Argument::Crate(name, path),
            Err(_) => Argument::NoPath(tokens),
        }
    }
}

/// `= path` or `= "path"`
struct Assigned(Path);

impl Parse for Assigned {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.parse::<Token![=]>()?;
        if input.peek(LitStr) {
            let text = input.parse::<LitStr>()?;
            return text.parse_with(Path::parse_mod_style).map(Assigned);
        }
        input.call(Path::parse_mod_style).map(Assigned)
    }
}

/// The tokens up to the first thing in parentheses, brackets or braces.
pub(crate) fn head(item: TokenStream) -> TokenStream {
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(_) => true,
        TokenTree::Punct(punct) => matches!(punct.as_char(), ';' | '='),
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    item.into_iter().take_while(|token| !ends(token)).collect()
}

/// Whether an item with this head is a function: `fn` after nothing but qualifiers.
pub(crate) fn is_function(head: &TokenStream) -> bool {
    let mut tokens = head.clone().into_iter();
    let qualifier = |token: &TokenTree| match token {
        TokenTree::Ident(word) => {
            ["const", "async", "unsafe", "safe", "extern"].iter().any(|known| word == known)
        }
        TokenTree::Literal(_) => true,
        TokenTree::Group(_) | TokenTree::Punct(_) => false,
    };
    let first = tokens.find(|token| !qualifier(token));
    matches!(first, Some(TokenTree::Ident(word)) if word == "fn")
}

/// The arguments between the commas.
pub(crate) fn split(arguments: TokenStream) -> impl Iterator<Item = TokenStream> {
    let mut parts = vec![TokenStream::new()];
    for token in arguments {
        match token {
            TokenTree::Punct(comma) if comma.as_char() == ',' => parts.push(TokenStream::new()),
            token => parts.last_mut().expect("there is always a last part").extend([token]),
        }
    }
    parts.into_iter().filter(|part| !part.is_empty())
}
