//! The third stage, which generates the code that is added to the function.
//!
//! This stage cannot fail. Every path starts at the hidden modules of the library, so that names of the
//! user cannot shadow it, and the names of local variables are hygienic.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::Type;

use crate::messages::Role;
use crate::text;
use crate::types;
use crate::valid::{Param, Shared, Task};

/// The registration of a function: its thunk and an entry in the registry.
pub(crate) struct Registration<'a> {
    task: &'a Task,
    /// The library, by the name it has in the block: told once if it is not there.
    library: Ident,
    /// The hidden module.
    private: TokenStream,
    /// The hidden modules whose names the compiler may have to tell.
    takes: TokenStream,
    keeps: TokenStream,
    /// The thunk's only parameter.
    call: Ident,
    /// The variables with the decoded parameters.
    locals: Vec<Ident>,
}

impl<'a> Registration<'a> {
    /// The registration of this function.
    pub(crate) fn new(task: &'a Task) -> Self {
        let library = Ident::new("__procession_library", Span::mixed_site());
        let module = |name: &str| {
            let name = Ident::new(name, Span::mixed_site());
            quote_spanned!(Span::mixed_site()=> #library::#name)
        };
        let local = |index| format_ident!("__procession_{index}", span = Span::mixed_site());
        Registration {
            task,
            private: module("__private"),
            takes: module("takes"),
            keeps: module("keeps"),
            library,
            call: Ident::new("__procession_call", Span::mixed_site()),
            locals: (0..task.params.len()).map(local).collect(),
        }
    }

    /// `let local = (&&&Takes::<T>::new()).take(call, "name")?;` for each parameter.
    ///
    /// Method lookup finds out what the type is: see `takes.rs` of the library.
    fn decode(&self) -> TokenStream {
        let Registration { takes, call, .. } = self;
        let statements = self.task.params.iter().zip(&self.locals).map(|(param, local)| {
            let (start, _) = ends(&param.ty);
            let takes = at(takes, start);
            let name = text::line(param.pat.to_token_stream());
            let marker = match types::peel(&param.ty) {
                Type::Reference(reference) => {
                    let ty = &reference.elem;
                    quote_spanned!(start=> &&&&#takes::Borrows::<#ty>::new())
                }
                _ => {
                    let ty = &param.ty;
                    quote_spanned!(start=> &&&#takes::Takes::<#ty>::new())
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

    /// The call of the function, with the parameters borrowed that it borrows: see `written.rs` of the library.
    fn invoke(&self) -> TokenStream {
        let private = &self.private;
        let arguments = self.task.params.iter().zip(&self.locals).map(|(param, local)| {
            match types::peel(&param.ty) {
                Type::Reference(_) => quote_spanned!(Span::mixed_site()=> &#local),
                _ => local.to_token_stream(),
            }
        });
        let types = self.task.params.iter().map(|param| &param.ty);
        let ident = &self.task.ident;
        let output = self.output();
        quote_spanned! {Span::mixed_site()=>
            (&&#private::Written::<_, (#(#types,)*), #output>::new(#ident))
                .__procession_run((#(#arguments,)*))
        }
    }

    /// The type that the function returns.
    fn output(&self) -> TokenStream {
        match &self.task.output {
            Some(ty) => ty.to_token_stream(),
            None => quote_spanned!(Span::mixed_site()=> ()),
        }
    }

    /// What the thunk does with the parameters, pointing at the return type if
    /// that cannot be encoded.
    fn run(&self) -> TokenStream {
        let Registration { private, takes, keeps, call, .. } = self;
        let invoke = self.invoke();
        let start = self.task.output.as_ref().map_or_else(Span::mixed_site, |ty| ends(ty).0);
        let output = self.output();
        match self.task.role {
            Role::Worker | Role::Actor => {
                let there = at(takes, start);
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
            Role::Initializer => {
                let made = Ident::new("__procession_made", Span::mixed_site());
                let keep = quote_spanned!(start=> (&&&&#made).keep(#call));
                quote_spanned! {Span::mixed_site()=>
                    use #keeps::{KeepFallible as _, KeepFallibleLocal as _, KeepLocal as _, KeepValue as _};
                    let #made = #private::Call::make::<#output>(#call, move || #invoke)?;
                    #keep
                }
            }
        }
    }

    /// The signature as text, without what only the function itself needs.
    fn signature(&self) -> String {
        let Task { ident, params, output, .. } = self.task;
        let params = params.iter().map(|Param { pat, ty }| quote!(#pat: #ty));
        let output = output.as_ref().map(|ty| quote!(-> #ty));
        text::line(quote!(fn #ident(#(#params),*) #output))
    }
}

impl ToTokens for Registration<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Registration { library, private, call, task, .. } = self;
        let Task { role, krate, attrs, ident, .. } = task;
        let attrs = attrs.iter().map(|attr| match attr {
            Shared::Cfg(condition) => quote!(#[cfg(#condition)]),
            Shared::Allow(lints) => quote!(#[allow(#lints)]),
        });
        let constructor = Ident::new(role.name(), Span::mixed_site());
        let (decode, run, signature) = (self.decode(), self.run(), self.signature());
        let outcome = quote_spanned!(Span::mixed_site()=> #private::Outcome);
        let body = quote_spanned! {Span::mixed_site()=>
            #[allow(unused_imports)]
            use #private::{Run as _, RunNothing as _};
            #decode
            #run
        };
        let body = match role {
            // Compiled into the loop over the inputs of a chunk.
            Role::Worker => quote_spanned! {Span::mixed_site()=>
                fn __procession_one(#call: &mut #private::Call<'_>) -> #outcome {
                    #body
                }
                #private::Call::each(#call, __procession_one)
            },
            // Methods of actors are written elsewhere.
            Role::Initializer | Role::Actor => body,
        };

        tokens.extend(quote_spanned! {Span::mixed_site()=>
            #(#attrs)*
            const _: () = {
                use #krate as #library;
                fn __procession_thunk(#call: &mut #private::Call<'_>) -> #outcome {
                    #body
                }
                #private::inventory::submit! {
                    #private::Registration::#constructor(
                        &#ident,
                        __procession_thunk,
                        #private::Place {
                            file: #private::file!(),
                            line: #private::line!(),
                            column: #private::column!(),
                            test: #private::cfg!(test),
                        },
                        #signature,
                    )
                }
            };
        });
    }
}

/// The same path, to be blamed on another place.
pub(crate) fn at(path: &TokenStream, place: Span) -> TokenStream {
    let moved = path.clone().into_iter().map(|mut token| {
        token.set_span(place);
        token
    });
    moved.collect()
}

/// Where a type begins and ends, for code that is to blame on it.
pub(crate) fn ends(ty: &Type) -> (Span, Span) {
    let mut spans = ty.to_token_stream().into_iter().map(|token| token.span());
    let start = spans.next().unwrap_or_else(Span::call_site);
    let end = spans.last().unwrap_or(start);
    (start.resolved_at(Span::mixed_site()), end.resolved_at(Span::mixed_site()))
}
