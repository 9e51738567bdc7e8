//! The second stage, which reports all mistakes.
//!
//! A [`Task`] exists only if the function has no mistake, so that the third stage cannot fail.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, format_ident, quote};
use syn::{
    Attribute, FnArg, GenericParam, Ident, Meta, Pat, PatType, Path, ReturnType, Safety, Signature,
    Type, parse_quote_spanned,
};

use crate::ast::{Annotated, Argument};
use crate::messages::{MAX_ORDINARY, MAX_STATES, Mistake, Mistakes, Role};
use crate::types::{self, Place};

/// A function that can be registered.
pub(crate) struct Task {
    /// Which attribute stands on it.
    pub(crate) role: Role,
    /// The library: `::runtime`, or what `crate = path` says.
    pub(crate) krate: Path,
    /// Attributes that the registration shares with the function.
    pub(crate) attrs: Vec<Shared>,
    /// The function's name.
    pub(crate) ident: Ident,
    /// What its thunk decodes, in order.
    pub(crate) params: Vec<Param>,
    /// What it returns, where that is written.
    pub(crate) output: Option<Type>,
    /// Whether it is an `async fn`.
    pub(crate) is_async: bool,
}

/// An attribute that the registration shares with the function.
pub(crate) enum Shared {
    /// `#[cfg(..)]`, with what stands in the parentheses.
    Cfg(TokenStream),
    /// `#[allow(..)]` or `#[expect(..)]`, with what stands in the parentheses.
    Allow(TokenStream),
}

/// A parameter.
pub(crate) struct Param {
    /// Its pattern, without `mut`.
    pub(crate) pat: Pat,
    /// Its type as written.
    pub(crate) ty: Type,
}

impl Task {
    /// Judges a function.
    ///
    /// # Errors
    /// All its mistakes at once.
    pub(crate) fn check(
        Annotated { role, arguments, attrs, signature }: Annotated,
    ) -> syn::Result<Self> {
        let mut mistakes = Mistakes::of(role);

        let krate = krate(arguments, &mut mistakes);
        let attrs = shared(&attrs, &mut mistakes);
        let (params, output) = check_signature(&signature, &mut mistakes);

        // A function with `self` or `Self` has been reported already.
        if mistakes.is_empty() && crate::place::in_impl(&signature.ident) {
            mistakes.push(&signature.ident, Mistake::Associated);
        }

        mistakes.into_result()?;
        let is_async = signature.asyncness.is_some();
        Ok(Task { role, krate, attrs, ident: signature.ident, params, output, is_async })
    }
}

/// The path of the library.
pub(crate) fn krate(arguments: Vec<Argument>, mistakes: &mut Mistakes) -> Path {
    let mut krate = None;
    for argument in arguments {
        match argument {
            Argument::Crate(name, _) if krate.is_some() => {
                mistakes.push(name, Mistake::DuplicateArgument);
            }
            Argument::Crate(_, path) => krate = Some(path),
            Argument::NoPath(tokens) => mistakes.push(tokens, Mistake::NoPath),
            Argument::Unknown(tokens) => mistakes.push(tokens, Mistake::UnknownArgument),
        }
    }
    krate.unwrap_or_else(|| parse_quote_spanned!(Span::mixed_site()=> ::runtime))
}

/// The attributes that the registration shares: it exists when the function
/// does, and warns of nothing that the function does not warn of.
fn shared(attrs: &[Attribute], mistakes: &mut Mistakes) -> Vec<Shared> {
    let mut shared = Vec::new();
    for attr in attrs {
        let name = attr.path().segments.last().map(|segment| segment.ident.to_string());
        match (name.as_deref(), &attr.meta) {
            (Some("worker" | "initializer"), _) => mistakes.push(attr, Mistake::RegisteredTwice),
            (Some("cfg"), Meta::List(list)) => shared.push(Shared::Cfg(list.tokens.clone())),
            (Some("allow" | "expect"), Meta::List(list)) => {
                shared.push(Shared::Allow(list.tokens.clone()));
            }
            (Some("deprecated"), _) => {
                shared.push(Shared::Allow(format_ident!("deprecated").into_token_stream()));
            }
            _ => {}
        }
    }
    shared
}

