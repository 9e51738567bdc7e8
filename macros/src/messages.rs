//! All mistakes that an attribute can report, and their messages.

use std::fmt;

use quote::ToTokens;

/// Which attribute stands on the function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// `#[worker]`
    Worker,
    /// `#[initializer]`
    Initializer,
    /// `#[actor]`
    Actor,
}

impl Role {
    /// The attribute's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Role::Worker => "worker",
            Role::Initializer => "initializer",
            Role::Actor => "actor",
        }
    }
}

/// What is annotated as the subject of a sentence: "a worker", "an initializer", "a method of an actor".
impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Worker => "a worker",
            Role::Initializer => "an initializer",
            Role::Actor => "a method of an actor",
        })
    }
}

/// The most parameters a function may have beside its states.
pub(crate) const MAX_ORDINARY: usize = 8;

/// The most `State` and `StateMut` parameters a function may have.
pub(crate) const MAX_STATES: usize = 3;

/// One thing that is wrong with an annotated item.
#[derive(Clone)]
pub(crate) enum Mistake {
    /// The attribute stands on something else.
    NotAFunction,
    /// A function without a body, as in a trait or an `extern` block.
    NoBody,
    /// A second `#[worker]` or `#[initializer]` on the same function.
    RegisteredTwice,
    /// An argument of the attribute that does not exist.
    UnknownArgument,
    /// An argument of the attribute that was given before.
    DuplicateArgument,
    /// `crate` without a path that can be read.
    NoPath,
    /// `self`
    Receiver,
    /// `Self`
    SelfType,
    /// In an `impl` block, without `self`.
    Associated,
    /// `async fn`
    Async,
    /// `unsafe fn`
    Unsafe,
    /// `extern fn`
    Extern,
    /// `...`
    Variadic,
    /// `<T>`
    TypeParameter,
    /// `<const N: usize>`
    ConstParameter,
    /// `<'a>`
    LifetimeParameter,
    /// A lifetime with a name in the type of a parameter.
    Lifetime(String),
    /// `impl Trait` in the type of a parameter.
    ImplParameter,
    /// `dyn Trait` in the type of a parameter.
    DynParameter,
    /// `&mut T` as the type of a parameter.
    MutableBorrow,
    /// A reference inside the type of a parameter.
    NestedBorrow,
    /// `#[cfg]` on a parameter.
    CfgParameter,
    /// `&State<T>` or `&mut State<T>`
    BorrowedState(String),
    /// A state after an ordinary parameter.
    LateState(String),
    /// More states than [`MAX_STATES`].
    TooManyStates,
    /// More parameters than [`MAX_ORDINARY`].
    TooManyParameters,
    /// A reference or a lifetime in the return type.
    ReturnedBorrow,
    /// `impl Trait` in the return type.
    ReturnedImpl,
    /// `-> !`
    NeverReturns,
    /// `#[actor]` on something else.
    NotAnImpl,
    /// `impl Trait for Type`
    TraitImpl,
    /// `impl<T> Type<T>`
    GenericImpl,
    /// The methods of something that has no name, such as a slice.
    NoName,
    /// No method that a proxy could have.
    NoMethods,
    /// `self` by value, or in a pointer.
    ByValue,
    /// A `State` in a method.
    StateOfMethod,
    /// `#[cast]` on a method that returns something.
    CastReturns,
    /// `#[cast]` on a function that no proxy has.
    CastOfNobody,
    /// `#[cast(..)]`
    CastArguments,
}

