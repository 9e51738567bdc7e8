//! The second stage, which reports all mistakes of a block.
//!
//! The proxy has a counterpart of each method without a mistake. A call of such a method therefore causes no
//! further error.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{Attribute, Ident, Meta, Path, Receiver, ReceiverKind, ReturnType, Type, Visibility};

use super::ast::{Block, Method};
use crate::messages::{Mistake, Mistakes, Role};
use crate::types;
use crate::valid::{Param, check_signature, krate};

/// A block for which a proxy is generated.
pub(super) struct Actor {
    /// The library: `::runtime`, or what `crate = path` says.
    pub(super) krate: Path,
    /// The conditions under which the block exists.
    pub(super) cfgs: Vec<TokenStream>,
    /// The type whose methods these are.
    pub(super) ty: Type,
    /// The name of the type.
    pub(super) name: Ident,
    /// The methods that the proxy can call.
    pub(super) methods: Vec<Called>,
}

/// A method that a proxy can call.
pub(super) struct Called {
    /// The conditions under which the method exists.
    pub(super) cfgs: Vec<TokenStream>,
    /// The attributes that its counterpart has as well.
    pub(super) attrs: Vec<Attribute>,
    pub(super) visibility: Visibility,
    pub(super) ident: Ident,
    /// Whether it takes `&mut self`.
    pub(super) exclusive: bool,
    /// Whether it has the attribute `#[cast]`.
    pub(super) cast: bool,
    /// The parameters besides `self`, without `Self` in their types.
    pub(super) params: Vec<Param>,
    /// The return type without `Self`, where it is written.
    pub(super) output: Option<Type>,
}

impl Actor {
    /// Checks a block. Returns the actor, unless no proxy can be generated for the block at all, and the
    /// mistakes.
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
        // The proxy of a generic type, or of the methods of a trait, would cause errors of its own.
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

/// The last name of the path of a type.
fn name_of(ty: &Type) -> Option<Ident> {
    match types::peel(ty) {
        Type::Path(path) if path.qself.is_none() => {
            path.path.segments.last().map(|segment| segment.ident.clone())
        }
        _ => None,
    }
}

/// Checks a function of the block. Returns `None` if the proxy does not have it.
fn check_method(method: Method, of: &Type, mistakes: &mut Mistakes) -> Option<Called> {
    let Method { attrs, visibility, signature } = method;
    let cast = attrs.iter().find(|attr| attr.path().is_ident("cast"));
    let receiver = signature.receiver();
    if let Some(attr) = cast {
        if receiver.is_none() || matches!(visibility, Visibility::Inherited) {
            mistakes.push(attr, Mistake::CastOfNobody);
        } else if !matches!(attr.meta, Meta::Path(_)) {
            mistakes.push(attr, Mistake::CastArguments);
        }
    }
    // Functions that the proxy does not have are not checked.
    if matches!(visibility, Visibility::Inherited) {
        return None;
    }
    let receiver = receiver?;
    let before = mistakes.len();
    let exclusive = check_receiver(receiver, mistakes);
    let (mut params, output) = check_signature(&signature, mistakes);
    if cast.is_some()
        && let ReturnType::Type(_, ty) = &signature.output
        && !is_unit(ty)
    {
        mistakes.push(&signature.output, Mistake::CastReturns);
    }
    if mistakes.len() > before {
        return None;
    }
    for param in &mut params {
        param.ty = without_self(&param.ty, of);
    }
    Some(Called {
        cfgs: cfgs(&attrs),
        cast: cast.is_some(),
        attrs: attrs.into_iter().filter(is_passed_on).collect(),
        visibility,
        ident: signature.ident,
        exclusive,
        params,
        output: output.map(|ty| without_self(&ty, of)),
    })
}

/// Checks the receiver of a method. Returns whether it is mutable.
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

/// Replaces `Self`, which would be the proxy in the counterpart of the method, by the type of the actor.
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

/// The conditions of `#[cfg(..)]` among these attributes.
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
