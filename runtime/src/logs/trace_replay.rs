//! In the caller: passes the spans and events of workers to the subscriber of the program.
//!
//! A subscriber identifies a callsite by its address, and keeps references to its metadata. Callsites of
//! workers are therefore created at run time and never freed: one for each callsite in the source, regardless
//! of the number of workers, and at most [`MOST_CALLSITES`].

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock};

use tracing_core::callsite::{Callsite, Identifier};
use tracing_core::dispatcher::{self, Dispatch};
use tracing_core::field::{FieldSet, Value, debug};
use tracing_core::metadata::Kind;
use tracing_core::span::{Attributes, Id, Record as SpanRecord};
use tracing_core::subscriber::NoSubscriber;
use tracing_core::{Event, Interest, Level, LevelFilter, Metadata};

use super::subscriber::{DisabledCallsites, hash_of, number_of, places};
use super::trace::{CallsiteData, TraceMessage, TraceParent, TraceValue, Traced, Values};
use crate::error::Result;
use crate::poison::IgnorePoison;

/// The maximum number of callsites of workers. Those beyond it are left out.
const MOST_CALLSITES: usize = 1 << 14;

/// The number of entries for the hashes of callsites in which the subscriber is not interested.
const PLACES: usize = 1 << 13;

/// A callsite of workers.
struct RemoteCallsite {
    metadata: OnceLock<Metadata<'static>>,
}

impl Callsite for RemoteCallsite {
    fn set_interest(&self, _: Interest) {}

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata.get().expect("it is set before the callsite is used")
    }
}

static CALLSITES: Mutex<Option<HashMap<CallsiteData, &'static RemoteCallsite>>> = Mutex::new(None);

/// Returns the callsite of a description, which is created only once.
fn callsite_of(data: &CallsiteData) -> Option<&'static RemoteCallsite> {
    let mut callsites = CALLSITES.lock().ignore_poison();
    let callsites = callsites.get_or_insert_default();
    if let Some(known) = callsites.get(data) {
        return Some(known);
    }
    if callsites.len() >= MOST_CALLSITES {
        return None;
    }
    let leak = |text: &String| -> &'static str { Box::leak(text.clone().into_boxed_str()) };
    let made: &'static RemoteCallsite =
        Box::leak(Box::new(RemoteCallsite { metadata: OnceLock::new() }));
    let names: Vec<&'static str> = data.fields.iter().map(leak).collect();
    let fields = FieldSet::new(Box::leak(names.into_boxed_slice()), Identifier(made));
    let level = match data.level {
        1 => Level::ERROR,
        2 => Level::WARN,
        3 => Level::INFO,
        4 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let kind = if data.is_span { Kind::SPAN } else { Kind::EVENT };
    let (file, module) = (data.file.as_ref().map(leak), data.module.as_ref().map(leak));
    let (name, target) = (leak(&data.name), leak(&data.target));
    let metadata = Metadata::new(name, target, level, file, data.line, module, fields, kind);
    made.metadata.get_or_init(|| metadata);
    callsites.insert(data.clone(), made);
    Some(made)
}

/// Passes the messages of the workers of one pool to the subscriber of the program.
pub(super) struct TraceReplay {
    dispatch: Dispatch,
    disabled: DisabledCallsites,
    /// The callsites by process and number; `None` if the subscriber is not interested.
    callsites: HashMap<(u32, u64), Option<&'static Metadata<'static>>>,
    spans: HashMap<(u32, u64), RemoteSpan>,
}

/// A span of a worker.
struct RemoteSpan {
    /// Its id in this process, or that of the next outer span in which the subscriber is interested.
    id: Option<Id>,
    is_own: bool,
}

impl TraceReplay {
    /// Passes messages to the subscriber of the calling thread, if there is one.
    ///
    /// # Errors
    ///
    /// Fails if there is no memory for the table that the workers read.
    pub(super) fn of_program() -> Result<Option<Self>> {
        let dispatch = dispatcher::get_default(Dispatch::clone);
        if dispatch.is::<NoSubscriber>() || LevelFilter::current() == LevelFilter::OFF {
            return Ok(None);
        }
        let disabled = DisabledCallsites::zeroed(PLACES)?;
        let (callsites, spans) = (HashMap::new(), HashMap::new());
        Ok(Some(TraceReplay { dispatch, disabled, callsites, spans }))
    }

    /// Returns the data that the workers need.
    pub(super) fn setup(&self) -> (u8, DisabledCallsites) {
        let level = LevelFilter::current().into_level().map_or(0, number_of);
        (level, self.disabled.clone())
    }

