//! In the worker: the logger that sends records to the caller.

use std::cell::Cell;

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata};

use super::{LogMessage, Record};
use crate::channel::Sender;
use crate::sys::generation::Original;
use crate::{identity, present};

thread_local! {
    /// Whether this thread forwards the records of nested workers, which contain their origin.
    static PASSES_ON: Cell<bool> = const { Cell::new(false) };
}

/// Runs `act`, whose records contain their origin already.
pub(super) fn passing_on<R>(act: impl FnOnce() -> R) -> R {
    PASSES_ON.set(true);
    let outcome = act();
    PASSES_ON.set(false);
    outcome
}

/// Installs the logger, unless the process has one already or the caller has none.
pub(super) fn install(sender: Sender<LogMessage>, filter: u8) {
    let Some(filter) = LevelFilter::iter().find(|each| *each as u8 == filter && filter > 0) else {
        return;
    };
    let forward = Forward { sender, original: Original::here() };
    if log::set_boxed_logger(Box::new(forward)).is_ok() {
        log::set_max_level(filter);
    }
}

struct Forward {
    sender: Sender<LogMessage>,
    original: Original,
}

impl Log for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record<'_>) {
        // The records of a process that a task forked would mix with those of its worker.
        if !self.enabled(record.metadata()) || !self.original.is_here() {
            return;
        }
        let mut fields = if PASSES_ON.get() { Vec::new() } else { origin() };
        // A value that cannot be formatted is left out.
        let _ = record.key_values().visit(&mut FieldCollector(&mut fields));
        let record = Record {
            level: record.level() as u8,
            target: record.target().to_owned(),
            text: record.args().to_string(),
            module: record.module_path().map(str::to_owned),
            file: record.file().map(str::to_owned),
            line: record.line(),
            fields,
        };
        // If the caller has ended, no process reads the record.
        let _ = self.sender.send(LogMessage::Record(Box::new(record)));
    }

    fn flush(&self) {}
}

/// The fields that name the origin of a record.
fn origin() -> Vec<(String, String)> {
    let worker = identity::worker_id().map(|id| ("worker", id.to_string()));
    let pid = Some(("pid", std::process::id().to_string()));
    let present = present::input();
    let task = present.map(|(task, _)| ("task", task.to_owned()));
    let index = present.map(|(_, index)| ("index", index.to_string()));
    let fields = [worker, pid, task, index].into_iter().flatten();
    fields.map(|(key, value)| (key.to_owned(), value)).collect()
}

struct FieldCollector<'a>(&'a mut Vec<(String, String)>);

impl<'kvs> VisitSource<'kvs> for FieldCollector<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}
