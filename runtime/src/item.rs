//! What fits a parameter: the items that a call takes for it, and how they are encoded.
//!
//! A worker decodes what the type of a parameter says. An item may be of another type, as
//! long as this module has it encode as the parameter does: a `String` for a `&str`, an array for a
//! slice.
//! [`Arg`] says so for one parameter, [`Item`] for all parameters of a task together.
//!
//! Both traits encode, they do not only mark: for serde an array has no count where a slice has
//! one. Where the encoded form is the same, as for `&T` and `T`, nothing is left of them in an
//! optimized build.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::ser::{Serialize, SerializeTuple as _, Serializer};

use crate::handle;
use crate::task::Never;
use crate::task::kinds::Unknown;

/// An item that fits one parameter of type `P`.
///
/// | parameter | takes |
/// |---|---|
/// | `T` | `T`, `&T` |
/// | `&T` | `&T`, `T` |
/// | `&str`, `String` | `&str`, `String`, `&String`, `Cow<str>` |
/// | `&[T]`, `Vec<T>` | slices, vectors, arrays, and references to them |
/// | `&Path`, `PathBuf` | paths and texts, by value or by reference |
///
/// This trait is implemented for all of these. You never implement it: implement
/// `serde::Serialize` for a type of your own.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not fit the parameter of type `{P}`",
    label = "expected what fits `{P}`"
)]
pub trait Arg<P> {
    /// Encodes this item as the parameter is encoded.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// An item that fits all parameters of a task: the item itself for one parameter, a tuple for
/// several, `()` for none.
///
/// `P` is the [`Input`](crate::Task::Input) of the task, a tuple also of one parameter. You never implement this trait; see [`Arg`] for
/// what fits which parameter.
///
/// ```
/// use runtime::{Item, Pool, Result, Task, worker};
///
/// /// Runs a task on each item twice.
/// fn map_twice<M, F, T>(pool: &Pool, task: F, items: &[T]) -> Result<Vec<F::Output>>
/// where
///     F: Task<M>,
///     T: Item<F::Input> + Clone,
/// {
///     pool.map(task, items.iter().chain(items).cloned())
/// }
///
/// #[worker]
/// fn length(text: &str) -> usize {
///     text.len()
/// }
///
/// assert_eq!(map_twice(runtime::pool(), length, &["a".to_owned()])?, [1, 1]);
/// # Ok::<(), runtime::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not fit the parameters `{P}` of this task",
    label = "expected what fits `{P}`",
    note = "one parameter takes the item itself, several take a tuple, none takes `()`"
)]
pub trait Item<P> {
    /// Encodes this item as the parameters are encoded.
    ///
    /// # Errors
    ///
    /// Those of the serializer.
    fn encode_all<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// An item on its way to a worker: serializes as the parameters `P`.
pub(crate) struct Fitted<T, P>(T, PhantomData<fn(P)>);

impl<T: Item<P>, P> Fitted<T, P> {
    #[inline]
    pub(crate) fn new(item: T) -> Self {
        Fitted(item, PhantomData)
    }
}

/// The items of an iterator, each on its way.
pub(crate) struct Fitting<I, P>(I, PhantomData<fn(P)>);

impl<I, P> Fitting<I, P> {
    #[inline]
    pub(crate) fn new(items: I) -> Self {
        Fitting(items, PhantomData)
    }
}

impl<I, P> Iterator for Fitting<I, P>
where
    I: Iterator,
    I::Item: Item<P>,
{
    type Item = Fitted<I::Item, P>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(Fitted::new)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<T: Item<P>, P> Serialize for Fitted<T, P> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.encode_all(serializer)
    }
}

/// One element of a tuple: serializes as the parameter `P`.
struct Element<'a, T, P>(&'a T, PhantomData<fn(P)>);

impl<T: Arg<P>, P> Serialize for Element<'_, T, P> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.encode(serializer)
    }
}

// One parameter: by value, by reference, and owned for borrowed.

