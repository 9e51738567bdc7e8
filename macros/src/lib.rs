//! The attribute macros of [`procession`](https://docs.rs/procession), which re-exports them:
//! [`macro@worker`], [`macro@initializer`] and [`macro@actor`].
//!
//! A macro leaves the function unchanged and adds an entry to the registry, which every process of
//! the program has. It works in three stages: it parses the source (`ast`), checks it (`valid`,
//! `types`, `place`), and generates the entry (`expand`, `thunk`). Only the second stage refuses functions, and
//! it reports all mistakes of a function at once. The module `messages` contains all texts.

mod actor;
mod ast;
mod expand;
mod messages;
mod place;
#[cfg(test)]
mod tests;
mod text;
mod thunk;
mod types;
mod valid;

use proc_macro::TokenStream;
use quote::ToTokens as _;

use crate::ast::Annotated;
use crate::expand::Registration;
use crate::messages::Role;
use crate::valid::Task;

/// Registers a function as a task, so that worker processes can run it.
///
/// The function itself does not change: it can be called, passed and tested as before.
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
/// // It is an ordinary function,
/// assert!((integrate(0.0, 3.0, 1_000) - 9.0).abs() < 1e-3);
/// // and a task, as in `pool.map(integrate, [(0.0, 1.0, 1_000), (1.0, 2.0, 1_000)])`.
/// ```
///
/// # Parameters
///
/// | a parameter of type | in the worker | the caller passes |
/// |---|---|---|
/// | `T` | is decoded | a `T` or `&T`, where `T` implements `Serialize` and `Deserialize` |
/// | `&str`, `&Path`, slices of numbers; types that contain them, such as `Vec<&str>` | refers to the memory that the caller has written, without a copy | a `&str`, `String`, slice, `Vec` or the like |
/// | another `&T` | borrows from the decoded owned form, such as a `Vec<T>` for `&[T]` | a `&T` or `T` |
/// | `State<T>`, `StateMut<T>` | is the value that an [`initializer`] has returned | nothing |
///
/// States come first; there can be at most three. Up to eight ordinary parameters follow. The caller
/// passes `()` for none, the value itself for one, and a tuple for several. Parameters can be patterns
/// and can be `mut`.
///
/// The caller can also pass a value of another type that is encoded in the same way: a `String` for a
/// `&str`, an array or a `Vec` for a slice, a string for a path.
///
/// # Return type
///
/// The return type implements `Serialize` and `Deserialize`. A `Result` is a value like any other if
/// its error implements them. Otherwise, as with `std::io::Error`, `Box<dyn Error>` or
/// `anyhow::Error`, the caller receives the `Ok` value, or an error of the library with the message
/// and the causes of the original one.
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
/// # Async functions
///
/// With the feature `tokio` the function can be an `async fn`. Each worker has a runtime of tokio on its own
/// thread. The runtime supports time and I/O. The function need not be `Send`. A future that it spawns runs only
/// while the worker runs an asynchronous task. The function can use `spawn_blocking`; a leaving worker does not
/// wait for blocking code that still runs. A worker runs one task at a time, unless the pool was built with
/// `PoolBuilder::concurrency`.
///
/// # Argument
///
/// `#[worker(crate = path)]` sets the path of the library if it is not `::runtime`, for instance
/// because the dependency is renamed or re-exported. The path can also be a string.
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
/// A worker process finds the function by its name and does not share memory with the caller. The
/// following functions therefore do not compile. Each mistake has a message that suggests a fix.
///
/// - functions in an `impl` or `trait` block, and functions that take `self`;
/// - functions with type or const parameters, `impl Trait`, or `dyn Trait` outside of a state;
/// - `async` functions without the feature `tokio`;
/// - `unsafe`, `extern` and variadic functions, and functions that return `!`;
/// - functions with `&mut` parameters, with parameters that have a lifetime other than `'_`, or with
///   parameters that contain a reference inside their type;
/// - functions whose return type contains a reference or a lifetime;
/// - functions with a second `#[worker]` or `#[initializer]`.
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

