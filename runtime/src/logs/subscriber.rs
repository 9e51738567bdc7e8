//! In the worker: the subscriber that sends spans and events to the caller.

use std::cell::RefCell;
use std::collections::HashMap;
use std::error::Error;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tracing_core::callsite::Identifier;
use tracing_core::dispatcher::{self, Dispatch};
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Current, Id, Record as SpanRecord};
use tracing_core::{Event, Interest, Level, LevelFilter, Metadata, Subscriber};

use super::LogMessage;
use super::link::LogSender;
use super::trace::{CallsiteData, ORIGIN, TraceMessage, TraceParent, TraceValue, Traced, Values};
use crate::poison::IgnorePoison;
use crate::sync::Atomics;
use crate::sys::generation::Original;
use crate::{identity, present};

/// The hashes of the callsites in which the caller is not interested; 0 in free entries.
pub(super) type DisabledCallsites = Atomics<std::sync::atomic::AtomicU64>;

/// Returns the hash by which all processes identify a callsite.
pub(super) fn hash_of(metadata: &Metadata<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (metadata.name(), metadata.target(), metadata.file(), metadata.line()).hash(&mut hasher);
    hasher.finish().max(1)
}

/// Returns the entries in which a hash can be.
pub(super) fn places(hash: u64, len: usize) -> impl Iterator<Item = usize> {
    (0..8).map(move |step| (hash as usize).wrapping_add(step) % len.max(1))
}

/// Sends spans and events to the caller.
pub(super) struct TraceForwarder {
    sender: LogSender,
    original: Original,
    level: LevelFilter,
    disabled: DisabledCallsites,
    next_span: AtomicU64,
    state: Mutex<ForwarderState>,
}

#[derive(Default)]
struct ForwarderState {
    callsites: HashMap<Identifier, Arc<KnownCallsite>>,
    spans: HashMap<u64, OpenSpan>,
}

/// A callsite that the caller knows.
struct KnownCallsite {
    number: u64,
    /// The numbers of the fields that name the origin, unless the callsite has such fields itself.
    origin: [Option<u16>; 4],
}

struct OpenSpan {
    metadata: &'static Metadata<'static>,
    handles: usize,
}

thread_local! {
    /// The spans that this thread has entered.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl TraceForwarder {
    fn new(sender: LogSender, level: LevelFilter, disabled: DisabledCallsites) -> Self {
        TraceForwarder {
            sender,
            original: Original::here(),
            level,
            disabled,
            next_span: AtomicU64::new(1),
            state: Mutex::default(),
        }
    }

    /// Makes this process use a forwarder. A forked copy of the caller has the subscriber of the caller,
    /// which only this thread can replace, and only for itself.
    pub(super) fn install(sender: LogSender, level: u8, disabled: DisabledCallsites) {
        let level = [
            LevelFilter::ERROR,
            LevelFilter::WARN,
            LevelFilter::INFO,
            LevelFilter::DEBUG,
            LevelFilter::TRACE,
        ][usize::from(level.clamp(1, 5)) - 1];
        // These belong to the process from which this one was forked.
        ENTERED.take();
        let forwarder = TraceForwarder::new(sender, level, disabled);
        let dispatch = Dispatch::new(forwarder);
        if dispatcher::set_global_default(dispatch.clone()).is_err() {
            std::mem::forget(dispatcher::set_default(&dispatch));
        }
    }

    fn send(&self, what: Traced) {
        // The messages of a process that a task forked would mix with those of its worker.
        if self.original.is_here() {
            let message = TraceMessage { pid: std::process::id(), what };
            // If the caller has ended, no process reads the message.
            self.sender.send(&LogMessage::Trace(Box::new(message)));
        }
    }

    fn is_disabled(&self, metadata: &Metadata<'_>) -> bool {
        let hash = hash_of(metadata);
        places(hash, self.disabled.len())
            .any(|place| self.disabled[place].load(Ordering::Relaxed) == hash)
    }

    /// Returns the state of a callsite in the caller; first informs the caller if it does not know the
    /// callsite.
    fn callsite(&self, metadata: &'static Metadata<'static>) -> Arc<KnownCallsite> {
        let mut state = self.state.lock().ignore_poison();
        if let Some(known) = state.callsites.get(&metadata.callsite()) {
            return Arc::clone(known);
        }
        let mut fields: Vec<String> =
            metadata.fields().iter().map(|field| field.name().to_owned()).collect();
        let origin = ORIGIN.map(|name| {
            let is_own = fields.iter().any(|field| field == name);
            (!is_own).then(|| {
                fields.push(name.to_owned());
                (fields.len() - 1) as u16
            })
        });
        let number = state.callsites.len() as u64;
        let data = CallsiteData {
            name: metadata.name().to_owned(),
            target: metadata.target().to_owned(),
            level: number_of(*metadata.level()),
            module: metadata.module_path().map(str::to_owned),
            file: metadata.file().map(str::to_owned),
            line: metadata.line(),
            is_span: metadata.is_span(),
            fields,
        };
        // Sent under the lock, so that no message of this callsite is sent before.
        self.send(Traced::Callsite(number, Box::new(data)));
        let known = Arc::new(KnownCallsite { number, origin });
        state.callsites.insert(metadata.callsite(), Arc::clone(&known));
        known
    }

    fn parent(&self, is_root: bool, explicit: Option<&Id>) -> TraceParent {
        match explicit {
            Some(parent) => TraceParent::Own(parent.into_u64()),
            None if is_root => TraceParent::None,
            None => match ENTERED.with_borrow(|entered| entered.last().copied()) {
                Some(span) => TraceParent::Own(span),
                None => match present::parent() {
                    0 => TraceParent::None,
                    parent => TraceParent::OfCall(parent),
                },
            },
        }
    }
}

