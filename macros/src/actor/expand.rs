//! The third stage, which generates the proxy and the table of the methods.
//!
//! This stage cannot fail. The names are those of the code beside functions (see `thunk.rs`).

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{Pat, Type};

use super::valid::{Actor, Called};
use crate::thunk::{self, Names, at, start_of};
use crate::types;
use crate::valid::Param;

/// The code that is generated beside the block.
pub(super) struct Proxy<'a> {
    actor: &'a Actor,
    name: Ident,
    names: Names,
}

impl<'a> Proxy<'a> {
    pub(super) fn new(actor: &'a Actor) -> Self {
        let name = format_ident!("{}Proxy", actor.name, span = actor.name.span());
        Proxy { actor, name, names: Names::new() }
    }

    /// The counterpart of a method.
    fn method(&self, index: usize, method: &Called) -> TokenStream {
        let Names { private, library, .. } = &self.names;
        let Called { attrs, visibility, ident, params, output, .. } = method;
        let index = u32::try_from(index).expect("so many methods fit no file");
        let names: Vec<Ident> = params.iter().enumerate().map(name_of).collect();
        let types = params.iter().map(|param| &param.ty);
        let arguments = params.iter().zip(&names).map(|(param, name)| {
            let start = start_of(&param.ty);
            let there = at(private, start);
            match types::peel(&param.ty) {
                Type::Reference(reference) => {
                    let ty = &reference.elem;
                    quote_spanned!(start=> #there::lent::<#ty>(#name))
                }
                ty => quote_spanned!(start=> #there::moved::<#ty>(&#name)),
            }
        });
        let arguments = quote_spanned!(Span::mixed_site()=> &(#(#arguments,)*));
        let head = quote_spanned! {ident.span()=>
            #(#attrs)* #visibility fn #ident
        };
        let receiver = quote_spanned!(Span::mixed_site()=> &self);
        let inner = quote_spanned!(Span::mixed_site()=> &self.0);
        match output {
            _ if method.cast => quote_spanned! {Span::mixed_site()=>
                #head(#receiver, #(#names: #types),*) -> #library::Result<()> {
                    #private::Proxy::cast(#inner, #index, #arguments)
                }
            },
            Some(ty) if is_result(ty) => {
                let kind = Ident::new("ProcessionKind", Span::mixed_site());
                quote_spanned! {Span::mixed_site()=>
                    #head<#kind>(#receiver, #(#names: #types),*)
                        -> #library::Result<<#ty as #library::Output<#kind>>::Value>
                    where
                        #ty: #library::Output<#kind>,
                    {
                        #private::Proxy::call::<_, <#ty as #library::Output<#kind>>::Value>(#inner, #index, #arguments)
                    }
                }
            }
            Some(ty) => {
                let start = start_of(ty);
                let there = at(private, start);
                let call = quote_spanned!(start=> #there::Proxy::call::<_, #ty>);
                quote_spanned! {Span::mixed_site()=>
                    #head(#receiver, #(#names: #types),*) -> #library::Result<#ty> {
                        #call(#inner, #index, #arguments)
                    }
                }
            }
            None => quote_spanned! {Span::mixed_site()=>
                #head(#receiver, #(#names: #types),*) -> #library::Result<()> {
                    #private::Proxy::call::<_, ()>(#inner, #index, #arguments)
                }
            },
        }
    }

    /// The methods that every proxy has, unless the actor has methods of these names.
    fn of_every_proxy(&self) -> TokenStream {
        let Names { private, .. } = &self.names;
        let has = |name: &str| self.actor.methods.iter().any(|method| method.ident == name);
        let mut tokens = TokenStream::new();
        if !has("with_timeout") {
            tokens.extend(quote_spanned! {Span::call_site()=>
                /// Returns a proxy of the same actor whose calls fail with `ErrorKind::TimedOut` if they take longer.
                pub fn with_timeout(&self, time: #private::Duration) -> Self {
                    Self(#private::Proxy::with_timeout(&self.0, time))
                }
            });
        }
        if !has("is_alive") {
            tokens.extend(quote_spanned! {Span::call_site()=>
                /// Returns whether the actor is still there to be called.
                pub fn is_alive(&self) -> bool {
                    #private::Proxy::is_alive(&self.0)
                }
            });
        }
        tokens
    }

    /// The function that runs a method in the actor's process.
    fn thunk(&self, index: usize, method: &Called) -> TokenStream {
        let Names { private, call, .. } = &self.names;
        let Called { cfgs, ident, params, .. } = method;
        let ty = &self.actor.ty;
        let name = thunk_name(index);
        let decode = self.names.decode(params);
        let arguments = thunk::arguments(params);
        let (access, get) = match method.exclusive {
            true => (quote!(&mut), quote!(exclusive)),
            false => (quote!(&), quote!(shared)),
        };
        let this = Ident::new("__procession_actor", Span::mixed_site());
        let invoke = quote_spanned!(Span::mixed_site()=> <#ty>::#ident(#this, #(#arguments),*));
        let give = self.names.give(method.output.as_ref(), &invoke);
        quote_spanned! {Span::mixed_site()=>
            #(#[cfg(#cfgs)])*
            #[allow(deprecated)]
            fn #name(
                #this: #access #private::AnyActor,
                #call: &mut #private::Call<'_>,
            ) -> #private::Outcome {
                let #this = #private::#get::<#ty>(#this);
                #decode
                #give
            }
        }
    }

    /// The entry of a method in the table.
    fn entry(&self, index: usize, method: &Called) -> TokenStream {
        let Names { private, .. } = &self.names;
        let (name, thunk) = (method.ident.to_string(), thunk_name(index));
        let kind = match method.exclusive {
            true => quote!(exclusive),
            false => quote!(shared),
        };
        let entry = quote_spanned! {Span::mixed_site()=>
            #private::Method::#kind(#name, #thunk)
        };
        match method.cfgs.as_slice() {
            [] => entry,
            // The number of a method is its position, so a method that is configured out keeps an entry.
            cfgs => quote_spanned! {Span::mixed_site()=> {
                #[cfg(all(#(#cfgs),*))]
                { #entry }
                #[cfg(not(all(#(#cfgs),*)))]
                { #private::Method::absent(#name) }
            }},
        }
    }
}

impl ToTokens for Proxy<'_> {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let Proxy { actor, name, names } = self;
        let Names { library, private, call, .. } = names;
        let Actor { krate, cfgs, ty, methods, .. } = actor;
        let numbered = || methods.iter().enumerate();
        let counterparts = numbered().map(|(index, method)| self.method(index, method));
        let thunks = numbered().map(|(index, method)| self.thunk(index, method));
        let entries = numbered().map(|(index, method)| self.entry(index, method));
        let of_every_proxy = self.of_every_proxy();
        let doc = format!(
            "A proxy of a [`{}`] that lives in the process of a manager; every call gives a `Result`.",
            actor.name
        );
        tokens.extend(quote_spanned! {name.span()=>
            #(#[cfg(#cfgs)])*
            #[doc = #doc]
            #[allow(unreachable_pub, private_interfaces)]
            pub struct #name(#krate::__private::Proxy<#ty>);
        });
        tokens.extend(quote_spanned! {Span::mixed_site()=>
            #(#[cfg(#cfgs)])*
            #[allow(clippy::all, dead_code, deprecated, missing_docs, unreachable_pub, private_interfaces, private_bounds)]
            const _: () = {
                use #krate as #library;

                impl #name {
                    #(#counterparts)*
                    #of_every_proxy
                }

                impl #library::Actor for #ty {
                    type Proxy = #name;
                    fn __procession_proxy(proxy: #private::Proxy<Self>) -> #name {
                        #name(proxy)
                    }
                }

                impl #private::Clone for #name {
                    fn clone(&self) -> Self {
                        #name(#private::Clone::clone(&self.0))
                    }
                }

                impl #private::fmt::Debug for #name {
                    fn fmt(&self, f: &mut #private::fmt::Formatter<'_>) -> #private::fmt::Result {
                        #private::fmt::Debug::fmt(&self.0, f)
                    }
                }

                impl #private::Serialize for #name {
                    fn serialize<S: #private::Serializer>(&self, to: S) -> #private::Result<S::Ok, S::Error> {
                        #private::Serialize::serialize(&self.0, to)
                    }
                }

