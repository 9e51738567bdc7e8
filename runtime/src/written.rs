//! The call of the annotated function from generated code.

#![allow(missing_docs, reason = "for generated code alone")]

use std::marker::PhantomData;

use crate::arity::for_each_arity;
use crate::takes::refuse;

// Never shown: a program with two functions of the same name does not compile.
const ANOTHER: &str = "the function is of other types than the source says";

/// A function, with the types of its parameters (as a tuple) and of its output, as they are in the
/// source.
///
/// The function does not have these types if there is another function with the same name. The compiler
/// reports the duplicate name. If one function were called as if it were the other, the compiler would
/// report two more errors. Therefore the call is a method that exists for every function, as in
/// `takes.rs`.
pub struct Written<F, A, R>(F, PhantomData<fn(A) -> R>);

impl<F, A, R> Written<F, A, R> {
    pub const fn new(function: F) -> Self {
        Written(function, PhantomData)
    }
}

/// A function of these types.
pub trait Run<A, R> {
    fn __procession_run(&self, parameters: A) -> R;
}

macro_rules! run {
    ($([$($a:ident $parameter:ident $kind:ident)*])*) => {$(
        impl<Func, Out, $($a),*> Run<($($a,)*), Out> for &Written<Func, ($($a,)*), Out>
        where
            Func: Fn($($a),*) -> Out,
        {
            #[inline]
            fn __procession_run(&self, ($($parameter,)*): ($($a,)*)) -> Out {
                (self.0)($($parameter),*)
            }
        }
    )*};
}

for_each_arity!(run);

/// Another function.
pub trait RunNothing<A, R> {
    fn __procession_run(&self, parameters: A) -> R;
}

impl<F, A, R> RunNothing<A, R> for Written<F, A, R> {
    fn __procession_run(&self, _: A) -> R {
        const { refuse(size_of::<F>(), ANOTHER) }
    }
}