    pub(super) fn hand_on(&mut self, message: &TraceMessage) {
        let pid = message.pid;
        match message.what {
            Traced::Callsite(number, ref data) => self.add_callsite(pid, number, data),
            Traced::NewSpan { span, callsite, parent, ref values } => {
                let parent = self.parent(pid, parent);
                let id = self.new_span(pid, callsite, parent.as_ref(), values);
                let is_own = id.is_some();
                self.spans.insert((pid, span), RemoteSpan { id: id.or(parent), is_own });
            }
            Traced::Values { span, callsite, ref values } => {
                let metadata = self.callsites.get(&(pid, callsite)).copied().flatten();
                if let (Some(id), Some(metadata)) = (self.own(pid, span), metadata) {
                    with_values(metadata, values, |set| {
                        self.dispatch.record(id, &SpanRecord::new(set));
                    });
                }
            }
            Traced::FollowsFrom { span, from } => {
                if let (Some(id), Some(from)) = (self.own(pid, span), self.own(pid, from)) {
                    self.dispatch.record_follows_from(id, from);
                }
            }
            Traced::Enter(span) => {
                self.own(pid, span).into_iter().for_each(|id| self.dispatch.enter(id));
            }
            Traced::Exit(span) => {
                self.own(pid, span).into_iter().for_each(|id| self.dispatch.exit(id));
            }
            Traced::Close(span) => {
                if let Some(RemoteSpan { id: Some(id), is_own: true }) =
                    self.spans.remove(&(pid, span))
                {
                    self.dispatch.try_close(id);
                }
            }
            Traced::Event { callsite, parent, ref values } => {
                let Some(metadata) = self.enabled(pid, callsite) else { return };
                let parent = self.parent(pid, parent);
                with_values(metadata, values, |set| {
                    self.dispatch.event(&Event::new_child_of(parent, metadata, set));
                });
            }
        }
    }

    /// Closes a span of this process that was kept open for the workers.
    pub(super) fn close(&self, span: u64) {
        self.dispatch.try_close(Id::from_u64(span));
    }

    /// Closes the spans of workers that died in them.
    pub(super) fn close_all(&mut self) {
        for (_, span) in self.spans.drain() {
            if let RemoteSpan { id: Some(id), is_own: true } = span {
                self.dispatch.try_close(id);
            }
        }
    }

    fn add_callsite(&mut self, pid: u32, number: u64, data: &CallsiteData) {
        let metadata = callsite_of(data).and_then(|callsite| callsite.metadata.get());
        let is_never = |metadata: &&'static Metadata<'static>| {
            self.dispatch.register_callsite(metadata).is_never()
        };
        let wanted = metadata.filter(|metadata| !is_never(metadata));
        if let Some(metadata) = metadata
            && wanted.is_none()
        {
            // The workers send no more messages about it.
            let hash = hash_of(metadata);
            for place in places(hash, self.disabled.len()) {
                let entry = &self.disabled[place];
                let is_set = entry.compare_exchange(0, hash, Ordering::Relaxed, Ordering::Relaxed);
                if is_set.is_ok_and(|_| true) || entry.load(Ordering::Relaxed) == hash {
                    break;
                }
            }
        }
        self.callsites.insert((pid, number), wanted);
    }

    /// Returns the metadata of a callsite, if the subscriber is interested in its current contents.
    fn enabled(&self, pid: u32, callsite: u64) -> Option<&'static Metadata<'static>> {
        let metadata = self.callsites.get(&(pid, callsite)).copied().flatten();
        metadata.filter(|metadata| self.dispatch.enabled(metadata))
    }

    fn new_span(
        &self,
        pid: u32,
        callsite: u64,
        parent: Option<&Id>,
        values: &Values,
    ) -> Option<Id> {
        let metadata = self.enabled(pid, callsite)?;
        let mut id = None;
        with_values(metadata, values, |set| {
            let attributes = match parent {
                Some(parent) => Attributes::child_of(parent.clone(), metadata, set),
                None => Attributes::new_root(metadata, set),
            };
            id = Some(self.dispatch.new_span(&attributes));
        });
        id
    }

    fn own(&self, pid: u32, span: u64) -> Option<&Id> {
        self.spans.get(&(pid, span)).filter(|span| span.is_own)?.id.as_ref()
    }

    fn parent(&self, pid: u32, parent: TraceParent) -> Option<Id> {
        match parent {
            TraceParent::Own(span) => self.spans.get(&(pid, span))?.id.clone(),
            TraceParent::OfCall(span) if span != 0 => Some(Id::from_u64(span)),
            TraceParent::OfCall(_) | TraceParent::None => None,
        }
    }
}

/// A text that is shown without quotation marks.
struct Shown<'a>(&'a str);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// Calls `act` with the values of the fields of a callsite.
fn with_values(
    metadata: &'static Metadata<'static>,
    values: &Values,
    act: impl FnOnce(&tracing_core::field::ValueSet<'_>),
) {
    let fields = metadata.fields();
    let mut boxed: Vec<Option<Box<dyn Value + '_>>> = (0..fields.len()).map(|_| None).collect();
    for (at, value) in values {
        if let Some(place) = boxed.get_mut(usize::from(*at)) {
            *place = Some(match value {
                TraceValue::I64(value) => Box::new(*value),
                TraceValue::U64(value) => Box::new(*value),
                TraceValue::I128(value) => Box::new(*value),
                TraceValue::U128(value) => Box::new(*value),
                TraceValue::F64(value) => Box::new(*value),
                TraceValue::Bool(value) => Box::new(*value),
                TraceValue::Str(value) => Box::new(value.as_str()),
                TraceValue::Shown(value) => Box::new(debug(Shown(value))),
            });
        }
    }
    let all: Vec<Option<&dyn Value>> = boxed.iter().map(Option::as_deref).collect();
    act(&fields.value_set_all(&all));
}