#[diagnostic::do_not_recommend]
impl<T: Serialize> Arg<T> for T {
    #[inline]
    fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handle::moved::<T, _>(|| self.serialize(serializer))
    }
}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Arg<T> for &T {
    #[inline]
    fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

#[diagnostic::do_not_recommend]
impl<T: Serialize> Arg<&T> for T {
    #[inline]
    fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

/// Items that encode as a parameter does once they are seen as something else.
macro_rules! seen_as {
    ($([$($generics:tt)*] $seen:ty: $($parameter:ty),* => $($item:ty),*;)*) => {
        $(seen_as!(@parameters [$($generics)*] $seen: [$($parameter)*] [$($item)*]);)*
    };
    (@parameters $generics:tt $seen:ty: [$($parameter:ty)*] $items:tt) => {
        $(seen_as!(@items $generics $seen: $parameter, $items);)*
    };
    (@items $generics:tt $seen:ty: $parameter:ty, [$($item:ty)*]) => {
        $(seen_as!(@one $generics $seen: $parameter, $item);)*
    };
    (@one [$($generics:tt)*] $seen:ty: $parameter:ty, $item:ty) => {
        #[diagnostic::do_not_recommend]
        impl<$($generics)*> Arg<$parameter> for $item {
            #[inline]
            fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                AsRef::<$seen>::as_ref(self).serialize(serializer)
            }
        }
    };
}

seen_as! {
    // Texts. `&String` for `String` and the like are above.
    [] str: &str => String, &String, Cow<'_, str>, &Cow<'_, str>, Box<str>, &Box<str>;
    [] str: String => &str, &&str, Cow<'_, str>, &Cow<'_, str>, Box<str>, &Box<str>;
    [] str: Cow<'_, str> => &str, &&str, String, &String;
    [] str: Box<str> => &str, &&str, String, &String;

    // Slices, vectors and arrays: with a count, whatever the item is.
    [T: Serialize] [T]: &[T] => Vec<T>, &Vec<T>, Box<[T]>, &Box<[T]>;
    [T: Serialize] [T]: Vec<T> => &[T], &&[T], Box<[T]>, &Box<[T]>;
    [T: Serialize] [T]: Box<[T]> => &[T], &&[T], Vec<T>, &Vec<T>;
    [T: Serialize, const N: usize] [T]: &[T] => [T; N], &[T; N], &&[T; N];
    [T: Serialize, const N: usize] [T]: Vec<T> => [T; N], &[T; N], &&[T; N];
    [T: Serialize, const N: usize] [T]: Box<[T]> => [T; N], &[T; N], &&[T; N];

    // Paths, which encode as texts.
    [] Path: &Path, PathBuf => &str, &&str, String, &String, Cow<'_, Path>, &Cow<'_, Path>;
    [] Path: &Path, PathBuf => OsString, &OsString, &OsStr, &&OsStr;
    [] Path: &Path => PathBuf, &PathBuf;
    [] Path: PathBuf => &Path, &&Path;

    // Names of the system, which do not.
    [] OsStr: &OsStr, OsString => &str, &&str, String, &String;
    [] OsStr: &OsStr => OsString, &OsString;
    [] OsStr: OsString => &OsStr, &&OsStr;
}

// All parameters.

#[diagnostic::do_not_recommend]
impl Item<()> for () {
    #[inline]
    fn encode_all<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

#[diagnostic::do_not_recommend]
impl Item<()> for &() {
    #[inline]
    fn encode_all<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.serialize(serializer)
    }
}

impl<T: Arg<A>, A> Item<(A,)> for T {
    #[inline]
    fn encode_all<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.encode(serializer)
    }
}

// Never chosen: see `kinds::Unknown`.
#[diagnostic::do_not_recommend]
impl<T, P: Never> Item<Unknown<P>> for T {
    fn encode_all<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        unreachable!("nothing is `Never`")
    }
}

macro_rules! tuples {
    ($($count:literal: $($place:tt $item:ident $parameter:ident),*;)*) => {$(
        #[diagnostic::do_not_recommend]
        impl<$($item, $parameter),*> Item<($($parameter,)*)> for ($($item,)*)
        where
            $($item: Arg<$parameter>,)*
        {
            #[inline]
            fn encode_all<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                let mut tuple = serializer.serialize_tuple($count)?;
                $(tuple.serialize_element(&Element::<_, $parameter>(&self.$place, PhantomData))?;)*
                tuple.end()
            }
        }

        #[diagnostic::do_not_recommend]
        impl<'i, $($item, $parameter),*> Item<($($parameter,)*)> for &'i ($($item,)*)
        where
            $(&'i $item: Arg<$parameter>,)*
        {
            #[inline]
            fn encode_all<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                let mut tuple = serializer.serialize_tuple($count)?;
                $(tuple.serialize_element(&Element::<_, $parameter>(&&self.$place, PhantomData))?;)*
                tuple.end()
            }
        }
    )*};
}

tuples! {
    2: 0 T A, 1 U B;
    3: 0 T A, 1 U B, 2 V C;
    4: 0 T A, 1 U B, 2 V C, 3 W D;
    5: 0 T A, 1 U B, 2 V C, 3 W D, 4 X E;
    6: 0 T A, 1 U B, 2 V C, 3 W D, 4 X E, 5 Y F;
    7: 0 T A, 1 U B, 2 V C, 3 W D, 4 X E, 5 Y F, 6 R G;
    8: 0 T A, 1 U B, 2 V C, 3 W D, 4 X E, 5 Y F, 6 R G, 7 Q H;
}