/// Registers a function that worker processes run once, before their tasks.
///
/// The tasks of a worker receive its return value as a `State` or a `StateMut` parameter. The value
/// never leaves the worker, so its type need not be serializable.
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
/// The rules are those of [`worker`](macro@worker). A `State` or `StateMut` parameter receives the value
/// of an earlier initializer.
///
/// # Return type
///
/// Any type without borrows. If it is a `Result`, the `Ok` value is kept, and an `Err`, which must
/// implement `Display`, makes the start of the worker fail. The type need not be `Send` or `Sync`,
/// because the value stays in the thread that created it.
///
/// # Argument
///
/// `crate = path`, as for [`worker`](macro@worker).
///
/// # Errors
///
/// The same functions as for [`worker`](macro@worker) do not compile.
#[proc_macro_attribute]
pub fn initializer(arguments: TokenStream, item: TokenStream) -> TokenStream {
    annotate(Role::Initializer, arguments, item)
}

/// Generates a proxy for the methods of a type, whose values can then live in the process of a manager.
///
/// The attribute annotates an `impl` block, which does not change: the methods can be called and tested as
/// before. For a type `Scores` the attribute generates a type `ScoresProxy`. The proxy has each method that
/// is `pub` and takes `&self` or `&mut self`, with the same parameters and with `Result<R, runtime::Error>`
/// in place of `R`. `Manager::serve` and `Manager::make` return proxies. A proxy implements `Clone` and can
/// be sent to other processes inside of values.
///
/// ```
/// use std::collections::HashMap;
///
/// use runtime::{Manager, actor};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Scores(HashMap<String, u64>);
///
/// #[actor]
/// impl Scores {
///     /// Returns the points of a player.
///     pub fn get(&self, name: &str) -> Option<u64> {
///         self.0.get(name).copied()
///     }
///
///     /// Adds points, and returns the sum.
///     pub fn add(&mut self, name: String, points: u64) -> u64 {
///         let sum = self.0.entry(name).or_default();
///         *sum += points;
///         *sum
///     }
/// }
///
/// let manager = Manager::start()?;
/// let scores = manager.serve(Scores::default())?;
/// scores.add("ann".into(), 3)?;
/// assert_eq!(scores.add("ann".into(), 4)?, 7);
/// assert_eq!(scores.get("ben")?, None);
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// # Methods
///
/// - While a method with `&mut self` runs, no other call of the actor runs. Calls of methods with `&self`
///   can run at the same time, on several threads.
/// - The rules for parameters and outputs are those of a [`worker`](macro@worker), without states. A `&T`
///   borrows from the decoded owned form. If the error of a `Result` cannot be serialized, such as
///   `std::io::Error`, the caller receives the `Ok` value or an error of kind `Failed`.
/// - A method with `#[cast]` returns nothing, and its callers do not wait: the method of the proxy returns
///   when the call was sent. An error of the call is written to standard error.
/// - Private methods, functions without `self`, constants and types are not restricted. Proxies do not have
///   them.
///
/// A proxy also has the methods `with_timeout` and `is_alive`, unless the type has methods of these names.
///
/// # Arguments
///
/// `crate = path`, as for a [`worker`](macro@worker).
///
/// # Errors
///
/// The following do not compile. Each mistake has a message at its place, and all of them are reported at
/// once.
///
/// - blocks that implement a trait, and blocks with type parameters;
/// - blocks without a method for the proxy;
/// - methods for the proxy that take `self` by value, that are `async`, `unsafe` or generic, or that have
///   parameters or outputs that a worker cannot have;
/// - methods with `#[cast]` that return a value.
///
/// ```compile_fail
/// struct Log(Vec<String>);
///
/// #[runtime::actor]
/// impl Log {
///     pub fn last(&self) -> &str {
///         self.0.last().unwrap()
///     }
/// }
/// ```
#[proc_macro_attribute]
pub fn actor(arguments: TokenStream, item: TokenStream) -> TokenStream {
    actor::annotate(arguments.into(), item.into()).into()
}

/// Returns the item unchanged, followed by its registration or by the errors of its mistakes.
fn annotate(role: Role, arguments: TokenStream, mut item: TokenStream) -> TokenStream {
    let beside = beside(role, arguments.into(), item.clone().into());
    item.extend(TokenStream::from(beside));
    item
}

/// Returns the registration of a function, or the errors of its mistakes.
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
