//! The attribute macros of [`procession`](https://docs.rs/procession), which
//! re-exports them: [`macro@worker`] and [`macro@initializer`].
//!
//! The function stays as it is written. Beside it, the macros put an entry in
//! the registry that every process of the program sees. That happens in three
//! stages: take the source apart (`ast`), judge it (`valid`, `types`, `place`), write
//! the entry (`expand`). Only the second one refuses anything, and it reports
//! all that is wrong with a function at once. All wordings stand in `messages`.

#![deny(clippy::missing_errors_doc, clippy::missing_panics_doc)]

mod ast;
mod expand;
mod messages;
mod place;
#[cfg(test)]
mod tests;
mod text;
mod types;
mod valid;

use proc_macro::TokenStream;
use quote::ToTokens as _;

use crate::ast::Annotated;
use crate::expand::Registration;
use crate::messages::Role;
use crate::valid::Task;

/// Lets worker processes run a function.
///
/// The function itself does not change: it is called, passed on and tested as
/// before. Given to a pool, it runs in a worker process.
///
/// ```
/// use runtime::worker;
///
/// /// The area under x² between `from` and `to`, in `steps` strips.
/// #[worker]
/// fn integrate(from: f64, to: f64, steps: u32) -> f64 {
///     let width = (to - from) / f64::from(steps);
///     let middle = |strip| from + (f64::from(strip) + 0.5) * width;
///     (0..steps).map(|strip| middle(strip).powi(2) * width).sum()
/// }
///
/// // An ordinary function,
/// assert!((integrate(0.0, 3.0, 1_000) - 9.0).abs() < 1e-3);
/// // and a task: `pool.map(integrate, [(0.0, 1.0, 1_000), (1.0, 2.0, 1_000)])`.
/// ```
///
/// # Parameters
///
/// | a parameter | in the worker | the caller passes |
/// |---|---|---|
/// | `T` | is decoded | a `T` or `&T`, which implements `Serialize` and `Deserialize` |
/// | `&T` | is decoded as what owns it, such as a `String` for a `&str`, and borrowed | a `&T` or `T` |
/// | `State<T>`, `StateMut<T>` | is what an [`initializer`] made in this worker | nothing |
///
/// States stand first, at most three of them. After these come the ordinary
/// parameters, at most eight: none is called with `()`, one with the value
/// itself, several with a tuple. Patterns and `mut` are fine.
///
/// A caller may also pass what is encoded like the parameter: a `String` for a `&str`, an array or a
/// `Vec` for a slice, a text for a path.
///
/// The return type implements `Serialize` and `Deserialize`, too. A `Result` is
/// a value like any other, if its error implements them. Of a `Result` with an error that does
/// not, such as `std::io::Error`, `Box<dyn Error>` or `anyhow::Error`, the caller gets the value, and
/// otherwise the library's own error, which tells its text and causes.
///
/// ```
/// use runtime::worker;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
///
/// #[worker]
/// fn distance(Point { x, y }: Point, unit: &str) -> Result<String, String> {
///     match x.hypot(y) {
///         length if length.is_finite() => Ok(format!("{length} {unit}")),
///         _ => Err(String::from("too far away")),
///     }
/// }
///
/// assert_eq!(distance(Point { x: 3.0, y: 4.0 }, "m"), Ok(String::from("5 m")));
/// ```
///
/// # Argument
///
/// `#[worker(crate = path)]` says where the library is found, if that is not
/// `::runtime`: a dependency under another name, or a re-export. The path may
/// be a string, too.
///
/// ```
/// mod prelude {
///     pub use runtime as processes;
/// }
///
/// #[runtime::worker(crate = prelude::processes)]
/// fn double(x: u64) -> u64 {
///     2 * x
/// }
/// # assert_eq!(double(2), 4);
/// ```
///
/// # Errors
///
/// A worker process finds the function by its name and shares no memory with
/// the caller. So these do not compile, each with a message that says what to
/// do instead:
/// - functions in an `impl` or `trait` block, and those that take `self`;
/// - parameters between `<` and `>`, `impl Trait`, and `dyn Trait` outside of a state;
/// - `unsafe`, `async`, `extern` and variadic functions, and those that return `!`;
/// - `&mut` parameters, and parameters with a lifetime other than `'_` or with
///   a reference inside their type;
/// - return types with a reference or a lifetime in them;
/// - a second `#[worker]` or `#[initializer]` on the same function.
///
/// ```compile_fail
/// #[runtime::worker]
/// fn largest<T: Ord>(values: &mut [T]) -> &T {
///     values.sort();
///     values.last().unwrap()
/// }
/// ```
#[proc_macro_attribute]
pub fn worker(arguments: TokenStream, item: TokenStream) -> TokenStream {
    annotate(Role::Worker, arguments, item)
}

/// Lets worker processes run a function once, before their tasks, and keep what
/// it returns.
///
/// What it returns never leaves the worker: it need not be serializable. The
/// tasks of that worker get it as a `State` or a `StateMut` of its type.
///
/// ```
/// use runtime::{State, initializer, worker};
/// use std::collections::HashSet;
/// use std::path::PathBuf;
///
/// struct Dictionary(HashSet<String>);
///
/// #[initializer]
/// fn load(path: PathBuf) -> Result<Dictionary, std::io::Error> {
///     let words = std::fs::read_to_string(path)?;
///     Ok(Dictionary(words.lines().map(String::from).collect()))
/// }
///
/// #[worker]
/// fn is_known(dictionary: State<Dictionary>, word: &str) -> bool {
///     dictionary.0.contains(word)
/// }
///
/// // Pool::builder().initializer(load, "/usr/share/dict/words".into())
/// assert!(load("no such file".into()).is_err());
/// ```
///
/// # Parameters
///
/// They are those of a [`worker`](macro@worker). A state among them is what an
/// initializer before this one made.
///
/// # Return type
///
/// Any type that owns what it holds. Of a `Result`, the value of `Ok` is kept,
/// and an `Err`, which has to be `Display`, fails the start of the worker. Types
/// that are not `Send` and `Sync` are fine: they stay with the thread that made
/// them.
///
/// # Argument
///
/// `crate = path`, as for a [`worker`](macro@worker).
///
/// # Errors
///
/// What does not compile is what does not for a [`worker`](macro@worker).
#[proc_macro_attribute]
pub fn initializer(arguments: TokenStream, item: TokenStream) -> TokenStream {
    annotate(Role::Initializer, arguments, item)
}

/// The item as it is written, and beside it its registration or its mistakes.
fn annotate(role: Role, arguments: TokenStream, mut item: TokenStream) -> TokenStream {
    let beside = beside(role, arguments.into(), item.clone().into());
    item.extend(TokenStream::from(beside));
    item
}

/// The registration of a function, or its mistakes.
fn beside(
    role: Role,
    arguments: proc_macro2::TokenStream,
    item: proc_macro2::TokenStream,
) -> proc_macro2::TokenStream {
    match Annotated::parse(role, arguments, item).and_then(Task::check) {
        Ok(task) => Registration::new(&task).to_token_stream(),
        Err(mistakes) => mistakes.into_compile_error(),
    }
}