/// Reports what is wrong with a signature. Returns its parameters and its output, where that is written.
///
/// The receiver of a method of an actor is not examined here.
pub(crate) fn check_signature(
    signature: &Signature,
    mistakes: &mut Mistakes,
) -> (Vec<Param>, Option<Type>) {
    qualifiers(signature, mistakes);
    generics(signature, mistakes);
    let place = Place { method: signature.receiver().is_some(), declared: &signature.generics };
    let params = params(signature, place, mistakes);
    if let Some(variadic) = &signature.variadic {
        mistakes.push(variadic, Mistake::Variadic);
    }
    let output = match &signature.output {
        ReturnType::Default => None,
        ReturnType::Type(_, ty) => {
            types::check_output(ty, place, mistakes);
            Some(Type::clone(ty))
        }
    };
    (params, output)
}

/// The words before `fn`.
fn qualifiers(signature: &Signature, mistakes: &mut Mistakes) {
    let may_be_async = cfg!(feature = "tokio") && mistakes.role() == Role::Worker;
    if let Some(word) = signature.asyncness.as_ref().filter(|_| !may_be_async) {
        mistakes.push(word, Mistake::Async);
    }
    if let Safety::Unsafe(word) = &signature.safety {
        mistakes.push(word, Mistake::Unsafe);
    }
    if let Some(abi) = &signature.abi {
        mistakes.push(abi, Mistake::Extern);
    }
}

/// What stands between `<` and `>`.
fn generics(signature: &Signature, mistakes: &mut Mistakes) {
    for param in &signature.generics.params {
        let mistake = match param {
            GenericParam::Type(_) => Mistake::TypeParameter,
            GenericParam::Const(_) => Mistake::ConstParameter,
            GenericParam::Lifetime(_) => Mistake::LifetimeParameter,
        };
        mistakes.push(param, mistake);
    }
}

/// The parameters: each for itself, then their order and number.
fn params(signature: &Signature, place: Place<'_>, mistakes: &mut Mistakes) -> Vec<Param> {
    let of_actor = mistakes.role() == Role::Actor;
    let mut params = Vec::new();
    let (mut states, mut ordinary) = (Vec::new(), Vec::new());
    for input in &signature.inputs {
        let PatType { attrs, pat, ty, .. } = match input {
            FnArg::Typed(typed) => typed,
            FnArg::Receiver(_) if of_actor => continue,
            FnArg::Receiver(receiver) => {
                mistakes.push(receiver, Mistake::Receiver);
                continue;
            }
        };
        let comes_and_goes =
            |attr: &&Attribute| attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr");
        for attr in attrs.iter().filter(comes_and_goes) {
            mistakes.push(attr, Mistake::CfgParameter);
        }
        let tokens = quote!(#pat: #ty);
        match types::state(ty) {
            Some(_) if of_actor => {
                mistakes.push(ty, Mistake::StateOfMethod);
                continue;
            }
            Some(name) => {
                if !ordinary.is_empty() {
                    mistakes.push(&tokens, Mistake::LateState(name));
                }
                states.push(tokens);
            }
            None => ordinary.push(tokens),
        }
        types::check_param(ty, place, mistakes);
        params.push(Param { pat: unmut(Pat::clone(pat)), ty: Type::clone(ty) });
    }
    if states.len() > MAX_STATES {
        mistakes.push(span_of(&states[MAX_STATES..]), Mistake::TooManyStates);
    }
    if ordinary.len() > MAX_ORDINARY {
        mistakes.push(span_of(&ordinary[MAX_ORDINARY..]), Mistake::TooManyParameters);
    }
    params
}

/// Several parameters as one, to point at.
fn span_of(params: &[TokenStream]) -> TokenStream {
    params.iter().cloned().collect()
}

/// The pattern without the `mut` of a plain binding, which is no caller's business.
fn unmut(mut pat: Pat) -> Pat {
    if let Pat::Ident(binding) = &mut pat {
        binding.mutability = None;
    }
    pat
}