                impl<'de> #private::Deserialize<'de> for #name {
                    fn deserialize<D: #private::Deserializer<'de>>(from: D) -> #private::Result<Self, D::Error> {
                        #private::Result::map(#private::Deserialize::deserialize(from), #name)
                    }
                }

                #(#thunks)*

                fn __procession_value(
                    #call: &mut #private::Call<'_>,
                ) -> #private::Result<#private::Option<#private::BoxedActor>, #private::Stop> {
                    #[allow(unused_imports)]
                    use #private::{ServeNothing as _, ServeValue as _};
                    (&&#private::Servable::<#ty>::new()).__procession_value(#call)
                }

                #private::inventory::submit! {
                    #private::ActorType::new::<#ty>(&[#(#entries),*], __procession_value)
                }
            };
        });
    }
}

/// The name of a parameter of a counterpart, which a pattern does not have.
fn name_of((index, param): (usize, &Param)) -> Ident {
    match &param.pat {
        Pat::Ident(binding) if binding.subpat.is_none() => binding.ident.clone(),
        _ => format_ident!("argument_{index}", span = Span::mixed_site()),
    }
}

fn thunk_name(index: usize) -> Ident {
    format_ident!("__procession_thunk_{index}", span = Span::mixed_site())
}

/// Whether the last name of a type is `Result`, of whichever library. The method lookup at the call then
/// decides whether its error travels.
fn is_result(ty: &Type) -> bool {
    match types::peel(ty) {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Result"),
        _ => false,
    }
}
