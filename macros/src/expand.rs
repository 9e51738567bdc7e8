//! The third stage, which generates the code that is added to the function.
//!
//! This stage cannot fail. Every path starts at the hidden modules of the library, so that names of the
//! user cannot shadow it, and the names of local variables are hygienic.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};

use crate::messages::Role;
use crate::text;
use crate::thunk::{self, Names};
use crate::valid::{Param, Shared, Task};

/// The registration of a function: its thunk and an entry in the registry.
pub(crate) struct Registration<'a> {
    task: &'a Task,
    names: Names,
}

impl<'a> Registration<'a> {
    /// The registration of this function.
    pub(crate) fn new(task: &'a Task) -> Self {
        Registration { task, names: Names::new() }
    }

    /// The call of the function, with the parameters borrowed that it borrows: see `written.rs` of the library.
    fn invoke(&self) -> TokenStream {
        let Names { private, .. } = &self.names;
        let arguments = thunk::arguments(&self.task.params);
        let types = self.task.params.iter().map(|param| &param.ty);
        let ident = &self.task.ident;
        let output = thunk::output_type(self.task.output.as_ref());
        quote_spanned! {Span::mixed_site()=>
            (&&#private::Written::<_, (#(#types,)*), #output>::new(#ident))
                .__procession_run((#(#arguments,)*))
        }
    }

    /// What the thunk does with the decoded parameters.
    fn run(&self) -> TokenStream {
        let output = self.task.output.as_ref();
        match self.task.role {
            Role::Worker | Role::Actor => self.names.give(output, &self.invoke()),
            Role::Initializer => self.keep(),
        }
    }

    /// Begins an asynchronous task, and has the worker run it to its end.
    fn begin_async(&self) -> TokenStream {
        let Names { private, call, .. } = &self.names;
        let decode = self.names.decode(&self.task.params);
        let arguments = thunk::arguments(&self.task.params);
        let ident = &self.task.ident;
        let output = Ident::new("__procession_output", Span::mixed_site());
        let give = self.names.give_later(self.task.output.as_ref(), &output);
        quote_spanned! {Span::mixed_site()=>
            fn __procession_start<'a>(
                #call: &mut #private::Call<'a>,
            ) -> #private::Result<#private::RunningTask<'a>, #private::Stop> {
                #decode
                #private::Call::begin(#call)?;
                #private::Result::Ok(#private::Box::pin(async move {
                    let #output = #ident(#(#arguments),*).await;
                    #give
                }))
            }
            #private::Call::each_async(#call, __procession_start)
        }
    }

    /// Keeps the value that an initializer makes, pointing at the return type if its error has no message.
    fn keep(&self) -> TokenStream {
        let Names { private, keeps, call, .. } = &self.names;
        let (output, invoke) = (self.task.output.as_ref(), self.invoke());
        let start = output.map_or_else(Span::mixed_site, thunk::start_of);
        let output = thunk::output_type(output);
        let made = Ident::new("__procession_made", Span::mixed_site());
        let keep = quote_spanned!(start=> (&&&&#made).keep(#call));
        quote_spanned! {Span::mixed_site()=>
            use #keeps::{KeepFallible as _, KeepFallibleLocal as _, KeepLocal as _, KeepValue as _};
            let #made = #private::Call::make::<#output>(#call, move || #invoke)?;
            #keep
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
        let Registration { task, names } = self;
        let Names { library, private, call, .. } = names;
        let Task { role, krate, attrs, ident, .. } = task;
        let attrs = attrs.iter().map(|attr| match attr {
            Shared::Cfg(condition) => quote!(#[cfg(#condition)]),
            Shared::Allow(lints) => quote!(#[allow(#lints)]),
        });
        let constructor = Ident::new(role.name(), Span::mixed_site());
        let (decode, run, signature) = (names.decode(&task.params), self.run(), self.signature());
        let outcome = quote_spanned!(Span::mixed_site()=> #private::Outcome);
        let body = quote_spanned! {Span::mixed_site()=>
            #[allow(unused_imports)]
            use #private::{Run as _, RunNothing as _};
            #decode
            #run
        };
        let body = match role {
            // The same, with a part that begins the task and another one that encodes its output.
            Role::Worker if task.is_async => self.begin_async(),
            // Compiled into the loop over the inputs of a chunk.
            Role::Worker => quote_spanned! {Span::mixed_site()=>
                fn __procession_one(#call: &mut #private::Call<'_>) -> #outcome {
                    #body
                }
                #private::Call::each(#call, __procession_one)
            },
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
