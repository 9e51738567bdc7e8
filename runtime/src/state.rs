//! The values of initializers, and how tasks access them.
//!
//! A worker keeps one value per type in a thread-local table. `State` shares it with the task, and
//! `StateMut` takes it out of the table while the task runs.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::sys::original::Original;

/// Shared access to a value that an initializer or preload has returned.
///
/// A task takes it as its first parameter, or as one of its first three; it is not part of the input.
/// It dereferences to `T` and is cheap to clone.
///
/// The value of an initializer belongs to one worker. The value of a preload is shared by all workers,
/// copy-on-write with `ForkServer` and `Fork`, and by reference with `Thread`. After
/// [`Pool::refork`](crate::Pool::refork) the values of initializers are shared in the same way as those of
/// preloads.
///
/// # When the value is dropped
///
/// Only the process that created the value drops it, once, and only if that process ends in an orderly
/// way.
///
/// | created by | start method | dropped |
/// |---|---|---|
/// | an initializer | any | by its worker when it leaves: at [`Pool::join`](crate::Pool::join), at the end of the pool, after [`max_tasks_per_worker`](crate::PoolBuilder::max_tasks_per_worker), [`idle_timeout`](crate::PoolBuilder::idle_timeout) or [`resize`](crate::Pool::resize) |
/// | an initializer, by [`refork`](crate::Pool::refork) | `ForkServer`, `Fork` | by the template when it ends: at the end of the pool, or when all workers of a later template have replaced its own |
/// | a preload | `ForkServer`, `Fork` | by the server or template when it ends, not by the workers that were forked from it |
/// | a preload | `Spawn` | by each worker when it leaves, as with an initializer |
/// | a preload | `Thread` | at the end of the pool |
///
/// `Drop` does not run in a worker that is killed or crashes, for instance after a timeout or by
/// [`Pool::terminate`](crate::Pool::terminate), nor in processes that a task forks. It does run if a
/// task in a worker process calls `std::process::exit`. A leaving worker is killed if `Drop` exceeds its
/// [`leave_timeout`](crate::PoolBuilder::leave_timeout), and a server is killed after one second.
///
/// # Examples
///
/// ```
/// use runtime::{Pool, State, initializer, worker};
///
/// struct Model(Vec<f64>);
///
/// #[initializer]
/// fn load(weights: Vec<f64>) -> Model {
///     Model(weights)
/// }
///
/// #[worker]
/// fn predict(model: State<Model>, x: f64) -> f64 {
///     model.0.iter().map(|weight| weight * x).sum()
/// }
///
/// let pool = Pool::builder().workers(2).initializer(load, vec![1.0, 2.0]).build()?;
/// assert_eq!(pool.map(predict, [1.0, 10.0])?, [3.0, 30.0]);
/// # Ok::<(), runtime::Error>(())
/// ```
pub struct State<T>(Arc<T>);

impl<T> State<T> {
    /// Creates a state outside of a worker, for calling a task as an ordinary function.
    ///
    /// ```
    /// use runtime::{State, worker};
    ///
    /// #[worker]
    /// fn scaled(factor: State<f64>, x: f64) -> f64 {
    ///     *factor * x
    /// }
    ///
    /// assert_eq!(scaled(State::new(2.0), 4.0), 8.0);
    /// ```
    pub fn new(value: T) -> Self {
        State(Arc::new(value))
    }
}

impl<T> Clone for State<T> {
    fn clone(&self) -> Self {
        State(Arc::clone(&self.0))
    }
}

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for State<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("State").field(&**self).finish()
    }
}

/// Exclusive access to a value that an initializer or preload has returned, such as a cache or a
/// connection.
///
/// A task takes it as one of its first three parameters; it is not part of the input. The value lives
/// as long as its worker, and [`State`](State#when-the-value-is-dropped) describes when it is dropped.
/// If a task panics while it has a `StateMut`, its worker is replaced, because the value may be
/// inconsistent.
///
/// ```
/// use runtime::{Pool, StateMut, initializer, worker};
///
/// #[initializer]
/// fn counter() -> u64 {
///     0
/// }
///
/// #[worker]
/// fn count(mut seen: StateMut<u64>, step: u64) -> u64 {
///     *seen += step;
///     *seen
/// }
///
/// let pool = Pool::builder().workers(1).initializer(counter, ()).build()?;
/// assert_eq!(pool.map(count, [1, 2, 3])?, [1, 3, 6]);
/// # Ok::<(), runtime::Error>(())
/// ```
pub struct StateMut<T: 'static>(Option<Arc<T>>, Original);

