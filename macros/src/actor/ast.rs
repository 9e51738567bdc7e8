//! The first stage, which parses the block without checking it. The methods are parsed up to their bodies.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Generics, Path, Signature, Token, Type, Visibility};

use crate::ast::{Argument, head, is_function, split};
use crate::messages::{Mistake, Role};

/// An `impl` block with the attribute, as written.
pub(super) struct Block {
    /// What stands in the parentheses of the attribute.
    pub(super) arguments: Vec<Argument>,
    /// The attributes below it.
    pub(super) attrs: Vec<Attribute>,
    /// What stands between `<` and `>`.
    pub(super) generics: Generics,
    /// The trait that the block implements, if any.
    pub(super) of_trait: Option<Path>,
    /// The type whose methods these are.
    pub(super) ty: Type,
    /// The functions in it, in order.
    pub(super) methods: Vec<Method>,
}

/// A function in the block.
pub(super) struct Method {
    pub(super) attrs: Vec<Attribute>,
    pub(super) visibility: Visibility,
    pub(super) signature: Signature,
}

impl Block {
    /// Parses an annotated item.
    ///
    /// # Errors
    /// When it is not an `impl` block.
    pub(super) fn parse(arguments: TokenStream, item: TokenStream) -> syn::Result<Self> {
        let block = |input: ParseStream<'_>| {
            let attrs = input.call(Attribute::parse_outer)?;
            let rest = input.fork().parse::<TokenStream>()?;
            input.parse::<Option<Token![unsafe]>>()?;
            if !input.peek(Token![impl]) {
                input.parse::<TokenStream>()?;
                let text = Mistake::NotAnImpl.wording(Role::Actor);
                return Err(syn::Error::new_spanned(head(rest), text));
            }
            input.parse::<Token![impl]>()?;
            // A `<` here begins the parameters, since a type like `<A as B>::C` has no name.
            let mut generics = input.parse::<Generics>()?;
            let mut ty = input.parse::<Type>()?;
            let mut of_trait = None;
            if input.parse::<Option<Token![for]>>()?.is_some() {
                of_trait = Some(match ty {
                    Type::Path(path) => path.path,
                    other => {
                        let text = Mistake::NoName.wording(Role::Actor);
                        return Err(syn::Error::new_spanned(other, text));
                    }
                });
                ty = input.parse::<Type>()?;
            }
            generics.where_clause = input.parse()?;
            let body;
            syn::braced!(body in input);
            body.call(Attribute::parse_inner)?;
            let mut methods = Vec::new();
            while !body.is_empty() {
                methods.extend(method(&body)?);
            }
            let arguments = split(arguments.clone()).map(Argument::read).collect();
            Ok(Block { arguments, attrs, generics, of_trait, ty, methods })
        };
        block.parse2(item)
    }
}

/// The next item, if it is a function.
fn method(body: ParseStream<'_>) -> syn::Result<Option<Method>> {
    let attrs = body.call(Attribute::parse_outer)?;
    let visibility = body.parse::<Visibility>()?;
    if !is_function(&head(body.fork().parse()?)) {
        skip(body)?;
        return Ok(None);
    }
    let signature = body.parse::<Signature>()?;
    // The body, or the semicolon that the compiler refuses.
    body.parse::<TokenTree>()?;
    Ok(Some(Method { attrs, visibility, signature }))
}

/// Skips a constant, a type or a macro.
fn skip(body: ParseStream<'_>) -> syn::Result<()> {
    let mut of_macro = false;
    while !body.is_empty() {
        match body.parse::<TokenTree>()? {
            TokenTree::Punct(punct) if punct.as_char() == ';' => break,
            TokenTree::Punct(punct) if punct.as_char() == '!' => of_macro = true,
            TokenTree::Group(group) if of_macro && group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    Ok(())
}

/// Removes `#[cast]` from the functions of the block, because the compiler does not know this attribute.
pub(super) fn without_casts(item: TokenStream) -> TokenStream {
    let mut tokens: Vec<TokenTree> = item.into_iter().collect();
    if let Some(TokenTree::Group(body)) = tokens.last_mut()
        && body.delimiter() == Delimiter::Brace
    {
        let mut stripped = Group::new(Delimiter::Brace, strip(body.stream()));
        stripped.set_span(body.span());
        *body = stripped;
    }
    tokens.into_iter().collect()
}

fn strip(body: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    for token in body {
        match (&token, kept.last()) {
            (TokenTree::Group(group), Some(TokenTree::Punct(hash)))
                if hash.as_char() == '#' && is_cast(group) =>
            {
                kept.pop();
            }
            _ => kept.push(token),
        }
    }
    kept.into_iter().collect()
}

fn is_cast(group: &Group) -> bool {
    let first = group.stream().into_iter().next();
    group.delimiter() == Delimiter::Bracket
        && matches!(first, Some(TokenTree::Ident(word)) if word == "cast")
}
