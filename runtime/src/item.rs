//! The items that a call accepts for a parameter, and their encoding.
//!
//! A worker decodes the type of the parameter. An item may have another type if it is encoded in the
//! same way, such as a `String` for a `&str`, or an array for a slice. [`Arg`] defines this for one
//! parameter, [`Item`] for all parameters of a task.
//!
//! The traits contain the encoding and are not mere markers, because serde encodes an array without a
//! length and a slice with one. If the encodings are equal, as for `&T` and `T`, an optimized build
//! contains no trace of the traits.

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
/// | parameter | accepted items |
/// |---|---|
/// | `T` | `T`, `&T` |
/// | `&T` | `&T`, `T` |
/// | `&str`, `String` | `&str`, `String`, `&String`, `Cow<str>` |
/// | `&[T]`, `Vec<T>` | slices, vectors, arrays, and references to them |
/// | `Vec<&str>` | those of `&str`, and those of `String` |
/// | `&Path`, `PathBuf` | paths and strings, by value or by reference |
/// | `&OsStr`, `OsString` | `OsStr`, `OsString`, strings, by value or by reference |
///
/// Do not implement this trait; implement `serde::Serialize` for your own types instead.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not fit the parameter of type `{P}`",
    label = "expected what fits `{P}`"
)]
pub trait Arg<P> {
    /// Encodes this item in the same way as the parameter.
    ///
    /// # Errors
    ///
    /// Returns the errors of the serializer.
    fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// An item that fits all parameters of a task.
///
/// It is the item itself for one parameter, a tuple for several, and `()` for none. [`Arg`] lists what
/// fits a parameter. `P` is the [`Input`](crate::Task::Input) of the task, which is always a tuple. Do
/// not implement this trait.
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
    /// Encodes this item in the same way as the parameters.
    ///
    /// # Errors
    ///
    /// Returns the errors of the serializer.
    fn encode_all<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
}

/// An item that serializes as the parameters `P`.
pub(crate) struct Fitted<T, P>(T, PhantomData<fn(P)>);

impl<T: Item<P>, P> Fitted<T, P> {
    #[inline]
    pub(crate) fn new(item: T) -> Self {
        Fitted(item, PhantomData)
    }
}

/// An iterator whose items serialize as the parameters `P`.
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

/// An element of a tuple that serializes as the parameter `P`.
struct Element<'a, T, P>(&'a T, PhantomData<fn(P)>);

impl<T: Arg<P>, P> Serialize for Element<'_, T, P> {
    #[inline]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.encode(serializer)
    }
}

// One parameter: items by value, by reference, and owned items for borrowed parameters.

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

/// Items that encode in the same way as a parameter after a conversion with `AsRef`.
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
    // Strings. The implementations above include `&String` for `String` and the like.
    [] str: &str => String, &String, Cow<'_, str>, &Cow<'_, str>, Box<str>, &Box<str>;
    [] str: String => &str, &&str, Cow<'_, str>, &Cow<'_, str>, Box<str>, &Box<str>;
    [] str: Cow<'_, str> => &str, &&str, String, &String;
    [] str: Box<str> => &str, &&str, String, &String;

    // Slices, vectors and arrays: encoded with a length, whatever the item is.
    [T: Serialize] [T]: &[T] => Vec<T>, &Vec<T>, Box<[T]>, &Box<[T]>;
    [T: Serialize] [T]: Vec<T> => &[T], &&[T], Box<[T]>, &Box<[T]>;
    [T: Serialize] [T]: Box<[T]> => &[T], &&[T], Vec<T>, &Vec<T>;
    // A worker that only reads strings need not own them.
    [] [String]: Vec<&str> => Vec<String>, &Vec<String>, &[String], &&[String];
    [const N: usize] [String]: Vec<&str> => [String; N], &[String; N];
    [T: Serialize, const N: usize] [T]: &[T] => [T; N], &[T; N], &&[T; N];
    [T: Serialize, const N: usize] [T]: Vec<T> => [T; N], &[T; N], &&[T; N];
    [T: Serialize, const N: usize] [T]: Box<[T]> => [T; N], &[T; N], &&[T; N];

    // Paths, which encode as strings.
    [] Path: &Path, PathBuf => &str, &&str, String, &String, Cow<'_, Path>, &Cow<'_, Path>;
    [] Path: &Path, PathBuf => OsString, &OsString, &OsStr, &&OsStr;
    [] Path: &Path => PathBuf, &PathBuf;
    [] Path: PathBuf => &Path, &&Path;

    // `OsStr` and `OsString`, which do not encode as strings.
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
