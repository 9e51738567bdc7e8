//! A process that serves actors.

mod builder;
mod process;

pub use builder::ManagerBuilder;

use std::sync::{Arc, Condvar, Mutex};

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::process::{ActorFactory, Carried, CurrentProcess, EncodedInput, ManagerShared, watch};
use super::Actor;
use super::client::{ManagerClient, random};
use super::dict::Dict;
use super::encoded::EncodedValue;
use super::kind;
use super::link;
use super::list::List;
use super::makes::Makes;
use super::proxy::Proxy;
use super::ready::{RawDict, RawList, RawValue};
use super::value::Value;
use crate::codec::{self, Sink};
use crate::error::{Error, ErrorKind, Result};
use crate::handle;
use crate::poison::IgnorePoison;
use crate::registry::{self, Role};
use crate::task::Initializer;

/// A process in which actors live.
///
/// An actor is a value of a type with [`#[actor]`](crate::actor). Its proxies implement `Clone`, can be sent
/// to any process inside of values, and call the methods of the actor. Each call returns a `Result`. Calls of
/// `&self` methods run at the same time, and calls of `&mut self` methods run alone.
///
/// ```
/// use std::collections::HashMap;
///
/// use runtime::{Manager, actor, worker};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Default, Serialize, Deserialize)]
/// struct Scores(HashMap<String, u64>);
///
/// #[actor]
/// impl Scores {
///     pub fn get(&self, name: &str) -> Option<u64> {
///         self.0.get(name).copied()
///     }
///
///     pub fn add(&mut self, name: String, points: u64) -> u64 {
///         let sum = self.0.entry(name).or_default();
///         *sum += points;
///         *sum
///     }
/// }
///
/// #[worker]
/// fn play(scores: ScoresProxy, points: u64) {
///     scores.add("ann".into(), points).expect("the manager lives");
/// }
///
/// let manager = Manager::start()?;
/// let scores = manager.serve(Scores::default())?;
/// runtime::pool().map(play, (0..10).map(|points| (scores.clone(), points)))?;
/// assert_eq!(scores.get("ann")?, Some(45));
/// # Ok::<(), runtime::Error>(())
/// ```
///
/// # Lifetimes
///
/// An actor ends when its last proxy is dropped, in whatever process, or when its manager ends. It is then
/// dropped in the process of the manager. An actor that keeps a proxy of itself does not end before its
/// manager.
///
/// Dropping the manager ends its process. Running calls may finish within the [grace](ManagerBuilder::grace)
/// time. Waiting calls, and all later ones, fail with [`ErrorKind::ActorDied`]. The process does not outlive
/// the one that started it. With [`StartMethod::Thread`](crate::StartMethod::Thread) the actors live in
/// threads of the caller, and calls that exceed the grace time are abandoned.
///
/// # Failures
///
/// A call runs at most once. If it fails, [`Error::may_have_run`] returns whether it may have run.
///
/// | event | the call | the actor |
/// |---|---|---|
/// | the method panics | fails with [`ErrorKind::Panicked`] and the report | continues in the state in which the panic left it; a method that must not leave the state half changed has to ensure this itself, or end the process |
/// | the process dies | fails with [`ErrorKind::ActorDied`] | is lost, or is created again ([`restarts`](ManagerBuilder::restarts)) |
/// | the timeout of the call expires | fails with [`ErrorKind::TimedOut`] | continues; a call that it has not begun is skipped |
/// | the caller dies | | finishes the call, or skips it |
/// | the call would wait for itself | fails with [`ErrorKind::Deadlock`] | continues |
///
/// An actor that calls itself, directly or through other actors in any process, gets the `Deadlock` error
/// immediately. Calls of actors of one manager that wait for each other in a circle are detected within half
/// a second. A call is not detected if it waits for itself through a pool, through a thread that a method has
/// started, or in a circle over two managers. Set a [timeout](ManagerBuilder::call_timeout) if that can
/// happen.
#[derive(Debug)]
pub struct Manager {
    shared: Arc<ManagerShared>,
    number: u64,
}

impl Manager {
    /// Starts a manager with default settings.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`ManagerBuilder::start`].
    pub fn start() -> Result<Manager> {
        Manager::builder().start()
    }

