//! In the worker: the logger that sends records to the caller.

use std::cell::Cell;
use std::fmt::Write;

use log::kv::{Error, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata};

use super::link::LogSender;
use super::{LogMessage, Origin, Record};
use crate::sys::generation::Original;
use crate::{identity, present};

thread_local! {
    /// The buffer in which this thread formats messages. It is empty while a message is being formatted.
    static TEXT: Cell<String> = const { Cell::new(String::new()) };
    /// Whether this thread forwards the records of nested workers, which contain their origin.
    static PASSES_ON: Cell<bool> = const { Cell::new(false) };
}

/// The capacity up to which the buffer is kept for the next message.
const KEPT: usize = 64 << 10;

/// Runs `act`, whose records contain their origin already.
pub(super) fn passing_on<R>(act: impl FnOnce() -> R) -> R {
    PASSES_ON.set(true);
    let outcome = act();
    PASSES_ON.set(false);
    outcome
}

/// Installs the logger, unless the process has one already or the caller has none.
pub(super) fn install(sender: LogSender, filter: u8) {
    let Some(filter) = LevelFilter::iter().find(|each| *each as u8 == filter && filter > 0) else {
        return;
    };
    let forward = Forward { sender, original: Original::here(), pid: std::process::id() };
    if log::set_boxed_logger(Box::new(forward)).is_ok() {
        log::set_max_level(filter);
    }
}

struct Forward {
    sender: LogSender,
    original: Original,
    pid: u32,
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
        // A value that is formatted may log as well, and then finds no buffer.
        let mut buffer = TEXT.try_with(Cell::take).unwrap_or_default();
        buffer.clear();
        let text = match record.args().as_str() {
            Some(text) => text,
            None => {
                // If a value cannot be formatted, the text ends before it.
                let _ = buffer.write_fmt(*record.args());
                &buffer
            }
        };
        let mut collected = FieldCollector::default();
        if !PASSES_ON.get() {
            collected.set_origin(self.pid);
        }
        // A value that cannot be formatted is left out.
        let _ = record.key_values().visit(&mut collected);
        let FieldCollector { origin, task, fields } = &collected;
        let message = Record {
            level: record.level() as u8,
            target: record.target(),
            text,
            module: record.module_path(),
            file: record.file(),
            line: record.line(),
            origin: Origin { task: origin.task.or(task.as_deref()), ..*origin },
            fields: fields.iter().map(|(key, value)| (&**key, &**value)).collect(),
        };
        // If the caller has ended, no process reads the record.
        self.sender.send(&LogMessage::Record(message));
        if buffer.capacity() <= KEPT {
            let _ = TEXT.try_with(|text| text.set(buffer));
        }
    }

    fn flush(&self) {}
}

/// The key-values of a record.
#[derive(Default)]
struct FieldCollector {
    origin: Origin<'static>,
    /// The task in the origin of a record of a nested worker.
    task: Option<String>,
    fields: Vec<(String, String)>,
}

impl FieldCollector {
    /// Sets the origin of a record of this process.
    fn set_origin(&mut self, pid: u32) {
        let input = present::input();
        self.origin = Origin {
            worker: identity::worker_id().map(|id| id as u64),
            pid: Some(u64::from(pid)),
            task: input.map(|(task, _)| task),
            index: input.map(|(_, index)| index),
        };
    }

    /// Takes a field of a nested worker that belongs to its origin, which comes first; returns `false` for other fields.
    fn take_origin(&mut self, key: &str, value: &Value<'_>) -> bool {
        if !PASSES_ON.get() {
            return false;
        }
        let number = match key {
            "worker" => &mut self.origin.worker,
            "pid" => &mut self.origin.pid,
            "index" => &mut self.origin.index,
            "task" if self.task.is_none() => {
                self.task = Some(value.to_string());
                return true;
            }
            _ => return false,
        };
        if number.is_some() || value.to_u64().is_none() {
            return false;
        }
        *number = value.to_u64();
        true
    }
}

impl<'kvs> VisitSource<'kvs> for FieldCollector {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        if !self.take_origin(key.as_str(), &value) {
            self.fields.push((key.to_string(), value.to_string()));
        }
        Ok(())
    }
}