/// Returns the number of a level, from 1 for errors to 5 for traces.
pub(super) fn number_of(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

/// Adds the values that name the origin.
fn add_origin(values: &mut Values, origin: [Option<u16>; 4]) {
    let input = present::input();
    let found = [
        identity::worker_id().map(|id| TraceValue::U64(id as u64)),
        Some(TraceValue::U64(u64::from(std::process::id()))),
        input.map(|(task, _)| TraceValue::Str(task.to_owned())),
        input.map(|(_, index)| TraceValue::U64(index)),
    ];
    values.extend(origin.into_iter().zip(found).filter_map(|(at, value)| Some((at?, value?))));
}

struct ValueCollector(Values);

impl ValueCollector {
    fn add(&mut self, field: &Field, value: TraceValue) {
        self.0.push((field.index() as u16, value));
    }
}

impl Visit for ValueCollector {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, TraceValue::F64(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, TraceValue::I64(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, TraceValue::U64(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.add(field, TraceValue::I128(value));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.add(field, TraceValue::U128(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, TraceValue::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, TraceValue::Str(value.to_owned()));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.add(field, TraceValue::Shown(value.to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, TraceValue::Shown(format!("{value:?}")));
    }
}

impl Subscriber for TraceForwarder {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match *metadata.level() > self.level || self.is_disabled(metadata) {
            true => Interest::never(),
            // The caller may turn out not to be interested.
            false => Interest::sometimes(),
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= self.level && self.original.is_here() && !self.is_disabled(metadata)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let metadata = attributes.metadata();
        let callsite = self.callsite(metadata);
        let span = self.next_span.fetch_add(1, Ordering::Relaxed);
        let open = OpenSpan { metadata, handles: 1 };
        self.state.lock().ignore_poison().spans.insert(span, open);
        let mut values = ValueCollector(Vec::new());
        attributes.record(&mut values);
        let mut values = values.0;
        add_origin(&mut values, callsite.origin);
        let parent = self.parent(attributes.is_root(), attributes.parent());
        self.send(Traced::NewSpan { span, callsite: callsite.number, parent, values });
        Id::from_u64(span)
    }

    fn record(&self, span: &Id, values: &SpanRecord<'_>) {
        let span = span.into_u64();
        let metadata = self.state.lock().ignore_poison().spans.get(&span).map(|span| span.metadata);
        let Some(metadata) = metadata else { return };
        let callsite = self.callsite(metadata).number;
        let mut collector = ValueCollector(Vec::new());
        values.record(&mut collector);
        self.send(Traced::Values { span, callsite, values: collector.0 });
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.send(Traced::FollowsFrom { span: span.into_u64(), from: follows.into_u64() });
    }

    fn event(&self, event: &Event<'_>) {
        let callsite = self.callsite(event.metadata());
        let mut values = ValueCollector(Vec::new());
        event.record(&mut values);
        let mut values = values.0;
        add_origin(&mut values, callsite.origin);
        let parent = self.parent(event.is_root(), event.parent());
        self.send(Traced::Event { callsite: callsite.number, parent, values });
    }

    fn enter(&self, span: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(span.into_u64()));
        self.send(Traced::Enter(span.into_u64()));
    }

    fn exit(&self, span: &Id) {
        let span = span.into_u64();
        ENTERED.with_borrow_mut(|entered| {
            if let Some(at) = entered.iter().rposition(|other| *other == span) {
                entered.remove(at);
            }
        });
        self.send(Traced::Exit(span));
    }

    fn clone_span(&self, span: &Id) -> Id {
        let mut state = self.state.lock().ignore_poison();
        if let Some(open) = state.spans.get_mut(&span.into_u64()) {
            open.handles += 1;
        }
        span.clone()
    }

    fn try_close(&self, span: Id) -> bool {
        let span = span.into_u64();
        let mut state = self.state.lock().ignore_poison();
        let Some(open) = state.spans.get_mut(&span) else { return false };
        open.handles -= 1;
        let is_last = open.handles == 0;
        if is_last {
            state.spans.remove(&span);
            drop(state);
            self.send(Traced::Close(span));
        }
        is_last
    }

    fn current_span(&self) -> Current {
        let span = ENTERED.with_borrow(|entered| entered.last().copied());
        let Some(span) = span else { return Current::none() };
        let state = self.state.lock().ignore_poison();
        state
            .spans
            .get(&span)
            .map_or_else(Current::none, |open| Current::new(Id::from_u64(span), open.metadata))
    }
}