    /// Returns a builder for a new manager.
    pub fn builder() -> ManagerBuilder {
        ManagerBuilder::new()
    }

    pub(super) fn new(settings: ManagerBuilder) -> Result<Manager> {
        settings.check()?;
        let number = random()?;
        let restarts = settings.restarts;
        let current = CurrentProcess {
            orders: None,
            process: None,
            client: ManagerClient::of(random()?),
            factories: Vec::new(),
            is_closing: false,
            is_watched: false,
        };
        let shared = Arc::new(ManagerShared {
            settings,
            current: Mutex::new(current),
            changed: Condvar::new(),
        });
        let (orders, process) = shared.start()?;
        {
            let mut current = shared.current();
            (current.orders, current.process) = (Some(orders), Some(process));
            current.is_watched = restarts > 0;
        }
        if restarts > 0 {
            let watched = Arc::clone(&shared);
            let name = format!("{} watch", shared.settings.name).replace('\0', "");
            let thread = std::thread::Builder::new().name(name);
            thread.spawn(move || watch(&watched)).map_err(|error| {
                shared.current().is_watched = false;
                Error::start(format!("a thread that watches a manager cannot start: {error}"))
            })?;
        }
        Ok(Manager { shared, number })
    }

    /// Moves a value to the process, where it becomes an actor.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Encode`] or [`ErrorKind::Decode`] if the value cannot be encoded or decoded,
    /// [`ErrorKind::Start`] if the process has too many open files, and [`ErrorKind::ActorDied`] if the
    /// process of the manager has ended.
    pub fn serve<A: Actor + Serialize + DeserializeOwned>(&self, value: A) -> Result<A::Proxy> {
        self.make_actor::<A>(None, |sink| handle::moved::<A, _>(|| codec::encode(&value, sink)))
    }

    /// Creates an actor in the process by an initializer. The actor need not be serializable.
    ///
    /// The initializer is a function with [`#[initializer]`](crate::initializer) that returns a value of a
    /// type with [`#[actor]`](crate::actor), or a `Result` of one. It runs in a thread of the actor. `input`
    /// follows the rules of [`PoolBuilder::initializer`](crate::PoolBuilder::initializer).
    ///
    /// ```
    /// use std::collections::HashSet;
    /// use std::sync::mpsc::{Sender, channel};
    ///
    /// use runtime::{Manager, actor, initializer};
    ///
    /// struct Log(Sender<String>);
    ///
    /// #[actor]
    /// impl Log {
    ///     #[cast]
    ///     pub fn write(&mut self, line: &str) {
    ///         let _ = self.0.send(line.to_owned());
    ///     }
    /// }
    ///
    /// #[initializer]
    /// fn open(prefix: String) -> Log {
    ///     let (sender, lines) = channel();
    ///     std::thread::spawn(move || lines.iter().for_each(|line| println!("{prefix}: {line}")));
    ///     Log(sender)
    /// }
    ///
    /// let manager = Manager::start()?;
    /// let log = manager.make(open, "log".into())?;
    /// log.write("started")?;
    /// # Ok::<(), runtime::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the errors of [`serve`](Self::serve), [`ErrorKind::NotRegistered`] if the function is not
    /// registered, and [`ErrorKind::Initializer`] if it fails or panics.
    pub fn make<M, K, F>(
        &self,
        initializer: F,
        input: <F as Initializer<M>>::Input,
    ) -> Result<<F::Made as Actor>::Proxy>
    where
        F: Makes<M, K>,
    {
        drop(initializer);
        let entry = registry::find::<F>(Role::Initializer)?;
        self.make_actor::<F::Made>(Some(entry.id), |sink| codec::encode(&input, sink))
    }

    /// Creates an empty dictionary in the process.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`serve`](Self::serve).
    pub fn dict<K, V>(&self) -> Result<Dict<K, V>> {
        self.serve(RawDict::default()).map(Dict::new)
    }

    /// Creates an empty list in the process.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`serve`](Self::serve).
    pub fn list<T>(&self) -> Result<List<T>> {
        self.serve(RawList::default()).map(List::new)
    }

