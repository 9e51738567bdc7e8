//! Spans and events of workers reach the subscriber of the caller.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use procession_tests::{EXECUTED, PROCESSES, StartMethod, conformance, pool, wait};
use runtime::{ErrorKind, Pool, initializer, worker};
use tracing::field::{Empty, Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

conformance! {
    PROCESSES => [
        an_event_arrives_as_it_was_with_its_origin,
        spans_nest_and_close,
        the_span_of_the_call_is_the_parent,
        the_span_of_a_call_stays_open_for_its_tasks,
        events_of_many_workers_arrive_whole_and_in_order,
        the_last_events_of_a_killed_worker_arrive,
        what_is_below_the_level_is_not_even_formatted,
        what_the_subscriber_never_wants_is_no_longer_sent,
        spans_of_nested_pools_keep_their_origin,

        a_subscriber_that_panics_loses_one_event,
        initializers_trace,
    ];
    // A copy of the caller has a copy of its subscriber on other threads.
    EXECUTED => [threads_of_a_task_trace];
    PROCESSES => [a_program_without_a_subscriber_has_no_thread_for_it];
    &[StartMethod::Thread] => [a_thread_has_the_subscriber_itself];
}

fn main() -> ExitCode {
    procession_tests::harness::main(tests())
}

/// What the subscriber was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    what: &'static str,
    name: String,
    level: Level,
    target: String,
    fields: BTreeMap<String, String>,
    /// The names of the spans around it, the outermost first.
    scope: Vec<String>,
}

