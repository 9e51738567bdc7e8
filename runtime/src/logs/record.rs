//! In the caller: passes a record to the logger of the program.

use log::Metadata;
use log::kv::{Error as KvError, Key, Source as KvSource, Value, VisitSource};

use super::{Origin, Record, level};

pub(super) fn hand_on(record: &Record<'_>) {
    let metadata = Metadata::builder().level(level(record.level)).target(record.target).build();
    let logger = log::logger();
    if metadata.level() > log::max_level() || !logger.enabled(&metadata) {
        return;
    }
    #[cfg(feature = "dashboard")]
    crate::tail::add(record.level, line(record));
    let fields = OriginalFields(record);
    logger.log(
        &log::Record::builder()
            .metadata(metadata)
            .args(format_args!("{}", record.text))
            .module_path(record.module)
            .file(record.file)
            .line(record.line)
            .key_values(&fields)
            .build(),
    );
}

/// Returns the record as one line.
#[cfg(feature = "dashboard")]
fn line(record: &Record<'_>) -> String {
    let mut fields = String::new();
    each_field(record, |name, value| {
        fields = format!("{fields}{name}={value} ");
        Ok(())
    })
    .expect("text can always grow");
    let (level, target, text) = (level(record.level), record.target, record.text);
    format!("{level:<5} {fields}{target}: {text}")
}

/// Passes the fields of a record on: first those that name its origin.
fn each_field<'r>(
    record: &'r Record<'_>,
    mut visit: impl FnMut(&'r str, Value<'r>) -> Result<(), KvError>,
) -> Result<(), KvError> {
    let Origin { worker, pid, task, index } = &record.origin;
    let origin = [
        worker.map(|worker| ("worker", Value::from(worker))),
        pid.map(|pid| ("pid", Value::from(pid))),
        task.map(|task| ("task", Value::from(task))),
        index.map(|index| ("index", Value::from(index))),
    ];
    origin.into_iter().flatten().try_for_each(|(key, value)| visit(key, value))?;
    record.fields.iter().try_for_each(|(key, value)| visit(key, Value::from(*value)))
}

struct OriginalFields<'a>(&'a Record<'a>);

impl KvSource for OriginalFields<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), KvError> {
        each_field(self.0, |key, value| visitor.visit_pair(Key::from_str(key), value))
    }

    fn count(&self) -> usize {
        let Origin { worker, pid, task, index } = &self.0.origin;
        let numbers = [worker, pid, index].into_iter().flatten().count();
        numbers + usize::from(task.is_some()) + self.0.fields.len()
    }
}
