//! Tasks that return an error that cannot be serialized.

use std::error::Error as StdError;
use std::fmt;

use procession_tests::{EVERY, PROCESSES, StartMethod, conformance, has_processes, pool};
use runtime::{Error, ErrorKind, Pool, Process, worker};
use serde::{Deserialize, Serialize};

conformance! {
    EVERY => [
        the_output_is_the_value,
        the_error_tells_text_task_index_worker_and_pid,
        causes_are_sources,
        an_anyhow_error_tells_its_chain,
        an_eyre_report_tells_its_chain,
        boxed_errors_of_every_kind,
        errors_of_the_standard_library,
        an_error_that_travels_stays_a_value,
        ones_own_error_may_be_opaque,
        nested_pools_read_naturally,
        every_call_tells_it,
        a_failure_harms_nothing_and_is_not_retried,
        an_error_that_panics_while_it_is_told,
        a_chain_without_an_end,
        long_texts_arrive_whole,
    ];
    PROCESSES => [a_backtrace_arrives];
}

#[worker]
fn parsed(text: &str) -> Result<u64, std::num::ParseIntError> {
    text.parse()
}

#[worker]
fn read(path: &str) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

#[derive(Debug)]
struct Layer(u32, Option<Box<Layer>>);

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer {}", self.0)
    }
}

impl StdError for Layer {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.1.as_deref().map(|layer| layer as _)
    }
}

fn layers(depth: u32) -> Layer {
    (0..depth).rev().fold(Layer(depth, None), |inner, at| Layer(at, Some(Box::new(inner))))
}

#[worker]
fn layered(depth: u32) -> Result<u32, Box<dyn StdError + Send + Sync>> {
    if depth == 0 { Ok(0) } else { Err(layers(depth).into()) }
}

#[worker]
fn boxed(text: &str) -> Result<u64, Box<dyn StdError>> {
    Ok(text.parse::<u64>().map_err(|_| format!("`{text}` is no number"))?)
}

#[worker]
fn boxed_send(fails: bool) -> Result<(), Box<dyn StdError + Send>> {
    if fails { Err(Box::new(layers(0))) } else { Ok(()) }
}

#[worker]
fn with_anyhow(path: String) -> anyhow::Result<usize> {
    use anyhow::Context as _;
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    anyhow::ensure!(!text.is_empty(), "`{path}` is empty");
    Ok(text.len())
}

#[worker]
fn with_eyre(x: u64) -> eyre::Result<u64> {
    use eyre::WrapErr as _;
    let checked: Result<u64, _> = x.to_string().parse::<u8>().map(u64::from);
    checked.wrap_err("too large")
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Known {
    Odd(u64),
}

#[worker]
fn half(x: u64) -> Result<u64, Known> {
    if x.is_multiple_of(2) { Ok(x / 2) } else { Err(Known::Odd(x)) }
}

#[worker]
fn third(x: u64) -> Result<u64, String> {
    if x.is_multiple_of(3) { Ok(x / 3) } else { Err(format!("{x} is left")) }
}

#[derive(Debug)]
struct Own;

impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("of one's own")
    }
}

impl StdError for Own {}

impl runtime::Opaque for Own {
    fn as_error(&self) -> &(dyn StdError + 'static) {
        self
    }
}

#[worker]
fn own(_: ()) -> Result<(), Own> {
    Err(Own)
}

#[worker]
fn square_below(limit: u64, x: u64) -> u64 {
    assert!(x < limit, "{x} is too much");
    x * x
}

#[worker]
fn nested(method: String, limit: u64) -> runtime::Result<u64> {
    let method = method.parse().expect("a method");
    let inner = Pool::builder().start_method(method).workers(1).build()?;
    let squares = inner.map(square_below, (0..5).map(|x| (limit, x)))?;
    Ok(squares.iter().sum())
}

#[derive(Debug)]
struct Explodes;

impl fmt::Display for Explodes {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("no words for it")
    }
}

impl StdError for Explodes {}

#[worker]
fn explodes(x: u64) -> Result<u64, Box<dyn StdError>> {
    if x == 1 { Err(Box::new(Explodes)) } else { Ok(x) }
}

