//! Second stage: everything that is refused is refused here.
//!
//! A method with a mistake gets no counterpart; the others do, so that one mistake gives one error.

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident};
use syn::{
    Attribute, FnArg, GenericParam, Ident, Meta, Pat, PatType, Path, Receiver, ReceiverKind,
    ReturnType, Safety, Signature, Type, Visibility,
};

use super::ast::{Block, Method};
use crate::messages::{MAX_ORDINARY, Mistake, Mistakes, Role};
use crate::types::{self, Place};
use crate::valid::krate;

/// A block that a proxy is made for.
pub(super) struct Actor {
    /// The library: `::runtime`, or what `crate = path` says.
    pub(super) krate: Path,
    /// The conditions under which the block exists.
    pub(super) cfgs: Vec<TokenStream>,
    /// The type whose methods these are.
    pub(super) ty: Type,
    /// The name of the type.
    pub(super) name: Ident,
    /// What the proxy can call.
    pub(super) methods: Vec<Called>,
}

/// A method that a proxy can call.
pub(super) struct Called {
    /// The conditions under which it exists.
    pub(super) cfgs: Vec<TokenStream>,
    /// The attributes that its counterpart has as well.
    pub(super) attrs: Vec<Attribute>,
    pub(super) visibility: Visibility,
    pub(super) ident: Ident,
    /// `&mut self`
    pub(super) exclusive: bool,
    /// `#[cast]`
    pub(super) cast: bool,
    pub(super) params: Vec<Param>,
    pub(super) output: Option<Type>,
}

/// A parameter besides `self`, without `Self` in its type.
pub(super) struct Param {
    /// As its counterpart has it: a name also for a pattern.
    pub(super) ident: Ident,
    pub(super) ty: Type,
}

impl Actor {
    /// Judges a block; gives what can be had of it, and what is wrong.
    pub(super) fn check(block: Block) -> (Option<Actor>, Mistakes) {
        let mut mistakes = Mistakes::of(Role::Actor);
        let krate = krate(block.arguments, &mut mistakes);
        for param in &block.generics.params {
            mistakes.push(param, Mistake::GenericImpl);
        }
        if let Some(path) = &block.of_trait {
            mistakes.push(path, Mistake::TraitImpl);
        }
        let Some(name) = name_of(&block.ty) else {
            mistakes.push(&block.ty, Mistake::NoName);
            return (None, mistakes);
        };
        // Without these there is nothing that a proxy could be made for.
        let fits = block.of_trait.is_none() && block.generics.params.is_empty();
        let mut methods = Vec::new();
        for method in block.methods {
            methods.extend(check_method(method, &block.ty, &mut mistakes));
        }
        if methods.is_empty() && mistakes.is_empty() {
            mistakes.push(&block.ty, Mistake::NoMethods);
        }
        let cfgs = cfgs(&block.attrs);
        (fits.then_some(Actor { krate, cfgs, ty: block.ty, name, methods }), mistakes)
    }
}

/// The last name of a path.
fn name_of(ty: &Type) -> Option<Ident> {
    match types::peel(ty) {
        Type::Path(path) if path.qself.is_none() => {
            path.path.segments.last().map(|segment| segment.ident.clone())
        }
        _ => None,
    }
}

/// One function of the block; `None` if no proxy has it.
fn check_method(method: Method, of: &Type, mistakes: &mut Mistakes) -> Option<Called> {
    let Method { attrs, visibility, signature } = method;
    let cast = attrs.iter().find(|attr| attr.path().is_ident("cast"));
    let receiver = signature.receiver();
    if let Some(attr) = cast {
        let nobody = receiver.is_none() || matches!(visibility, Visibility::Inherited);
        if nobody {
            mistakes.push(attr, Mistake::CastOfNobody);
        } else if !matches!(attr.meta, Meta::Path(_)) {
            mistakes.push(attr, Mistake::CastArguments);
        }
    }
    // What a proxy does not have may be as it likes.
    if matches!(visibility, Visibility::Inherited) {
        return None;
    }
    let receiver = receiver?;
    let before = mistakes.len();
    let exclusive = check_receiver(receiver, mistakes);
    qualifiers(&signature, mistakes);
    let place = Place { declared: &signature.generics, method: true };
    let params = params(&signature, place, of, mistakes);
    let output = match &signature.output {
        ReturnType::Default => None,
        ReturnType::Type(arrow, ty) => {
            types::check_output(ty, place, mistakes);
            if cast.is_some() && !is_unit(ty) {
                let mut tokens = arrow.to_token_stream();
                ty.to_tokens(&mut tokens);
                mistakes.push(tokens, Mistake::CastReturns);
            }
            Some(without_self(ty, of))
        }
    };
    if mistakes.len() > before {
        return None;
    }
    Some(Called {
        cfgs: cfgs(&attrs),
        cast: cast.is_some(),
        attrs: attrs.into_iter().filter(is_passed_on).collect(),
        visibility,
        ident: signature.ident,
        exclusive,
        params,
        output,
    })
}