impl<T: 'static> StateMut<T> {
    /// Creates a state outside of a worker, for calling a task as an ordinary function.
    ///
    /// ```
    /// use runtime::{StateMut, worker};
    ///
    /// #[worker]
    /// fn count(mut seen: StateMut<u64>, step: u64) -> u64 {
    ///     *seen += step;
    ///     *seen
    /// }
    ///
    /// assert_eq!(count(StateMut::new(1), 2), 3);
    /// ```
    pub fn new(value: T) -> Self {
        StateMut(Some(Arc::new(value)), Original::here())
    }
}

impl<T: 'static> Deref for StateMut<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_ref().expect("present until drop")
    }
}

impl<T: 'static> DerefMut for StateMut<T> {
    fn deref_mut(&mut self) -> &mut T {
        let value = self.0.as_mut().expect("present until drop");
        Arc::get_mut(value).expect("unique since it was taken")
    }
}

impl<T: 'static> Drop for StateMut<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            HALF_CHANGED.set(true);
        }
        // Outside of a worker, or on another thread, there is no slot to return the value to.
        let _ = SLOTS.try_with(|slots| {
            if let Ok(mut slots) = slots.try_borrow_mut()
                && let Some(slot) = slots.get_mut(&TypeId::of::<T>())
                && let Some(cell) = slot.value.downcast_mut::<Option<Arc<T>>>()
                && cell.is_none()
            {
                *cell = self.0.take();
            }
        });
        if !self.1.is_here() {
            std::mem::forget(self.0.take());
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for StateMut<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StateMut").field(&**self).finish()
    }
}

struct StateSlot {
    /// An `Option<Arc<T>>`, which is `None` while a `StateMut` has the value.
    value: Box<dyn Any>,
    /// Shares the value with other threads; only for `Send + Sync` values.
    share: Option<fn(&dyn Any) -> Option<Share>>,
    /// The process that created the value.
    original: Original,
    /// The index of the initializer that created it; none for a value that other threads have.
    maker: Option<u32>,
}

impl Drop for StateSlot {
    /// Drops the value only in the process that created it, and not in workers that were forked after
    /// a preload or in processes that a task has forked.
    fn drop(&mut self) {
        if !self.original.is_here() {
            std::mem::forget(std::mem::replace(&mut self.value, Box::new(())));
        }
    }
}

/// A function that inserts a value into the table of the calling thread.
pub(crate) type Share = Arc<dyn Fn() + Send + Sync>;

thread_local! {
    static SLOTS: RefCell<HashMap<TypeId, StateSlot>> = RefCell::default();
    static MAKER: std::cell::Cell<Option<u32>> = const { std::cell::Cell::new(None) };
    static TWICE: std::cell::Cell<Option<Twice>> = const { std::cell::Cell::new(None) };
    static HALF_CHANGED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// The error that two initializers return values of one type: the type, and the first of them if it is
/// known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twice {
    pub(crate) of: &'static str,
    pub(crate) first: Option<u32>,
}

/// Runs an initializer, and returns the error if it has created a value of a type that exists already.
pub(crate) fn made_by<R>(initializer: u32, run: impl FnOnce() -> R) -> (R, Option<Twice>) {
    MAKER.set(Some(initializer));
    TWICE.set(None);
    let outcome = run();
    MAKER.set(None);
    (outcome, TWICE.take())
}

fn insert<T: 'static>(value: Arc<T>, share: Option<fn(&dyn Any) -> Option<Share>>) {
    let value: Box<dyn Any> = Box::new(Some(value));
    let slot = StateSlot { value, share, original: Original::here(), maker: MAKER.get() };
    // Dropped outside of the borrow, because its destructor may use other states.
    let before = SLOTS.with_borrow_mut(|slots| slots.insert(TypeId::of::<T>(), slot));
    // The unit value of initializers that return nothing does not count.
    if let Some(before) = before.as_ref().filter(|_| TypeId::of::<T>() != TypeId::of::<()>()) {
        TWICE.set(Some(Twice { of: std::any::type_name::<T>(), first: before.maker }));
    }
    drop(before);
}

/// Keeps a value for the tasks of this worker, and replaces an earlier one of the same type.
pub(crate) fn keep_local<T: 'static>(value: T) {
    insert(Arc::new(value), None);
}

