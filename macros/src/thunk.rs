//! The parts of generated code that functions and the methods of actors have in common.
//!
//! A thunk runs in the worker, or in the process of the actor. It decodes the parameters, calls the function
//! and encodes its output.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote_spanned};
use syn::Type;

use crate::text;
use crate::types;
use crate::valid::Param;

/// The names that generated code uses.
pub(crate) struct Names {
    /// The library, by the name it has in the block: reported once if it is not there.
    pub(crate) library: Ident,
    /// The hidden module.
    pub(crate) private: TokenStream,
    /// The hidden modules whose names the compiler may have to tell.
    pub(crate) takes: TokenStream,
    pub(crate) keeps: TokenStream,
    /// The last parameter of a thunk.
    pub(crate) call: Ident,
}

impl Names {
    pub(crate) fn new() -> Self {
        let library = Ident::new("__procession_library", Span::mixed_site());
        let module = |name: &str| {
            let name = Ident::new(name, Span::mixed_site());
            quote_spanned!(Span::mixed_site()=> #library::#name)
        };
        Names {
            private: module("__private"),
            takes: module("takes"),
            keeps: module("keeps"),
            library,
            call: Ident::new("__procession_call", Span::mixed_site()),
        }
    }

    /// `let local = (&&&Takes::<T>::new()).take(call, "name")?;` for each parameter.
    ///
    /// Method lookup finds out what the type is: see `takes.rs` of the library.
    pub(crate) fn decode(&self, params: &[Param]) -> TokenStream {
        let Names { takes, call, .. } = self;
        let statements = params.iter().enumerate().map(|(index, param)| {
            let start = start_of(&param.ty);
            let there = at(takes, start);
            let (local, name) = (local(index), text::line(param.pat.to_token_stream()));
            let marker = match types::peel(&param.ty) {
                Type::Reference(reference) => {
                    let ty = &reference.elem;
                    quote_spanned!(start=> &&&&#there::Borrows::<#ty>::new())
                }
                _ => {
                    let ty = &param.ty;
                    quote_spanned!(start=> &&&#there::Takes::<#ty>::new())
                }
            };
            quote_spanned!(start=> let #local = (#marker).__procession_take(#call, #name)?;)
        });
        let statements: TokenStream = statements.collect();
        quote_spanned! {Span::mixed_site()=>
            #[allow(unused_imports)]
            use #takes::{TakeHalf as _, TakeNothing as _, TakeOwned as _, TakeParam as _};
            #statements
        }
    }

    /// What encodes an output, as a value.
    pub(crate) fn give_later(&self, ty: Option<&Type>, output: &Ident) -> TokenStream {
        let Names { private, takes, call, .. } = self;
        let start = ty.map_or_else(Span::mixed_site, start_of);
        let (there, ty) = (at(takes, start), output_type(ty));
        let give = quote_spanned! {start=>
            (&&&#there::Gives::<#ty>::new()).__procession_give(#call, #output)
        };
        quote_spanned! {Span::mixed_site()=>
            #[allow(unused_imports)]
            use #takes::{GiveFallible as _, GiveNothing as _, GiveValue as _};
            let __procession_give: #private::GiveOutput =
                #private::Box::new(move |#call: &mut #private::Call<'_>| #give);
            __procession_give
        }
    }

    /// Encodes the output of the call, pointing at the return type if that cannot be encoded.
    pub(crate) fn give(&self, output: Option<&Type>, invoke: &TokenStream) -> TokenStream {
        let Names { private, takes, call, .. } = self;
        let start = output.map_or_else(Span::mixed_site, start_of);
        let (there, output) = (at(takes, start), output_type(output));
        let give = quote_spanned! {start=>
            (&&&#there::Gives::<#output>::new()).__procession_give(#call, #invoke)
        };
        quote_spanned! {Span::mixed_site()=>
            #[allow(unused_imports)]
            use #takes::{GiveFallible as _, GiveNothing as _, GiveValue as _};
            #private::Call::begin(#call)?;
            #give
        }
    }
}

/// The decoded parameters, borrowed where the function borrows them.
pub(crate) fn arguments(params: &[Param]) -> impl Iterator<Item = TokenStream> {
    params.iter().enumerate().map(|(index, param)| {
        let local = local(index);
        match types::peel(&param.ty) {
            Type::Reference(_) => quote_spanned!(Span::mixed_site()=> &#local),
            _ => local.to_token_stream(),
        }
    })
}

/// The type that a function returns.
pub(crate) fn output_type(output: Option<&Type>) -> TokenStream {
    match output {
        Some(ty) => ty.to_token_stream(),
        None => quote_spanned!(Span::mixed_site()=> ()),
    }
}

/// The variable with a decoded parameter.
fn local(index: usize) -> Ident {
    format_ident!("__procession_{index}", span = Span::mixed_site())
}

/// The same path, to be blamed on another place.
pub(crate) fn at(path: &TokenStream, place: Span) -> TokenStream {
    let moved = path.clone().into_iter().map(|mut token| {
        token.set_span(place);
        token
    });
    moved.collect()
}

/// Where a type begins, for code that is to blame on it.
pub(crate) fn start_of(ty: &Type) -> Span {
    let first = ty.to_token_stream().into_iter().next();
    first.map_or_else(Span::call_site, |token| token.span()).resolved_at(Span::mixed_site())
}
