//! The objects of the operating system that exist in this process.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::poison::IgnorePoison;
use crate::sys::generation::{PerProcess, generation};
use crate::sys::memory::{self, Mapping};

/// The id of an object, as it appears in the bytes of a value (rule H1).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ObjectId([u8; ObjectId::LEN]);

impl ObjectId {
    pub(crate) const LEN: usize = 16;

    fn random() -> io::Result<Self> {
        let mut bytes = [0; Self::LEN];
        crate::sys::random::fill(&mut bytes)?;
        Ok(ObjectId(bytes))
    }

    pub(crate) const fn from(bytes: [u8; Self::LEN]) -> Self {
        ObjectId(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(ObjectId(bytes.try_into().ok()?))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// One or more file descriptors that are sent together inside of values.
///
/// A process has each object at most once, no matter how often it receives it (rule H2).
#[derive(Debug)]
pub(crate) struct Object {
    id: ObjectId,
    fds: Vec<OwnedFd>,
    /// The first descriptor, mapped for reading.
    mapping: OnceLock<Mapping>,
    /// Like `memory`, but mapped for reading and writing.
    writable: OnceLock<Mapping>,
    /// The generation of the process in which it was created or received.
    generation: u64,
    /// Whether the object is a connection, whose peer waits for the end of the last holder (rule
    /// H7).
    connects: AtomicBool,
}

/// The last generation whose connections this process does not have (rule H7).
static LOST: AtomicU64 = AtomicU64::new(0);

/// The objects of this process. The table of a forked child is empty (rule H7).
static ALIVE: PerProcess<Mutex<HashMap<ObjectId, Weak<Object>>>> = PerProcess::new();

impl Object {
    /// Creates an object from descriptors.
    ///
    /// # Errors
    ///
    /// Fails if the kernel does not provide random numbers.
    pub(crate) fn new(fds: Vec<OwnedFd>) -> io::Result<Arc<Object>> {
        Ok(Object::received(ObjectId::random()?, fds))
    }

    /// Takes over an object of the parent of this forked process, until the returned object is
    /// dropped. Must be called before [`disconnect`].
    pub(crate) fn adopt(self: &Arc<Self>) -> Arc<Object> {
        if self.connects.load(Ordering::Relaxed) {
            let copies: io::Result<Vec<_>> = self.fds().map(|fd| fd.try_clone_to_owned()).collect();
            // Without descriptors the object cannot be decoded, which the preload reports as an
            // error.
            if let Ok(fds) = copies {
                let object = Object::received(self.id, fds);
                object.set_connects();
                return object;
            }
        }
        let mut alive = ALIVE.get().lock().ignore_poison();
        alive.insert(self.id, Arc::downgrade(self));
        Arc::clone(self)
    }

    /// Marks the object as a connection, which is closed in processes that the library forks from
    /// this one (rule H7).
    pub(crate) fn set_connects(&self) {
        self.connects.store(true, Ordering::Relaxed);
    }

    /// Returns whether this is a connection of the parent of this process, which is closed here
    /// (rule H7).
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.generation <= LOST.load(Ordering::Relaxed)
    }

    /// Registers an object that was received from another process. If this process has the object
    /// already, the received descriptors are closed.
    pub(crate) fn received(id: ObjectId, fds: Vec<OwnedFd>) -> Arc<Object> {
        let mut alive = ALIVE.get().lock().ignore_poison();
        if let Some(object) = alive.get(&id).and_then(Weak::upgrade) {
            drop(alive);
            return object;
        }
        let object = Arc::new(Object {
            id,
            fds,
            mapping: OnceLock::new(),
            writable: OnceLock::new(),
            generation: generation(),
            connects: AtomicBool::new(false),
        });
        alive.insert(id, Arc::downgrade(&object));
        object
    }

    /// Finds an object that this process has.
    pub(crate) fn find(id: ObjectId) -> Option<Arc<Object>> {
        let alive = ALIVE.get().lock().ignore_poison();
        alive.get(&id)?.upgrade()
    }

    pub(crate) fn id(&self) -> ObjectId {
        self.id
    }

    /// Returns the number of descriptors.
    pub(crate) fn len(&self) -> usize {
        self.fds.len()
    }

    /// Returns one of the descriptors.
    ///
    /// # Errors
    ///
    /// Fails if the object has fewer descriptors.
    pub(crate) fn fd(&self, at: usize) -> BorrowedFd<'_> {
        self.fds[at].as_fd()
    }

    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd)
    }

    /// Takes a single descriptor out of the object, if this is the last handle to it.
    ///
    /// # Errors
    ///
    /// Returns the object if it has other handles.
    pub(crate) fn into_fd(self: Arc<Self>) -> Result<OwnedFd, Arc<Self>> {
        let mut object = Arc::try_unwrap(self)?;
        Ok(object.fds.pop().expect("an object has descriptors"))
    }

    /// Returns the first descriptor as memory for reading, which all handles in this process share.
    ///
    /// # Errors
    ///
    /// Fails if the descriptor is not memory of a fixed size (rule H6), or cannot be mapped.
    pub(crate) fn memory(&self) -> io::Result<&Mapping> {
        if let Some(mapping) = self.mapping.get() {
            return Ok(mapping);
        }
        let (fd, size) = self.sealed()?;
        // Kernels before 6.7 do not permit a shared mapping of memory that is sealed against
        // writes.
        let mapping = Mapping::sealed(fd, size)?;
        Ok(self.mapping.get_or_init(|| mapping))
    }

    /// Like [`memory`](Self::memory), for reading and writing.
    ///
    /// # Errors
    ///
    /// Fails if the descriptor is not memory of a fixed size (rule H6), or cannot be mapped.
    #[inline]
    pub(crate) fn writable_memory(&self) -> io::Result<&Mapping> {
        match self.writable.get() {
            Some(mapping) => Ok(mapping),
            None => self.map_writable(|fd, size| Mapping::part(fd, 0, size)),
        }
    }

    /// Like [`writable_memory`](Self::writable_memory), for memory most of whose pages do not exist
    /// yet. Later calls of `writable_memory` return this mapping.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`writable_memory`](Self::writable_memory).
    pub(crate) fn sparse_memory(&self) -> io::Result<&Mapping> {
        match self.writable.get() {
            Some(mapping) => Ok(mapping),
            None => self.map_writable(Mapping::sparse),
        }
    }

    #[cold]
    fn map_writable(
        &self,
        map: fn(BorrowedFd<'_>, usize) -> io::Result<Mapping>,
    ) -> io::Result<&Mapping> {
        let (fd, size) = self.sealed()?;
        let mapping = map(fd, size)?;
        Ok(self.writable.get_or_init(|| mapping))
    }

    /// Returns the first descriptor and its size (rule H6).
    fn sealed(&self) -> io::Result<(BorrowedFd<'_>, usize)> {
        let fd = self.fd(0);
        if !memory::is_sealed(fd) {
            let text = "expected shared memory and found another file";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok((fd, crate::sys::fds::size(fd)?))
    }
}

/// Returns the connections of this process, which are closed in a forked process.
#[derive(Debug)]
pub(crate) struct Connections {
    numbers: Vec<RawFd>,
    generation: u64,
}

/// Returns the descriptors to close after a fork, which are collected before the fork.
pub(crate) fn connections() -> Connections {
    let alive = ALIVE.get().lock().ignore_poison();
    let objects: Vec<_> = alive.values().filter_map(Weak::upgrade).collect();
    drop(alive);
    let connected = objects.iter().filter(|object| object.connects.load(Ordering::Relaxed));
    let numbers = connected.flat_map(|object| object.fds().map(|fd| fd.as_raw_fd())).collect();
    Connections { numbers, generation: generation() }
}

/// Closes, in a forked child, the connections of its parent (rule H7).
pub(crate) fn disconnect(connections: &Connections) {
    LOST.store(connections.generation, Ordering::Relaxed);
    crate::sys::taken::replace(&connections.numbers);
}

impl Drop for Object {
    fn drop(&mut self) {
        let mut alive = ALIVE.get().lock().ignore_poison();
        // The entry has handles if the object was received again in the meantime. A forked process
        // has no entry.
        if alive.get(&self.id).is_some_and(|object| object.strong_count() == 0) {
            alive.remove(&self.id);
        }
    }
}