/// Like `keep_local`, for a value that other threads may share.
pub(crate) fn keep<T: Send + Sync + 'static>(value: T) {
    fn share<T: Send + Sync + 'static>(cell: &dyn Any) -> Option<Share> {
        let value = cell.downcast_ref::<Option<Arc<T>>>()?.clone()?;
        Some(Arc::new(move || insert(Arc::clone(&value), Some(share::<T>))))
    }
    insert(Arc::new(value), Some(share::<T>));
}

/// Returns the values of this thread for other threads to [adopt](adopt), or `None` if threads may not
/// share one of them.
pub(crate) fn share_all() -> Option<Vec<Share>> {
    SLOTS.with_borrow(|slots| {
        slots.values().map(|slot| slot.share.and_then(|share| share(&*slot.value))).collect()
    })
}

/// Inserts the values that another thread shares.
pub(crate) fn adopt(shares: &[Share]) {
    shares.iter().for_each(|share| share());
}

/// Drops all values of this thread, at the end of a worker.
pub(crate) fn clear() {
    let slots = SLOTS.with_borrow_mut(std::mem::take);
    drop(slots);
}

/// Returns whether a task panicked while it had a `StateMut`, and resets the answer.
pub(crate) fn half_changed() -> bool {
    HALF_CHANGED.replace(false)
}

/// The reason why a state is not available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No initializer creates it.
    Never,
    /// Another parameter of the task has it, or a value that outlived its task.
    InUse,
}

fn with_cell<T: 'static, R>(
    get: impl FnOnce(&mut Option<Arc<T>>, Original) -> Result<R, Missing>,
) -> Result<R, Missing> {
    SLOTS.with_borrow_mut(|slots| {
        let slot = slots.get_mut(&TypeId::of::<T>()).ok_or(Missing::Never)?;
        let original = slot.original;
        get(slot.value.downcast_mut().expect("slots are keyed by type"), original)
    })
}

pub(crate) fn get<T: 'static>() -> Result<State<T>, Missing> {
    with_cell(|cell, _| cell.clone().map(State).ok_or(Missing::InUse))
}

pub(crate) fn take<T: 'static>() -> Result<StateMut<T>, Missing> {
    with_cell(|cell, original| {
        let mut value = cell.take().ok_or(Missing::InUse)?;
        if Arc::get_mut(&mut value).is_none() {
            *cell = Some(value);
            return Err(Missing::InUse);
        }
        Ok(StateMut(Some(value), original))
    })
}

/// Takes a value out of the table of this thread, if no other reference to it exists.
pub(crate) fn remove<T: 'static>() -> Option<T> {
    let mut slot = SLOTS.with_borrow_mut(|slots| slots.remove(&TypeId::of::<T>()))?;
    let value = slot.value.downcast_mut::<Option<Arc<T>>>().expect("slots are keyed by type");
    value.take().and_then(Arc::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_owned() {
        keep(String::from("a"));
        assert_eq!(remove::<String>().as_deref(), Some("a"));
        assert_eq!(remove::<String>(), None);
        keep(7_u8);
        let held = get::<u8>().unwrap();
        assert_eq!(remove::<u8>(), None, "others have it");
        assert_eq!(*held, 7);
    }

    #[test]
    fn taken_once_and_put_back() {
        keep(7_u8);
        let mut held = take::<u8>().unwrap();
        assert_eq!(take::<u8>().unwrap_err(), Missing::InUse);
        assert_eq!(get::<u8>().unwrap_err(), Missing::InUse);
        *held += 1;
        drop(held);
        assert_eq!(*get::<u8>().unwrap(), 8);
    }

    #[test]
    fn a_shared_state_cannot_be_taken() {
        keep(String::from("a"));
        let shared = get::<String>().unwrap();
        assert_eq!(take::<String>().unwrap_err(), Missing::InUse);
        drop(shared);
        assert!(take::<String>().is_ok());
        assert_eq!(get::<u16>().unwrap_err(), Missing::Never);
    }

    #[test]
    fn only_sendable_values_are_shared() {
        keep(1_u32);
        let shares = share_all().unwrap();
        std::thread::spawn(move || {
            adopt(&shares);
            assert_eq!(*get::<u32>().unwrap(), 1);
        })
        .join()
        .unwrap();
        keep_local(std::rc::Rc::new(1));
        assert!(share_all().is_none());
    }
}