impl Mistake {
    /// What is wrong and what to do about it, for the function of this role.
    #[rustfmt::skip] // one wording a line, to be read as a table
    pub(crate) fn wording(&self, role: Role) -> String {
        use Mistake::*;

        let name = role.name();
        let (wrong, hint) = match self {
            NotAFunction => (format!("`#[{name}]` belongs on a function"), "put it on a free function, `fn name(..) -> ..`".into()),
            NoBody => (format!("{role} needs a body"), "put the attribute on a free function that calls this one".into()),
            RegisteredTwice => ("a function is registered once, as a worker or as an initializer".into(), "remove one of the attributes; a second function may call this one".into()),
            UnknownArgument => (format!("unknown argument of `#[{name}]`"), format!("the only one is `crate`, for a renamed dependency: `#[{name}(crate = path)]`")),
            DuplicateArgument => ("`crate` is given twice".into(), "remove one of the two".into()),
            NoPath => ("`crate` needs the path of the library".into(), format!("write `#[{name}(crate = path)]` or `#[{name}(crate = \"path\")]`")),
            Receiver => (format!("{role} is a free function and cannot take `self`"), "move it out of the `impl` block and pass the value as an ordinary parameter".into()),
            SelfType => (format!("{role} is a free function and cannot name `Self`"), "move it out of the `impl` block and write the name of the type".into()),
            Associated => (format!("{role} is a free function and cannot stand in an `impl` block"), "move it out; a method may call it, and it may call methods".into()),
            Async if role == Role::Worker => (format!("{role} cannot be `async`: nothing polls it in its process"), "switch on the feature `tokio` of `procession`, or make it an ordinary function that blocks on the future with your executor".into()),
            Async => (format!("{role} cannot be `async`: nothing polls it in its process"), "make it an ordinary function that blocks on the future with your executor".into()),
            Unsafe => (format!("{role} cannot be `unsafe`: it is called where nobody can promise what it asks for"), "make it a safe function with the `unsafe` block inside".into()),
            Extern => (format!("{role} cannot have a foreign calling convention"), "remove `extern`, or call this function from one without it".into()),
            Variadic => (format!("{role} cannot be variadic"), "take a slice or a `Vec`".into()),
            TypeParameter if role == Role::Actor => (format!("{role} cannot have type parameters: its process finds it by name, before any type is chosen"), "write one method for each type that calls the generic one".into()),
            TypeParameter => (format!("{role} cannot have type parameters: its process finds it by name, before any type is chosen"), format!("write one {name} for each type that calls the generic function")),
            ConstParameter => (format!("{role} cannot have const parameters: its process finds it by name, before any value is chosen"), "pass the value as an ordinary parameter".into()),
            LifetimeParameter => (format!("{role} cannot have lifetime parameters: what it borrows lives as long as the call"), "leave the lifetime out: `&T` and `Cow<'_, T>` are fine as parameters".into()),
            Lifetime(lifetime) => (format!("a parameter of {role} cannot borrow for `{lifetime}`: it is decoded in another process and lives as long as the call"), "leave the lifetime out: `&T` and `Cow<'_, T>` are fine as parameters".into()),
            ImplParameter => (format!("`impl Trait` stands for a type parameter, and {role} cannot have those"), "name the type, such as `Vec<u64>` for `impl Iterator<Item = u64>`".into()),
            DynParameter if role == Role::Actor => ("a `dyn Trait` cannot be decoded: nothing tells which type it was".into(), "name the type, or write an enum of the types it may be".into()),
            DynParameter => ("a `dyn Trait` cannot be decoded: nothing tells which type it was".into(), "name the type, or write an enum of the types it may be; `State<Box<dyn Trait>>` is fine".into()),
            MutableBorrow if role == Role::Actor => ("a parameter cannot be `&mut`: it would change a copy in another process".into(), "take the value and return it changed, or keep it in a field of the actor".into()),
            MutableBorrow => ("a parameter cannot be `&mut`: it would change a copy in another process".into(), "take the value and return it changed; what a worker process keeps is a `StateMut<T>`".into()),
            NestedBorrow => ("a borrow inside of a type cannot be decoded: nothing owns what it points to".into(), "`&str` and `&[u8]` may be borrowed inside of a type; own anything else, or borrow the whole parameter".into()),
            CfgParameter => ("a parameter cannot come and go with `cfg`".into(), "write the function twice, with `#[cfg]` on the whole of each".into()),
            BorrowedState(state) => (format!("`{state}` is passed by value"), "remove the reference; it is a handle and copies nothing".into()),
            LateState(state) => (format!("`{state}` comes before the parameters that the caller passes"), "move it to the front of the parameters".into()),
            TooManyStates => (format!("{role} can have {MAX_STATES} states at most"), "put some of them into one struct, made by one initializer".into()),
            TooManyParameters if role == Role::Actor => (format!("{role} can have {MAX_ORDINARY} parameters at most, not counting `self`"), "put some of them into a struct or a tuple".into()),
            TooManyParameters => (format!("{role} can have {MAX_ORDINARY} parameters at most, not counting states"), "put some of them into a struct or a tuple".into()),
            ReturnedBorrow => (format!("{role} cannot return a borrow: what it points to does not leave the function's process"), "return an owned value, such as `String` for `&str` or `Vec<T>` for `&[T]`".into()),
            ReturnedImpl => (format!("{role} cannot return `impl Trait`: the type must be known by name"), "name the type, such as `Vec<u64>` for `impl Iterator<Item = u64>`".into()),
            NeverReturns => (format!("{role} has to return"), "return `()`".into()),
            NotAnImpl => ("`#[actor]` belongs on an `impl` block".into(), "put it on `impl Name { .. }`, the block with the methods that the proxy is to have".into()),
            TraitImpl => ("an actor has the methods of a type, not those of a trait".into(), "put it on an `impl Name { .. }` block with methods that call those of the trait".into()),
            GenericImpl => ("an actor cannot have parameters between `<` and `>`: its process finds it by name, before any type is chosen".into(), "write a block for each type, such as `impl Table<u64> { .. }`, or a struct around it".into()),
            NoName => ("an actor is a struct or an enum with a name".into(), "write a struct around this type, and its methods in `impl Name { .. }`".into()),
            NoMethods => ("an actor needs a method that its proxy can have".into(), "make the methods `pub` that take `&self` or `&mut self`; the others are called by these alone".into()),
            ByValue => (format!("{role} takes `&self` or `&mut self`: the actor stays in its process"), "change the receiver; an actor ends when its last proxy is dropped".into()),
            StateOfMethod => (format!("{role} takes no `State`: its state is the actor itself"), "keep the value in a field of the actor, which the initializer given to `Manager::make` fills".into()),
            CastReturns => ("a `#[cast]` method cannot return anything: nobody waits for it".into(), "remove the return type, or remove `#[cast]`".into()),
            CastOfNobody => ("`#[cast]` belongs on a method that a proxy has".into(), "make it `pub` with `&self` or `&mut self`, or remove `#[cast]`".into()),
            CastArguments => ("`#[cast]` takes no arguments".into(), "write `#[cast]`".into()),
        };
        format!("{wrong}\nhelp: {hint}")
    }
}

/// The mistakes found so far.
pub(crate) struct Mistakes {
    role: Role,
    found: Option<syn::Error>,
    count: usize,
}

impl Mistakes {
    /// None yet, for a function with this role.
    pub(crate) fn of(role: Role) -> Self {
        Mistakes { role, found: None, count: 0 }
    }

    /// The role of the function.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// Notes a mistake that stands at these tokens.
    pub(crate) fn push(&mut self, at: impl ToTokens, mistake: Mistake) {
        let error = syn::Error::new_spanned(at, mistake.wording(self.role));
        self.count += 1;
        match &mut self.found {
            Some(found) => found.combine(error),
            None => self.found = Some(error),
        }
    }

    /// How many there are so far.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.found.is_none()
    }

    /// Fails with all of them at once.
    ///
    /// # Errors
    /// When there is one.
    pub(crate) fn into_result(self) -> syn::Result<()> {
        self.found.map_or(Ok(()), Err)
    }
}
