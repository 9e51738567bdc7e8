//! In the caller: the thread that passes the records of workers to the logger of the program.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use log::kv::{Error as KvError, Key, Source as KvSource, Value, VisitSource};
use log::{LevelFilter, Metadata};

use super::forward::{Install, passing_on};
use super::{CAPACITY, LogMessage, Record, level};
use crate::channel::{Receiver, Sender, channel};
use crate::error::{Error, Result};
use crate::poison::IgnorePoison;
use crate::registry::{self, Role};
use crate::start::{Preload, fork_lock};

/// The maximum number of records that are passed to the logger before this process may be forked.
const AT_ONCE: usize = 64;

/// The thread that reads the records of one pool.
pub(crate) struct LogReader {
    sender: Sender<LogMessage>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts to read records if the program has a logger, and returns the initializer for the workers.
///
/// # Errors
///
/// Fails if the system has no memory, descriptors or threads left.
pub(crate) fn start() -> Result<Option<(LogReader, Preload)>> {
    let filter = log::max_level();
    if filter == LevelFilter::Off {
        return Ok(None);
    }
    let (sender, receiver) = channel::<LogMessage>(CAPACITY)?;
    let entry = registry::find::<Install>(Role::Internal)?;
    let initializer = Preload::new(entry, &(&sender, filter as u8))?;
    let thread = thread::Builder::new().name("pool-logs".to_owned());
    let thread = thread.spawn(move || read(&receiver)).map_err(|error| {
        Error::start(format!("the thread that reads the logs of workers cannot start: {error}"))
    })?;
    Ok(Some((LogReader { sender, thread: Mutex::new(Some(thread)) }, initializer)))
}

impl LogReader {
    /// Passes the remaining records to the logger and ends the thread. All workers must have ended.
    pub(crate) fn stop(&self) {
        let thread = self.thread.lock().ignore_poison().take();
        let Some(thread) = thread else { return };
        if self.sender.send(LogMessage::Stop).is_ok()
            && thread.thread().id() != thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn read(receiver: &Receiver<LogMessage>) {
    let _registered = fork_lock::register();
    loop {
        // While it waits, this thread holds no lock that a forked copy of the process could need.
        receiver.poll(Duration::MAX);
        let _working = fork_lock::working();
        for _ in 0..AT_ONCE {
            match receiver.try_recv() {
                Ok(LogMessage::Record(record)) => {
                    let log = || passing_on(|| hand_on(&record));
                    // A logger that panics loses this record only.
                    let _ = catch_unwind(AssertUnwindSafe(log));
                }
                Ok(LogMessage::Stop) => return,
                Err(error) if error.is_disconnected() => return,
                Err(_) => break,
            }
        }
    }
}

fn hand_on(record: &Record) {
    let metadata = Metadata::builder().level(level(record.level)).target(&record.target).build();
    let logger = log::logger();
    if metadata.level() > log::max_level() || !logger.enabled(&metadata) {
        return;
    }
    let fields = OriginalFields(&record.fields);
    logger.log(
        &log::Record::builder()
            .metadata(metadata)
            .args(format_args!("{}", record.text))
            .module_path(record.module.as_deref())
            .file(record.file.as_deref())
            .line(record.line)
            .key_values(&fields)
            .build(),
    );
}

struct OriginalFields<'a>(&'a [(String, String)]);

impl KvSource for OriginalFields<'_> {
    fn visit<'kvs>(
        &'kvs self,
        visitor: &mut dyn VisitSource<'kvs>,
    ) -> std::result::Result<(), KvError> {
        for (key, value) in self.0 {
            visitor.visit_pair(Key::from_str(key), Value::from(value.as_str()))?;
        }
        Ok(())
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}
