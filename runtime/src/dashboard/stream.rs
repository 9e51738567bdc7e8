//! The messages of one connection: everything at first, and then what has changed (rule D3).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::model::{Model, cells_since};
use crate::json::JsonText;
use crate::tail;

/// The data that was sent over a connection.
#[derive(Default)]
pub(super) struct SentThings {
    /// The hashes of the things.
    things: HashMap<String, u64>,
    tick: Option<u64>,
    /// The number of log records that were sent or skipped.
    records: u64,
}

impl SentThings {
    /// Returns the next message.
    pub(super) fn message(&mut self, model: &Model) -> String {
        let mut json = JsonText::default();
        json.object(|json| {
            json.key("tick").number(model.tick());
            json.key("now").fraction(model.now());
            json.key("reset").number(self.tick.is_none());
            let gone: Vec<String> = {
                let gone = self.things.keys().filter(|name| !model.things().contains_key(*name));
                gone.cloned().collect()
            };
            json.key("gone").array(&gone, |json, name| json.string(name));
            self.things.retain(|name, _| model.things().contains_key(name));
            json.key("set").object(|json| self.write_things(model, json));
            let cells = cells_since(self.tick.unwrap_or(0), model.tick());
            json.key("lanes").object(|json| model.write_lanes(json, cells));
            let (records, next) = tail::since(self.records);
            json.key("logs").array(&records, |json, record| {
                json.object(|json| {
                    json.key("level").number(record.level);
                    json.key("line").string(&record.line);
                });
            });
            (self.tick, self.records) = (Some(model.tick()), next);
        });
        json.into_text()
    }

    fn write_things(&mut self, model: &Model, json: &mut JsonText) {
        for (name, thing) in model.things() {
            let mut hasher = DefaultHasher::new();
            thing.hash(&mut hasher);
            let hash = hasher.finish();
            match self.things.get_mut(name) {
                Some(sent) if *sent == hash => continue,
                Some(sent) => *sent = hash,
                None => {
                    self.things.insert(name.clone(), hash);
                }
            }
            json.key(name).raw(thing);
        }
    }
}
