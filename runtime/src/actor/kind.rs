//! The types with `#[actor]` and the tables of their methods.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::OnceLock;

use serde::de::DeserializeOwned;

use super::Actor;
use crate::call::{Call, Outcome, Param as _, Stop};
use crate::state;

/// An actor of any type.
#[doc(hidden)]
pub type AnyActor = dyn Any + Send + Sync;

/// An owned actor of any type.
#[doc(hidden)]
pub type BoxedActor = Box<AnyActor>;

/// Returns the actor as its own type.
#[doc(hidden)]
pub fn shared<T: 'static>(actor: &AnyActor) -> &T {
    actor.downcast_ref().expect("a table belongs to one type")
}

/// Returns the actor as its own type.
#[doc(hidden)]
pub fn exclusive<T: 'static>(actor: &mut AnyActor) -> &mut T {
    actor.downcast_mut().expect("a table belongs to one type")
}

/// A method that proxies can call.
#[doc(hidden)]
pub struct Method {
    pub(super) name: &'static str,
    pub(super) run: MethodBody,
}

/// The generated function, which decodes the parameters, calls the method and encodes its output.
#[derive(Clone, Copy)]
pub(super) enum MethodBody {
    ManagerShared(fn(&AnyActor, &mut Call<'_>) -> Outcome),
    Exclusive(fn(&mut AnyActor, &mut Call<'_>) -> Outcome),
    /// The method is disabled by `#[cfg]`.
    Absent,
}

impl Method {
    pub const fn shared(name: &'static str, run: fn(&AnyActor, &mut Call<'_>) -> Outcome) -> Self {
        Method { name, run: MethodBody::ManagerShared(run) }
    }

    pub const fn exclusive(
        name: &'static str,
        run: fn(&mut AnyActor, &mut Call<'_>) -> Outcome,
    ) -> Self {
        Method { name, run: MethodBody::Exclusive(run) }
    }

    pub const fn absent(name: &'static str) -> Self {
        Method { name, run: MethodBody::Absent }
    }
}

/// A type with `#[actor]`.
#[doc(hidden)]
pub struct ActorType {
    name: fn() -> &'static str,
    type_id: TypeId,
    pub(super) methods: &'static [Method],
    /// Decodes a value of the type, if the type can be decoded.
    pub(super) value: fn(&mut Call<'_>) -> Result<Option<BoxedActor>, Stop>,
    /// Takes the value that an initializer has created.
    pub(super) made: fn() -> Option<BoxedActor>,
}

impl ActorType {
    pub const fn new<T: Actor>(
        methods: &'static [Method],
        value: fn(&mut Call<'_>) -> Result<Option<BoxedActor>, Stop>,
    ) -> Self {
        ActorType {
            name: type_name::<T>,
            type_id: TypeId::of::<T>(),
            methods,
            value,
            made: || state::remove::<T>().map(|actor| Box::new(actor) as BoxedActor),
        }
    }

    pub(super) fn name(&self) -> &'static str {
        let name = (self.name)();
        // The predefined types are known by the names of their handles.
        name.strip_prefix("runtime::actor::ready::Raw").unwrap_or(name)
    }
}

inventory::collect!(ActorType);

struct ActorTable {
    /// The table is sorted by name, so that all processes of a build have the same table.
    sorted: Vec<&'static ActorType>,
    places: HashMap<TypeId, u32>,
}

fn table() -> &'static ActorTable {
    static TABLE: OnceLock<ActorTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut sorted: Vec<_> = inventory::iter::<ActorType>.into_iter().collect();
        sorted.sort_by_key(|kind| kind.name());
        let places = (0..).zip(&sorted).map(|(place, kind)| (kind.type_id, place)).collect();
        ActorTable { sorted, places }
    })
}

/// Returns the type at an index of the table.
pub(super) fn at(place: u32) -> Option<&'static ActorType> {
    table().sorted.get(place as usize).copied()
}

/// Returns the index of a type.
pub(super) fn place_of<T: 'static>() -> u32 {
    *table().places.get(&TypeId::of::<T>()).expect("`#[actor]` registers its type")
}

/// Selects, by method lookup, how a value of a type is decoded. The first matching implementation is used.
#[doc(hidden)]
pub struct Servable<T>(PhantomData<fn() -> T>);

impl<T> Servable<T> {
    #[allow(clippy::new_without_default, reason = "for generated code alone")]
    pub const fn new() -> Self {
        Servable(PhantomData)
    }
}

/// A type that can be decoded.
#[doc(hidden)]
pub trait ServeValue {
    fn __procession_value(&self, call: &mut Call<'_>) -> Result<Option<BoxedActor>, Stop>;
}

impl<T: Actor + DeserializeOwned> ServeValue for &Servable<T> {
    fn __procession_value(&self, call: &mut Call<'_>) -> Result<Option<BoxedActor>, Stop> {
        let actor = T::take(call, "value")?;
        call.begin()?;
        Ok(Some(Box::new(actor)))
    }
}

/// A type whose values only an initializer can create.
#[doc(hidden)]
pub trait ServeNothing {
    fn __procession_value(&self, call: &mut Call<'_>) -> Result<Option<BoxedActor>, Stop>;
}

impl<T> ServeNothing for Servable<T> {
    fn __procession_value(&self, _: &mut Call<'_>) -> Result<Option<BoxedActor>, Stop> {
        Ok(None)
    }
}