#[derive(Debug)]
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("again")
    }
}

impl StdError for Endless {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(self)
    }
}

#[worker]
fn endless() -> Result<(), Box<dyn StdError>> {
    Err(Box::new(Endless))
}

#[worker]
fn long(len: usize) -> Result<(), Box<dyn StdError>> {
    Err("x".repeat(len).into())
}

#[worker]
fn traced() -> anyhow::Result<()> {
    anyhow::bail!("with a trace")
}

fn chain(error: &Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts
}

fn the_output_is_the_value(method: StartMethod) {
    let pool = pool(method, 2);
    let numbers: Vec<u64> = pool.map(parsed, ["1", "2"]).unwrap();
    assert_eq!(numbers, [1, 2]);
    let bytes: Vec<u8> = pool.apply(read, "/dev/null").unwrap();
    assert!(bytes.is_empty());
    assert_eq!(pool.map(layered, [0, 0]).unwrap(), [0, 0]);
}

fn the_error_tells_text_task_index_worker_and_pid(method: StartMethod) {
    let pool = pool(method, 2);
    let error = pool.map(parsed, ["1", "2", "three"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert_eq!(error.index(), Some(2));
    assert!(error.task().unwrap().ends_with("parsed"));
    let worker = error.worker().unwrap();
    let info = pool.workers().into_iter().find(|info| info.id() == worker).unwrap();
    assert_eq!(error.pid(), Some(info.pid()));
    let text = error.to_string();
    assert!(text.ends_with("invalid digit found in string"), "{text}");
    assert!(text.starts_with("task `") && text.contains("(input 2) failed in worker"), "{text}");
    assert!(error.panic().is_none() && error.source().is_none());
}

fn causes_are_sources(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(layered, 3).unwrap_err();
    assert!(error.to_string().ends_with(": layer 0"));
    assert_eq!(chain(&error), ["layer 1", "layer 2", "layer 3"]);
    let shown = format!("{error:?}");
    assert!(shown.contains("caused by:\n    layer 1\n    layer 2\n    layer 3"), "{shown}");
}

fn an_anyhow_error_tells_its_chain(method: StartMethod) {
    let pool = pool(method, 1);
    let outcomes = pool.map_all(with_anyhow, ["/proc/self/status", "/no/such/file", "/dev/null"]);
    assert!(*outcomes[0].as_ref().unwrap() > 0);
    let error = outcomes[1].as_ref().unwrap_err();
    assert!(error.to_string().ends_with("cannot read `/no/such/file`"));
    assert_eq!(chain(error), ["No such file or directory (os error 2)"]);
    assert!(outcomes[2].as_ref().unwrap_err().to_string().ends_with("`/dev/null` is empty"));
}

fn an_eyre_report_tells_its_chain(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(with_eyre, 7).unwrap(), 7);
    let error = pool.apply(with_eyre, 256).unwrap_err();
    assert!(error.to_string().ends_with(": too large"));
    assert_eq!(chain(&error), ["number too large to fit in target type"]);
}

fn boxed_errors_of_every_kind(method: StartMethod) {
    let pool = pool(method, 1);
    assert_eq!(pool.apply(boxed, "4").unwrap(), 4);
    assert!(pool.apply(boxed, "x").unwrap_err().to_string().ends_with("`x` is no number"));
    pool.apply(boxed_send, false).unwrap();
    assert!(pool.apply(boxed_send, true).unwrap_err().to_string().ends_with("layer 0"));
}

fn errors_of_the_standard_library(method: StartMethod) {
    let pool = pool(method, 1);
    let error = pool.apply(read, "/no/such/file").unwrap_err();
    assert!(error.to_string().ends_with("No such file or directory (os error 2)"));
}

fn an_error_that_travels_stays_a_value(method: StartMethod) {
    let pool = pool(method, 2);
    let halves: Vec<Result<u64, Known>> = pool.map(half, [2, 3]).unwrap();
    assert_eq!(halves, [Ok(1), Err(Known::Odd(3))]);
    let thirds: Vec<Result<u64, String>> = pool.map(third, [3, 4]).unwrap();
    assert_eq!(thirds, [Ok(1), Err("4 is left".to_owned())]);
}

fn ones_own_error_may_be_opaque(method: StartMethod) {
    let error = pool(method, 1).apply(own, ()).unwrap_err();
    assert!(error.to_string().ends_with("of one's own"));
}

fn nested_pools_read_naturally(method: StartMethod) {
    // A worker thread cannot use `Fork`.
    let inner = if method == StartMethod::Fork { "forkserver" } else { method.name() };
    let pool = pool(method, 1);
    assert_eq!(pool.apply(nested, (inner, 9)).unwrap(), 30);
    let error = pool.apply(nested, (inner, 3)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let text = error.to_string();
    assert!(
        text.contains("nested` (input 0) failed in worker")
            && text.contains("square_below` (input 3) panicked"),
        "{text}"
    );
    assert!(text.contains("3 is too much"), "{text}");
    assert!(error.backtrace().is_some_and(|trace| trace.contains("square_below")));
}

fn every_call_tells_it(method: StartMethod) {
    let pool = pool(method, 2);
    let failed = |error: &Error| error.kind() == ErrorKind::Failed;
    assert!(failed(&pool.map(parsed, ["x"]).unwrap_err()));
    assert!(failed(&pool.submit(parsed, "x").wait().unwrap_err()));
    assert!(failed(&pool.map_async(parsed, ["1", "x"]).wait().unwrap_err()));
    let lazily: Vec<_> = pool.imap(parsed, ["1", "x", "3"]).collect();
    assert!(failed(lazily[1].as_ref().unwrap_err()) && *lazily[2].as_ref().unwrap() == 3);
    let unordered = pool.imap_unordered(parsed, ["1", "x", "3"]);
    assert_eq!(unordered.filter(|(index, outcome)| *index == 1 && outcome.is_err()).count(), 1);
    assert_eq!(
        pool.broadcast(parsed, "x").iter().filter(|o| failed(o.as_ref().unwrap_err())).count(),
        2
    );
    drop(pool);
    let child: Process<u64> = Process::builder().start_method(method).spawn(parsed, "x").unwrap();
    assert!(failed(&child.join().unwrap_err()));
}

fn a_failure_harms_nothing_and_is_not_retried(method: StartMethod) {
    let pool = pool(method, 2);
    let before: Vec<_> = pool.workers().iter().map(|info| info.id()).collect();
    let texts: Vec<String> =
        (0..1000).map(|i| if i % 3 == 0 { "x".into() } else { i.to_string() }).collect();
    let outcomes = pool.task(parsed).retries(5).map_all(&texts);
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!(*value, index as u64),
            Err(error) => {
                assert_eq!((error.kind(), error.index()), (ErrorKind::Failed, Some(index)));
                assert!(index % 3 == 0 && !error.to_string().contains("tried"));
            }
        }
    }
    let after: Vec<_> = pool.workers().iter().map(|info| info.id()).collect();
    assert_eq!(before, after);
}

fn an_error_that_panics_while_it_is_told(method: StartMethod) {
    let pool = pool(method, 1);
    let outcomes = pool.map_all(explodes, 0..3);
    assert_eq!(outcomes[1].as_ref().unwrap_err().kind(), ErrorKind::Encode);
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
}

fn a_chain_without_an_end(method: StartMethod) {
    let error = pool(method, 1).apply(endless, ()).unwrap_err();
    assert!(error.to_string().ends_with(": again"));
    assert_eq!(chain(&error).len(), 128);
}

fn long_texts_arrive_whole(method: StartMethod) {
    let pool = pool(method, 1);
    for len in [1, 1000, 100_000, 10_000_000] {
        let text = pool.apply(long, len).unwrap_err().to_string();
        assert!(text.ends_with(&"x".repeat(len)));
    }
}

fn a_backtrace_arrives(method: StartMethod) {
    assert!(has_processes(method));
    let pool =
        Pool::builder().start_method(method).workers(1).env("RUST_BACKTRACE", "1").build().unwrap();
    let error = pool.apply(traced, ()).unwrap_err();
    assert!(error.backtrace().unwrap().contains("traced"));
    assert!(format!("{error:?}").contains("backtrace of the worker"));
}