    /// Creates a shared value in the process.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`serve`](Self::serve).
    pub fn value<T: Serialize>(&self, value: T) -> Result<Value<T>> {
        self.serve(RawValue::new(EncodedValue::new(&value)?)).map(Value::new)
    }

    fn make_actor<A: Actor>(
        &self,
        initializer: Option<u32>,
        encode: impl FnOnce(&mut Sink<'_>) -> Result<(), codec::EncodeError>,
    ) -> Result<A::Proxy> {
        let (sender, receiver) = link::pair(link::REQUESTS)?;
        let (place, actor) = (kind::place_of::<A>(), random()?);
        let mut input = Vec::new();
        let is_made_again = initializer.is_some() && self.shared.settings.restarts > 0;
        let (encoded, objects) = handle::collect(|| match is_made_again {
            true => handle::for_many(|| encode(&mut Sink::over(&mut input))),
            false => encode(&mut Sink::over(&mut input)),
        });
        encoded.map_err(|error| {
            let text = format!("the input of an actor could not be encoded: {error}");
            Error::new(ErrorKind::Encode, text)
        })?;
        let of = kind::at(place).map_or("", |kind| kind.name());
        let order = (place, actor, receiver.clone(), initializer);
        self.shared.order(order, of, &Carried(EncodedInput(&input), &objects))?;
        let settings = &self.shared.settings;
        let mut current = self.shared.current();
        if let Some(initializer) = initializer.filter(|_| settings.restarts > 0) {
            current.factories.retain(|factory| !factory.receiver.is_gone());
            let factory = ActorFactory { place, actor, receiver, initializer, input, objects };
            current.factories.push(factory);
        }
        let pid = current.process.as_ref().map_or(0, |process| process.pid());
        drop(current);
        let proxy = Proxy::new(sender, actor, self.number, pid, settings.call_timeout);
        Ok(A::__procession_proxy(proxy))
    }

    /// Returns the process id. With [`StartMethod::Thread`](crate::StartMethod::Thread) it is that of the
    /// calling process.
    pub fn pid(&self) -> u32 {
        self.shared.current().process.as_ref().map_or(0, |process| process.pid())
    }

    /// Returns the name of the manager, set by [`ManagerBuilder::name`].
    pub fn name(&self) -> &str {
        &self.shared.settings.name
    }

    /// Returns whether the process is running.
    pub fn is_alive(&self) -> bool {
        self.shared.current().process.as_ref().is_some_and(|process| process.is_alive())
    }

    /// Kills the process without grace; it is not restarted. With
    /// [`StartMethod::Thread`](crate::StartMethod::Thread) running calls are abandoned.
    pub fn kill(&self) {
        let mut current = self.shared.current();
        current.is_closing = true;
        current.factories.clear();
        let (orders, process) = (current.orders.take(), current.process.clone());
        drop(current);
        drop(orders);
        if let Some(process) = process {
            process.kill();
        }
    }

    /// Ends the process like dropping the manager, and returns how it ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the process did not end within the [grace](ManagerBuilder::grace) time and was
    /// killed, or had died before.
    pub fn shutdown(self) -> Result<()> {
        self.end()
    }

    fn end(&self) -> Result<()> {
        let mut current = self.shared.current();
        current.is_closing = true;
        current.factories.clear();
        let (orders, process) = (current.orders.take(), current.process.clone());
        drop(current);
        self.shared.close(orders.as_ref());
        drop(orders);
        let Some(process) = process else { return Ok(()) };
        let ended = process.wait_until_ended(self.shared.settings.grace);
        if !ended {
            process.kill();
        }
        let mut current = self.shared.current();
        while current.is_watched {
            current = self.shared.changed.wait(current).ignore_poison();
        }
        drop(current.process.take());
        drop(current);
        match ended {
            true if self.shared.settings.restarts > 0 => Ok(()),
            true => process.join(),
            false => Err(Error::new(
                ErrorKind::TimedOut,
                format!(
                    "manager `{}` (pid {}) did not end within {:?} and was killed",
                    self.shared.settings.name,
                    process.pid(),
                    self.shared.settings.grace
                ),
            )),
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if self.shared.current().process.is_some() {
            let _ = self.end();
        }
    }
}