impl Seen {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

static SEEN: Mutex<Vec<Seen>> = Mutex::new(Vec::new());

fn seen() -> Vec<Seen> {
    SEEN.lock().unwrap().clone()
}

fn of_kind(what: &str) -> Vec<Seen> {
    seen().into_iter().filter(|seen| seen.what == what).collect()
}

struct Fields<'a>(&'a mut BTreeMap<String, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let before = self.0.insert(field.name().to_owned(), format!("{value:?}"));
        assert!(before.is_none() || field.name() == "later", "{field} comes twice");
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// Keeps what it is told. It never wants the target `noise`.
struct Memory;

#[derive(Default)]
struct Recorded(BTreeMap<String, String>);

impl Memory {
    fn add<S: Subscriber + for<'a> LookupSpan<'a>>(
        what: &'static str,
        metadata: &Metadata<'_>,
        fields: BTreeMap<String, String>,
        scope: Vec<String>,
        _: &Context<'_, S>,
    ) {
        let (name, target) = (metadata.name().to_owned(), metadata.target().to_owned());
        let seen = Seen { what, name, level: *metadata.level(), target, fields, scope };
        SEEN.lock().unwrap().push(seen);
    }
}

fn names_around<S: Subscriber + for<'a> LookupSpan<'a>>(
    context: &Context<'_, S>,
    id: &Id,
) -> Vec<String> {
    let scope = context.span_scope(id).into_iter().flat_map(|scope| scope.from_root());
    scope.map(|span| span.name().to_owned()).collect()
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Memory {
    fn register_callsite(
        &self,
        metadata: &'static Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        match metadata.target() {
            "noise" => tracing::subscriber::Interest::never(),
            _ => tracing::subscriber::Interest::always(),
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.target() != "noise"
    }

    fn max_level_hint(&self) -> Option<tracing::level_filters::LevelFilter> {
        Some(tracing::level_filters::LevelFilter::INFO)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut recorded = Recorded::default();
        attributes.record(&mut Fields(&mut recorded.0));
        let fields = recorded.0.clone();
        context.span(id).unwrap().extensions_mut().insert(recorded);
        let mut scope = names_around(&context, id);
        scope.pop();
        Memory::add("span", attributes.metadata(), fields, scope, &context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        let recorded: &mut Recorded = extensions.get_mut().unwrap();
        values.record(&mut Fields(&mut recorded.0));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        assert_ne!(event.metadata().target(), "panics", "as a subscriber may");
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let scope = context.event_scope(event).into_iter().flat_map(|scope| scope.from_root());
        let scope = scope.map(|span| span.name().to_owned()).collect();
        Memory::add("event", event.metadata(), fields, scope, &context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let fields = span.extensions().get::<Recorded>().unwrap().0.clone();
        Memory::add("close", span.metadata(), fields, Vec::new(), &context);
    }
}

fn install() {
    let subscriber = tracing_subscriber::registry().with(Memory);
    tracing::subscriber::set_global_default(subscriber).unwrap();
}

#[worker]
fn greet(name: &str) -> usize {
    let error = std::io::Error::other("no file");
    tracing::info!(
        target: "greetings",
        letters = name.len(),
        below = -1,
        half = 0.5,
        yes = true,
        first = &name[..1],
        shown = ?Some(name),
        error = &error as &(dyn std::error::Error + 'static),
        "hello {name}"
    );
    name.len()
}

fn an_event_arrives_as_it_was_with_its_origin(method: StartMethod) {
    install();
    let pool = pool(method, 1);
    pool.map(greet, ["ann", "bert"]).unwrap();
    let info = &pool.workers()[0];
    let (id, pid) = (info.id().to_string(), info.pid().to_string());
    drop(pool);
    let seen = seen();
    assert_eq!(seen.len(), 2, "{seen:#?}");
    for (index, (event, name)) in seen.iter().zip(["ann", "bert"]).enumerate() {
        assert_eq!((event.what, event.level, &*event.target), ("event", Level::INFO, "greetings"));
        let expected = [
            ("message", format!("hello {name}")),
            ("letters", name.len().to_string()),
            ("below", "-1".to_owned()),
            ("half", "0.5".to_owned()),
            ("yes", "true".to_owned()),
            ("first", name[..1].to_owned()),
            ("shown", format!("Some({name:?})")),
            ("error", "no file".to_owned()),
            ("worker", id.clone()),
            ("pid", pid.clone()),
            ("index", index.to_string()),
        ];
        expected.iter().for_each(|(field, value)| assert_eq!(event.field(field), value));
        assert!(event.field("task").ends_with("::greet"), "{event:?}");
        assert!(event.scope.is_empty(), "{event:?}");
    }
}

#[worker]
fn work(number: u64) -> u64 {
    let outer = tracing::info_span!("outer", number, later = Empty);
    let _entered = outer.enter();
    tracing::info!("begins");
    outer.record("later", number * 2);
    tracing::info_span!("inner").in_scope(|| tracing::warn!("within"));
    let other = tracing::info_span!(parent: None, "other");
    tracing::info!(parent: &other, "beside");
    number
}

fn spans_nest_and_close(method: StartMethod) {
    install();
    let pool = pool(method, 2);
    pool.map(work, 0..3).unwrap();
    drop(pool);
    let spans = of_kind("span");
    assert_eq!(spans.len(), 9, "{spans:#?}");
    for span in &spans {
        let around: &[&str] = if span.name == "inner" { &["outer"] } else { &[] };
        assert_eq!(span.scope, around, "{span:?}");
        assert!(span.field("task").ends_with("::work"), "{span:?}");
    }
    for event in of_kind("event") {
        let around: &[&str] = match event.field("message") {
            "begins" => &["outer"],
            "within" => &["outer", "inner"],
            _ => &["other"],
        };
        assert_eq!(event.scope, around, "{event:?}");
    }
    let closed = of_kind("close");
    assert_eq!(closed.len(), 9, "{closed:#?}");
    for outer in closed.iter().filter(|span| span.name == "outer") {
        let number: u64 = outer.field("number").parse().unwrap();
        assert_eq!(outer.field("later"), (number * 2).to_string());
    }
}

fn the_span_of_the_call_is_the_parent(method: StartMethod) {
    install();
    let pool = pool(method, 2);
    tracing::info_span!("request", id = 7).in_scope(|| {
        pool.map(greet, ["ann"]).unwrap();
        pool.map(work, [1]).unwrap();
        assert_eq!(pool.imap(greet, ["bert"]).count(), 1);
        pool.submit(greet, "carla").wait().unwrap();
    });
    pool.apply(greet, "dora").unwrap();
    drop(pool);
    let events = of_kind("event");
    let scope_of = |message: &str| {
        let event = events.iter().find(|event| event.field("message") == message).unwrap();
        event.scope.clone()
    };
    for message in ["hello ann", "hello bert", "hello carla"] {
        assert_eq!(scope_of(message), ["request"]);
    }
    assert_eq!(scope_of("within"), ["request", "outer", "inner"]);
    assert_eq!(scope_of("beside"), ["other"]);
    assert!(scope_of("hello dora").is_empty());
    let closed: Vec<_> = of_kind("close").into_iter().map(|span| span.name).collect();
    assert_eq!(closed.last().map(String::as_str), Some("request"), "{closed:?}");
}

#[worker]
fn greet_late(name: &str, ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
    tracing::info!("late {name}");
}

fn the_span_of_a_call_stays_open_for_its_tasks(method: StartMethod) {
    install();
    let pool = pool(method, 1);
    let handle = {
        let span = tracing::info_span!("request");
        let _entered = span.enter();
        pool.map_async(greet_late, [("ann", 100), ("bert", 100)])
    };
    assert!(of_kind("close").is_empty());
    handle.wait().unwrap();
    wait::for_it("the span is closed", || of_kind("close").len() == 1);
    let events = of_kind("event");
    assert_eq!(events.len(), 2);
    assert!(events.iter().all(|event| event.scope == ["request"]), "{events:#?}");
}

#[worker]
fn count_up(to: u64) -> u64 {
    for n in 0..to {
        tracing::info!(n, to);
    }
    to
}

fn events_of_many_workers_arrive_whole_and_in_order(method: StartMethod) {
    install();
    let each = 5_000;
    let pool = pool(method, 4);
    assert!(pool.broadcast(count_up, each).iter().all(Result::is_ok));
    drop(pool);
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for event in seen() {
        let next = next.entry(event.field("pid").to_owned()).or_default();
        assert_eq!(event.field("n"), next.to_string());
        *next += 1;
    }
    assert_eq!(next.into_values().collect::<Vec<_>>(), [each; 4]);
}

#[worker]
fn trace_and_die(events: u64) {
    let span = tracing::info_span!("last");
    let _entered = span.enter();
    (0..events).for_each(|n| tracing::error!(n));
    raise(Signal::SIGKILL).unwrap();
}

fn the_last_events_of_a_killed_worker_arrive(method: StartMethod) {
    install();
    let pool = pool(method, 1);
    for _ in 0..3 {
        let error = pool.apply(trace_and_die, 1_000).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Signaled);
    }
    drop(pool);
    assert_eq!(of_kind("event").len(), 3_000);
    assert!(of_kind("event").iter().all(|event| event.scope == ["last"]));
    assert_eq!(of_kind("close").len(), 3);
}

#[worker]
fn costly(_: u8) -> u32 {
    let mut calls = 0;
    let mut call = || calls += 1;
    tracing::debug!("{:?}", call());
    tracing::trace!(value = ?call());
    tracing::info!("{:?}", call());
    calls
}

fn what_is_below_the_level_is_not_even_formatted(method: StartMethod) {
    install();
    let pool = pool(method, 1);
    assert_eq!(pool.apply(costly, 0).unwrap(), 1);
    drop(pool);
    assert_eq!(seen().len(), 1);
}

#[worker]
fn noise(_: u8) -> u32 {
    let mut calls = 0;
    let mut call = || calls += 1;
    tracing::info!(target: "noise", "{:?}", call());
    let span = tracing::info_span!(target: "noise", "unwanted");
    span.in_scope(|| tracing::info!(target: "music", "wanted"));
    calls
}

fn what_the_subscriber_never_wants_is_no_longer_sent(method: StartMethod) {
    install();
    let pool = pool(method, 1);
    tracing::info_span!("request").in_scope(|| {
        wait::for_it("the worker knows", || pool.apply(noise, 0).unwrap() == 0);
    });
    let before = seen().len();
    pool.apply(noise, 0).unwrap();
    drop(pool);
    assert!(seen().len() > before);
    let spans: Vec<_> = of_kind("span").into_iter().map(|span| span.name).collect();
    assert_eq!(spans, ["request"]);
    assert!(of_kind("event").iter().all(|event| event.target == "music"));
    let within = of_kind("event");
    assert!(within[..within.len() - 1].iter().all(|event| event.scope == ["request"]));
}

#[worker]
fn outer(names: Vec<String>) -> u32 {
    tracing::info_span!("middle").in_scope(|| {
        let inner = Pool::builder().workers(1).build().unwrap();
        inner.map(greet, &names).unwrap();
    });
    std::process::id()
}

fn spans_of_nested_pools_keep_their_origin(method: StartMethod) {
    install();
    let pool = pool(method, 1);
    let outer_pid = tracing::info_span!("request")
        .in_scope(|| pool.apply(outer, vec!["ann".to_owned(), "bert".to_owned()]).unwrap());
    drop(pool);
    let events = of_kind("event");
    assert_eq!(events.len(), 2, "{events:#?}");
    for (index, event) in events.iter().enumerate() {
        assert_eq!(event.scope, ["request", "middle"], "{event:?}");
        assert_ne!(event.field("pid"), outer_pid.to_string());
        assert_eq!(event.field("index"), index.to_string());
        assert!(event.field("task").ends_with("::greet"), "{event:?}");
    }
    assert_eq!(of_kind("close").len(), 2);
}

#[worker]
fn provoke(_: u8) {
    tracing::info!(target: "panics", "this is lost");
    tracing::info!("this is not");
}

fn a_subscriber_that_panics_loses_one_event(method: StartMethod) {
    install();
    std::panic::set_hook(Box::new(|_| ()));
    let pool = pool(method, 1);
    pool.map(provoke, [0, 1, 2]).unwrap();
    drop(pool);
    assert_eq!(seen().len(), 3);
}

#[initializer]
fn prepared() -> u8 {
    tracing::info!("prepared");
    1
}

fn initializers_trace(method: StartMethod) {
    install();
    let builder = Pool::builder().workers(1).start_method(method).initializer(prepared, ());
    drop(builder.build().unwrap());
    let seen = seen();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].fields.contains_key("worker") && !seen[0].fields.contains_key("task"));
}

#[worker]
fn with_threads(count: u64) {
    std::thread::scope(|scope| {
        for n in 0..count {
            scope.spawn(move || tracing::info_span!("thread").in_scope(|| tracing::info!(n)));
        }
    });
}

fn threads_of_a_task_trace(method: StartMethod) {
    install();
    let pool = pool(method, 1);
    tracing::info_span!("request").in_scope(|| pool.apply(with_threads, 8).unwrap());
    drop(pool);
    let events = of_kind("event");
    assert_eq!(events.len(), 8);
    assert!(events.iter().all(|event| event.scope == ["request", "thread"]), "{events:#?}");
}

fn a_program_without_a_subscriber_has_no_thread_for_it(method: StartMethod) {
    let pool = pool(method, 1);
    pool.apply(greet, "ann").unwrap();
    let names: Vec<_> = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap())
        .collect();
    assert!(names.iter().all(|name| !name.contains("pool-logs")), "{names:?}");
}

fn a_thread_has_the_subscriber_itself(method: StartMethod) {
    install();
    let pool = pool(method, 1);
    pool.apply(greet, "ann").unwrap();
    assert_eq!(of_kind("event").len(), 1);
}