fn check_receiver(receiver: &Receiver, mistakes: &mut Mistakes) -> bool {
    let (lifetime, mutability) = match &receiver.kind {
        ReceiverKind::Reference(_, lifetime, mutability) => (lifetime, mutability.is_some()),
        ReceiverKind::Typed(_, ty) => match types::peel(ty) {
            Type::Reference(reference) if is_self(&reference.elem) => {
                (&reference.lifetime, reference.mutability.is_some())
            }
            _ => {
                mistakes.push(receiver, Mistake::ByValue);
                return false;
            }
        },
        _ => {
            mistakes.push(receiver, Mistake::ByValue);
            return false;
        }
    };
    if let Some(lifetime) = lifetime.as_ref().filter(|lifetime| lifetime.ident != "_") {
        mistakes.push(lifetime, Mistake::LifetimeParameter);
    }
    mutability
}

fn is_self(ty: &Type) -> bool {
    matches!(types::peel(ty), Type::Path(path) if path.path.is_ident("Self"))
}

fn is_unit(ty: &Type) -> bool {
    matches!(types::peel(ty), Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// What stands before `fn`, and between `<` and `>`.
fn qualifiers(signature: &Signature, mistakes: &mut Mistakes) {
    if let Some(word) = &signature.asyncness {
        mistakes.push(word, Mistake::Async);
    }
    if let Safety::Unsafe(word) = &signature.safety {
        mistakes.push(word, Mistake::Unsafe);
    }
    if let Some(abi) = &signature.abi {
        mistakes.push(abi, Mistake::Extern);
    }
    for param in &signature.generics.params {
        let mistake = match param {
            GenericParam::Type(_) => Mistake::TypeParameter,
            GenericParam::Const(_) => Mistake::ConstParameter,
            GenericParam::Lifetime(_) => Mistake::LifetimeParameter,
        };
        mistakes.push(param, mistake);
    }
    if let Some(variadic) = &signature.variadic {
        mistakes.push(variadic, Mistake::Variadic);
    }
}

fn params(
    signature: &Signature,
    place: Place<'_>,
    of: &Type,
    mistakes: &mut Mistakes,
) -> Vec<Param> {
    let typed = signature.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(typed) => Some(typed),
        FnArg::Receiver(_) => None,
    });
    let mut params = Vec::new();
    let mut beyond = TokenStream::new();
    for PatType { attrs, pat, ty, .. } in typed {
        for attr in attrs.iter().filter(|attr| is_cfg(attr)) {
            mistakes.push(attr, Mistake::CfgParameter);
        }
        match types::state(ty) {
            Some(_) => mistakes.push(ty, Mistake::StateOfMethod),
            None => types::check_param(ty, place, mistakes),
        }
        let ident = match &**pat {
            Pat::Ident(binding) if binding.subpat.is_none() => binding.ident.clone(),
            _ => format_ident!("argument_{}", params.len(), span = Span::mixed_site()),
        };
        if params.len() >= MAX_ORDINARY {
            pat.to_tokens(&mut beyond);
            ty.to_tokens(&mut beyond);
        }
        params.push(Param { ident, ty: without_self(ty, of) });
    }
    if !beyond.is_empty() {
        mistakes.push(beyond, Mistake::TooManyParameters);
    }
    params
}

/// The type with the name of the actor for `Self`, which would be its proxy in the counterpart.
fn without_self(ty: &Type, of: &Type) -> Type {
    fn replaced(tokens: TokenStream, of: &TokenStream) -> TokenStream {
        let replace = |token| match token {
            TokenTree::Ident(word) if word == "Self" => of.clone(),
            TokenTree::Group(group) => {
                let mut inner =
                    proc_macro2::Group::new(group.delimiter(), replaced(group.stream(), of));
                inner.set_span(group.span());
                TokenTree::Group(inner).into()
            }
            other => other.into(),
        };
        tokens.into_iter().map(replace).collect::<Vec<TokenStream>>().into_iter().collect()
    }
    let tokens = replaced(ty.to_token_stream(), &of.to_token_stream());
    syn::parse2(tokens).unwrap_or_else(|_| ty.clone())
}

fn is_cfg(attr: &Attribute) -> bool {
    attr.path().is_ident("cfg") || attr.path().is_ident("cfg_attr")
}

fn cfgs(attrs: &[Attribute]) -> Vec<TokenStream> {
    let conditions = attrs.iter().filter(|attr| attr.path().is_ident("cfg"));
    conditions
        .filter_map(|attr| match &attr.meta {
            Meta::List(list) => Some(list.tokens.clone()),
            _ => None,
        })
        .collect()
}

/// Whether the counterpart of a method has this attribute as well.
fn is_passed_on(attr: &Attribute) -> bool {
    ["doc", "cfg", "allow", "deprecated"].iter().any(|name| attr.path().is_ident(name))
}
