//! The table of the functions that `#[worker]` and `#[initializer]` have registered.
//!
//! Each expansion submits one [`Registration`], and the linker collects them. The table is built once
//! and sorted by name. Two processes of the same build therefore have the same table, in which an index
//! identifies a task. The handshake compares a [`digest`] of the table to verify this.

use std::any::TypeId;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;

use crate::call::Thunk;
use crate::error::{Error, ErrorKind, Result};

/// A place in the source, as the expansion saw it.
#[derive(Clone, Copy, Debug)]
#[doc(hidden)]
pub struct Place {
    pub file: &'static str,
    pub line: u32,
    pub column: u32,
    /// Whether it was compiled as a test.
    pub test: bool,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// The role of a registered function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    Worker,
    Initializer,
    /// A function of the library that workers run.
    Internal,
}

/// One registered function.
#[doc(hidden)]
pub struct Registration {
    name: fn() -> &'static str,
    type_id: TypeId,
    pub(crate) thunk: Thunk,
    pub(crate) place: Place,
    signature: &'static str,
    pub(crate) role: Role,
}

impl Registration {
    /// Registers a task; `F` is the type of the function item itself.
    pub const fn worker<F: 'static>(
        _: &F,
        thunk: Thunk,
        place: Place,
        signature: &'static str,
    ) -> Self {
        Self::new::<F>(thunk, place, signature, Role::Worker)
    }

    /// Registers an initializer.
    pub const fn initializer<F: 'static>(
        _: &F,
        thunk: Thunk,
        place: Place,
        signature: &'static str,
    ) -> Self {
        Self::new::<F>(thunk, place, signature, Role::Initializer)
    }

    /// Registers a function of the library that workers run, with the name for its errors; `F`
    /// identifies it.
    pub(crate) const fn internal<F: 'static>(
        name: fn() -> &'static str,
        thunk: Thunk,
        place: Place,
    ) -> Self {
        Registration { name, ..Self::new::<F>(thunk, place, "", Role::Internal) }
    }

    const fn new<F: 'static>(
        thunk: Thunk,
        place: Place,
        signature: &'static str,
        role: Role,
    ) -> Self {
        Registration {
            name: std::any::type_name::<F>,
            type_id: TypeId::of::<F>(),
            thunk,
            place,
            signature,
            role,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        (self.name)()
    }
}

inventory::collect!(Registration);

struct TaskTable {
    sorted: Vec<&'static Registration>,
    /// The indices of the entries, ordered by the types of their functions.
    by_type: Vec<(TypeId, u32)>,
    digest: u64,
    duplicate: Option<(&'static str, Place, Place)>,
}

fn table() -> &'static TaskTable {
    static TABLE: OnceLock<TaskTable> = OnceLock::new();
    TABLE.get_or_init(|| TaskTable::new(inventory::iter::<Registration>.into_iter().collect()))
}

impl TaskTable {
    fn new(mut sorted: Vec<&'static Registration>) -> TaskTable {
        sorted.sort_by_key(|entry| (entry.name(), entry.place.line, entry.place.column));
        let mut hasher = Fnv(0xcbf2_9ce4_8422_2325);
        for entry in &sorted {
            entry.name().hash(&mut hasher);
            entry.signature.hash(&mut hasher);
            entry.role.hash(&mut hasher);
        }
        let duplicate = sorted.windows(2).find_map(|pair| {
            let [a, b] = pair else { return None };
            (a.name() == b.name()).then(|| (a.name(), a.place, b.place))
        });
        let by_type = (0..).zip(&sorted).map(|(i, entry)| (entry.type_id, i));
        let mut by_type: Vec<(TypeId, u32)> = by_type.collect();
        by_type.sort_unstable();
        TaskTable { by_type, digest: hasher.finish(), duplicate, sorted }
    }
}

/// FNV-1a, which is the same in every process, unlike the hashers of the standard library.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// A registered function and its place in the table.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) id: u32,
    pub(crate) registration: &'static Registration,
}

impl Entry {
    pub(crate) fn name(&self) -> &'static str {
        self.registration.name()
    }
}

