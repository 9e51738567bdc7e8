//! In the caller: passes a record to the logger of the program.

use log::Metadata;
use log::kv::{Error as KvError, Key, Source as KvSource, Value, VisitSource};

use super::{Record, level};

pub(super) fn hand_on(record: &Record) {
    let metadata = Metadata::builder().level(level(record.level)).target(&record.target).build();
    let logger = log::logger();
    if metadata.level() > log::max_level() || !logger.enabled(&metadata) {
        return;
    }
    #[cfg(feature = "dashboard")]
    crate::tail::add(record.level, line(record));
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

/// The record as one line.
#[cfg(feature = "dashboard")]
fn line(record: &Record) -> String {
    let fields = record.fields.iter().map(|(name, value)| format!("{name}={value} "));
    let (level, target, text) = (level(record.level), &record.target, &record.text);
    format!("{level:<5} {}{target}: {text}", fields.collect::<String>())
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
