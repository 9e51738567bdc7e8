//! Objects of the operating system that are alive in this process.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use crate::poison::IgnorePoison;
use crate::sys::generation::{PerProcess, generation};
use crate::sys::memory::{self, Mapping};

/// Names an object in the bytes of a value (rule H1).
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

/// One or more file descriptors that travel together inside of values.
///
/// A process has each object once, however often it received it (rule H2).
#[derive(Debug)]
pub(crate) struct Object {
    id: ObjectId,
    fds: Vec<OwnedFd>,
    /// Its first descriptor, mapped for reading.
    mapping: OnceLock<Mapping>,
    /// Like `memory`, but mapped for reading and writing.
    writable: OnceLock<Mapping>,
    /// The process that it was made or received in.
    generation: u64,
    /// Others are told when nobody has it any more (rule H7).
    connects: AtomicBool,
}

/// The last generation whose connections this process does not have (rule H7).
static LOST: AtomicU64 = AtomicU64::new(0);

/// The objects of this process. The table of a forked child is empty (rule H7).
static ALIVE: PerProcess<Mutex<HashMap<ObjectId, Weak<Object>>>> = PerProcess::new();

impl Object {
    /// Makes an object of descriptors.
    ///
    /// # Errors
    ///
    /// If the kernel has no random numbers.
    pub(crate) fn new(fds: Vec<OwnedFd>) -> io::Result<Arc<Object>> {
        Ok(Object::received(ObjectId::random()?, fds))
    }

    /// Takes over an object of the process that this one was forked from, for as long as the returned one lives. Has to be
    /// called before [`disconnect`].
    pub(crate) fn adopt(self: &Arc<Self>) -> Arc<Object> {
        if self.connects.load(Ordering::Relaxed) {
            let copies: io::Result<Vec<_>> = self.fds().map(|fd| fd.try_clone_to_owned()).collect();
            // Without descriptors it cannot be decoded, which is an error of the preload.
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

    /// Has the object closed in processes that the library forks from this one (rule H7).
    pub(crate) fn set_connects(&self) {
        self.connects.store(true, Ordering::Relaxed);
    }

    /// Whether it is that of a process which this one was forked from, and closed here (rule H7).
    #[inline]
    pub(crate) fn is_lost(&self) -> bool {
        self.generation <= LOST.load(Ordering::Relaxed)
    }

    /// Takes an object in that came from another process. If it is here already, the
    /// descriptors that came with it are closed.
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

    /// Returns the number of its descriptors.
    pub(crate) fn len(&self) -> usize {
        self.fds.len()
    }

    /// One of its descriptors.
    ///
    /// # Panics
    ///
    /// If it has fewer.
    pub(crate) fn fd(&self, at: usize) -> BorrowedFd<'_> {
        self.fds[at].as_fd()
    }

    pub(crate) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd)
    }

    /// Gives a single descriptor away, if this is the last handle to the object.
    ///
    /// # Errors
    ///
    /// Returns the object if others have it too.
    pub(crate) fn into_fd(self: Arc<Self>) -> Result<OwnedFd, Arc<Self>> {
        let mut object = Arc::try_unwrap(self)?;
        Ok(object.fds.pop().expect("an object has descriptors"))
    }

    /// Its first descriptor as memory to read, which all handles to it in this process share.
    ///
    /// # Errors
    ///
    /// If it is no memory whose size is fixed (rule H6), or cannot be mapped.
    pub(crate) fn memory(&self) -> io::Result<&Mapping> {
        if let Some(mapping) = self.mapping.get() {
            return Ok(mapping);
        }
        let (fd, size) = self.sealed()?;
        // Kernels before 6.7 share none whose bytes are sealed.
        let mapping = Mapping::sealed(fd, size)?;
        Ok(self.mapping.get_or_init(|| mapping))
    }

    /// The same as memory to read and to write.
    ///
    /// # Errors
    ///
    /// If it is no memory whose size is fixed (rule H6), or cannot be mapped.
    #[inline]
    pub(crate) fn writable_memory(&self) -> io::Result<&Mapping> {
        match self.writable.get() {
            Some(mapping) => Ok(mapping),
            None => self.map_writable(|fd, size| Mapping::part(fd, 0, size)),
        }
    }

    /// The same for memory of which most pages do not exist yet. [`writable_memory`](Self::writable_memory) returns this
    /// mapping afterwards.
    ///
    /// # Errors
    ///
    /// As [`writable_memory`](Self::writable_memory).
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

    /// Its first descriptor and its size (rule H6).
    fn sealed(&self) -> io::Result<(BorrowedFd<'_>, usize)> {
        let fd = self.fd(0);
        if !memory::is_sealed(fd) {
            let text = "expected shared memory and found another file";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        Ok((fd, crate::sys::fds::size(fd)?))
    }
}

/// The connections of this process, to be closed in one that is forked from it.
#[derive(Debug)]
pub(crate) struct Connections {
    numbers: Vec<RawFd>,
    generation: u64,
}

/// The descriptors to close after a fork, collected before the fork.
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
        // Received anew since the last handle to this one went, or of another process.
        if alive.get(&self.id).is_some_and(|object| object.strong_count() == 0) {
            alive.remove(&self.id);
        }
    }
}