/// Refuses a task with a size greater than zero, which cannot be a function, when code is generated for
/// a call with it. (A type of size zero may still be a closure that captures nothing, or a function that
/// is not annotated; [`find`] reports these.)
pub(crate) struct Given<F>(std::marker::PhantomData<F>);

impl<F> Given<F> {
    // `expect` is used because with `assert` the compiler would first point into the standard library.
    pub(crate) const IS_A_FUNCTION: () = Self::WITHOUT_SIZE.expect(
        "annotate a function with `#[worker]` and give its name: neither a closure that captures nor a function pointer can travel",
    );
    const WITHOUT_SIZE: Option<()> = if size_of::<F>() == 0 { Some(()) } else { None };
}

/// Finds the entry of a function by its type.
pub(crate) fn find<F>(role: Role) -> Result<Entry> {
    let table = table();
    if let Some((name, first, second)) = &table.duplicate {
        return Err(Error::new(
            ErrorKind::DuplicateName,
            format!(
                "two registered functions are named `{name}`, at {first} and at {second}; rename one"
            ),
        ));
    }
    let name = std::any::type_name::<F>();
    let at = table.by_type.binary_search_by_key(&typeid::of::<F>(), |(of, _)| *of);
    let entry = at.ok().and_then(|at| get(table.by_type[at].1));
    let attribute = match role {
        Role::Worker => "#[worker]",
        Role::Initializer => "#[initializer]",
        Role::Internal => "an entry of the library",
    };
    match entry {
        Some(entry) if entry.registration.role == role => Ok(entry),
        Some(entry) => Err(Error::new(
            ErrorKind::NotRegistered,
            format!(
                "`{name}` at {} is registered for another use; here a function with {attribute} is needed",
                entry.registration.place
            ),
        )),
        None if name.contains("{{closure}}") => Err(Error::new(
            ErrorKind::NotRegistered,
            format!(
                "the closure `{name}` cannot be sent to a worker; give a function annotated with {attribute}"
            ),
        )),
        None => Err(Error::new(
            ErrorKind::NotRegistered,
            format!("the function `{name}` is not registered; annotate it with {attribute}"),
        )),
    }
}

/// Returns the entry at an index of the table.
pub(crate) fn get(id: u32) -> Option<Entry> {
    let registration = table().sorted.get(id as usize)?;
    Some(Entry { id, registration })
}

/// Returns a hash of names and signatures, which is equal in all processes of one build.
pub(crate) fn digest() -> u64 {
    table().digest
}

/// Returns whether this program is compiled as a test.
pub(crate) fn is_test() -> bool {
    table().sorted.iter().any(|entry| entry.place.test)
}

/// Returns the sorted names of all registered tasks.
///
/// ```
/// use runtime::worker;
///
/// #[worker]
/// fn square(x: u64) -> u64 {
///     x * x
/// }
///
/// assert!(runtime::registered().iter().any(|name| name.ends_with("::square")));
/// ```
pub fn registered() -> Vec<&'static str> {
    let tasks = table().sorted.iter().filter(|entry| entry.role == Role::Worker);
    tasks.map(|entry| entry.name()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thunk(_: &mut crate::__private::Call<'_>) -> crate::__private::Outcome {
        Ok(())
    }

    const HERE: Place = Place { file: "a.rs", line: 1, column: 2, test: true };

    #[test]
    fn duplicates_are_found_with_both_places() {
        fn twice() {}
        static A: Registration = Registration::worker(&twice, thunk, HERE, "fn twice()");
        static B: Registration =
            Registration::worker(&twice, thunk, Place { line: 9, ..HERE }, "fn twice()");
        let (name, first, second) = TaskTable::new(vec![&A, &B]).duplicate.expect("same name");
        assert!(name.ends_with("::twice"));
        assert_eq!((first.line, second.line), (1, 9));
    }

    #[test]
    fn digest_follows_the_signature() {
        fn one() {}
        static A: Registration = Registration::worker(&one, thunk, HERE, "fn one()");
        static B: Registration = Registration::worker(&one, thunk, HERE, "fn one(x: u8)");
        assert_ne!(TaskTable::new(vec![&A]).digest, TaskTable::new(vec![&B]).digest);
        assert_eq!(TaskTable::new(vec![&A]).digest, TaskTable::new(vec![&A]).digest);
    }
}
