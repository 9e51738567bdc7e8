//! The part of the second stage that checks types.

use syn::visit::{self, Visit};
use syn::{
    BoundLifetimes, Expr, GenericParam, Generics, Lifetime, ParenthesizedGenericArguments,
    PathArguments, Type, TypeFnPtr, TypeImplTrait, TypePath, TypeReference, TypeTraitObject,
};

use crate::messages::{Mistake, Mistakes};

/// The function around a type: what was refused there is not refused again
/// where it is used.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The function's parameters between `<` and `>`.
    pub(crate) declared: &'a Generics,
    /// Whether it takes `self`.
    pub(crate) method: bool,
}

impl Place<'_> {
    fn declares(self, lifetime: &Lifetime) -> bool {
        let same = |param: &GenericParam| match param {
            GenericParam::Lifetime(param) => param.lifetime == *lifetime,
            GenericParam::Type(_) | GenericParam::Const(_) => false,
        };
        self.declared.params.iter().any(same)
    }
}

/// The type without the delimiters that a macro or a person put around it.
pub(crate) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

/// `State` or `StateMut`, if the type is one of these.
///
/// A type of the user's own that is called `State` has no parameter, most
/// often, and is an ordinary one then.
pub(crate) fn state(ty: &Type) -> Option<String> {
    let Type::Path(path) = peel(ty) else {
        return None;
    };
    let segment = path.path.segments.last()?;
    let handle = segment.ident == "State" || segment.ident == "StateMut";
    let generic = matches!(segment.arguments, PathArguments::AngleBracketed(_));
    (handle && generic).then(|| segment.ident.to_string())
}

/// Reports what is wrong with the type of a parameter.
pub(crate) fn check_param(ty: &Type, place: Place<'_>, mistakes: &mut Mistakes) {
    let ty = peel(ty);
    let mut look = Look { place, side: Side::Param { state: state(ty).is_some() }, mistakes };
    let Type::Reference(reference) = ty else {
        return look.visit_type(ty);
    };
    if let Some(name) = state(&reference.elem) {
        return look.mistakes.push(reference, Mistake::BorrowedState(name));
    }
    if reference.mutability.is_some() {
        return look.mistakes.push(reference, Mistake::MutableBorrow);
    }
    if let Some(lifetime) = &reference.lifetime {
        look.visit_lifetime(lifetime);
    }
    look.visit_type(&reference.elem);
}

/// Reports what is wrong with the return type.
pub(crate) fn check_output(ty: &Type, place: Place<'_>, mistakes: &mut Mistakes) {
    if let Type::Never(never) = peel(ty) {
        return mistakes.push(never, Mistake::NeverReturns);
    }
    Look { place, side: Side::Output, mistakes }.visit_type(ty);
}

/// Whether this is what serde can borrow inside of a type: `&str` or `&[u8]`.
fn borrows_bytes(reference: &TypeReference) -> bool {
    let is = |ty: &Type, name| matches!(peel(ty), Type::Path(path) if path.path.is_ident(name));
    let bytes = match peel(&reference.elem) {
        Type::Slice(slice) => is(&slice.elem, "u8"),
        text => is(text, "str"),
    };
    bytes && reference.mutability.is_none()
}

/// Which side of the function a type stands on.
#[derive(Clone, Copy)]
enum Side {
    /// A parameter's; a `state` is not decoded and may hold what it likes.
    Param { state: bool },
    /// The return type.
    Output,
}

/// Visits a type at any depth.
struct Look<'a> {
    place: Place<'a>,
    side: Side,
    mistakes: &'a mut Mistakes,
}

impl<'ast> Visit<'ast> for Look<'_> {
    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        match self.side {
            Side::Param { state: true } => visit::visit_type_reference(self, reference),
            Side::Param { state: false } if borrows_bytes(reference) => {
                if let Some(lifetime) = &reference.lifetime {
                    self.visit_lifetime(lifetime);
                }
            }
            Side::Param { state: false } => self.mistakes.push(reference, Mistake::NestedBorrow),
            Side::Output => self.mistakes.push(reference, Mistake::ReturnedBorrow),
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        match self.side {
            Side::Output => self.mistakes.push(lifetime, Mistake::ReturnedBorrow),
            Side::Param { .. } if lifetime.ident == "_" || self.place.declares(lifetime) => {}
            Side::Param { state: true } if lifetime.ident == "static" => {}
            Side::Param { .. } => {
                self.mistakes.push(lifetime, Mistake::Lifetime(lifetime.to_string()))
            }
        }
    }

    fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
        let mistake = match self.side {
            Side::Param { .. } => Mistake::ImplParameter,
            Side::Output => Mistake::ReturnedImpl,
        };
        self.mistakes.push(ty, mistake);
    }

    fn visit_type_trait_object(&mut self, ty: &'ast TypeTraitObject) {
        match self.side {
            Side::Param { state: false } => self.mistakes.push(ty, Mistake::DynParameter),
            Side::Param { state: true } | Side::Output => visit::visit_type_trait_object(self, ty),
        }
    }

    fn visit_type_path(&mut self, path: &'ast TypePath) {
        let first = path.path.segments.first();
        if !self.place.method && first.is_some_and(|segment| segment.ident == "Self") {
            self.mistakes.push(path, Mistake::SelfType);
        }
        visit::visit_type_path(self, path);
    }

    // Lifetimes in here are those of a later call.
    fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}
    fn visit_parenthesized_generic_arguments(&mut self, _: &'ast ParenthesizedGenericArguments) {}
    fn visit_bound_lifetimes(&mut self, _: &'ast BoundLifetimes) {}

    // The length of an array.
    fn visit_expr(&mut self, _: &'ast Expr) {}
}
