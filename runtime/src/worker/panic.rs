//! Reports of panics in workers, which a hook captures and which are printed at most once.
//!
//! The hook records the message, location, thread and backtrace. If the panic ends the task, the report
//! is sent to the caller. If the task has caught the panic, or if it has ended a thread that nobody
//! joined, the report is printed as the standard library would print it. The report is also stored in
//! the fault record of the worker page, in case the process does not survive.

use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::{Cell, RefCell};
use std::io::Write;
use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Once, Weak};
use std::thread::ThreadId;

use crate::chunk::{ATTENTION, PANIC_SEEN};
use crate::error::{Location, PanicReport};
use crate::failure::encoded;
use crate::poison::IgnorePoison;
use crate::queue::WorkerPageMap;
use crate::sys::original::Original;

/// The longest backtrace kept.
const TRACE_LEN: usize = 64 << 10;

struct Seen {
    report: PanicReport,
    own: bool,
}

/// The panics in a worker process since its last task, of all its threads.
struct ProcessPanics {
    worker: ThreadId,
    page: Option<Arc<WorkerPageMap>>,
    seen: Vec<Seen>,
}

static PROCESS: Mutex<Option<ProcessPanics>> = Mutex::new(None);

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    /// Of a worker that is a thread.
    static PAGE: RefCell<Option<Arc<WorkerPageMap>>> = const { RefCell::new(None) };
    static SEEN: RefCell<Vec<Seen>> = const { RefCell::new(Vec::new()) };
}

fn process() -> std::sync::MutexGuard<'static, Option<ProcessPanics>> {
    PROCESS.lock().ignore_poison()
}

/// In a new worker process.
pub(super) fn install_in_process(page: Arc<WorkerPageMap>) {
    install(Some(page));
}

/// In a server, for its preloads.
pub(super) fn install_in_server() {
    install(None);
}

fn install(page: Option<Arc<WorkerPageMap>>) {
    let worker = std::thread::current().id();
    // A forked worker has its server's, or its caller's, record: not its own.
    let own_page = page.clone();
    let old = process().replace(ProcessPanics { worker, page, seen: Vec::new() });
    std::mem::forget(old);
    let original = Original::here();
    set_hook(Box::new(move |info| {
        if !original.is_here() {
            // Of a copy nobody else tells, and what is locked here may stay so.
            return print_all(vec![Seen { report: report_of(info), own: true }]);
        }
        let report = timed(own_page.as_deref(), || report_of(info));
        let mut process = process();
        let Some(process) = process.as_mut() else {
            return;
        };
        let own = std::thread::current().id() == process.worker;
        let report =
            if own { report } else { PanicReport { thread: Some(thread_name()), ..report } };
        if let Some(page) = &process.page {
            page.view().leave_crash(&encoded(&for_crash_box(&report)));
        }
        process.seen.push(Seen { report, own });
        ATTENTION.fetch_or(PANIC_SEEN, Ordering::Release);
    }));
}

/// Makes the report of a panic, whose time does not count for the timeout of the task.
fn timed<R>(page: Option<&WorkerPageMap>, report: impl FnOnce() -> R) -> R {
    match page {
        Some(page) => page.view().time_report(report),
        None => report(),
    }
}

/// In a new worker thread.
pub(super) fn install_in_worker_thread(page: Arc<WorkerPageMap>) {
    PAGE.set(Some(page));
    install_in_thread();
}

/// In a thread that is a worker: its panics are taken down, those of other threads go
/// where they went before.
pub(crate) fn install_in_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (before, original) = (take_hook(), Original::here());
        set_hook(Box::new(move |info| {
            if !original.is_here() {
                return before(info);
            }
            if WATCHED.try_with(Cell::get).unwrap_or(false) {
                let page = PAGE.try_with(|page| page.borrow().clone()).ok().flatten();
                let report = timed(page.as_deref(), || report_of(info));
                let _ = SEEN.try_with(|seen| seen.borrow_mut().push(Seen { report, own: true }));
            } else if let Some(seen) = seen_below() {
                let report = PanicReport { thread: Some(thread_name()), ..report_of(info) };
                let mut seen = seen.lock().ignore_poison();
                seen.push(Seen { report, own: false });
            } else {
                return before(info);
            }
            ATTENTION.fetch_or(PANIC_SEEN, Ordering::Release);
        }));
    });
    WATCHED.set(true);
    mark_below();
}

/// The panics in threads that a worker thread has started.
type Below = Arc<Mutex<Vec<Seen>>>;

/// The mark that a worker thread and all threads below it have, and what those have seen.
type Marked = (u64, Weak<Mutex<Vec<Seen>>>);

static BELOW: Mutex<Vec<Marked>> = Mutex::new(Vec::new());

thread_local! {
    static OWN_BELOW: RefCell<Option<Below>> = const { RefCell::new(None) };
}

/// Gives this worker thread a mark that the threads it starts inherit. The only one that
/// the kernel passes on from thread to thread and that is free: some nanoseconds more of timer
/// slack, which is 50,000 by default.
fn mark_below() {
    static MARKS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(50_001);
    let mark = MARKS.fetch_add(1, Ordering::Relaxed);
    if !crate::sys::threads::set_mark(mark) {
        return;
    }
    let seen = Below::default();
    let mut below = BELOW.lock().ignore_poison();
    below.retain(|(_, seen)| seen.strong_count() > 0);
    below.push((mark, Arc::downgrade(&seen)));
    OWN_BELOW.set(Some(seen));
}

/// Where the panic of a thread belongs that some worker thread started.
fn seen_below() -> Option<Below> {
    let mark = crate::sys::threads::mark()?;
    let below = BELOW.lock().ignore_poison();
    below.iter().find(|(other, _)| *other == mark)?.1.upgrade()
}

/// The panics that this worker thread and those below it saw.
fn take_seen_of_thread() -> Vec<Seen> {
    let mut seen = OWN_BELOW.with_borrow(|below| {
        let below = below.as_ref().map(|b| b.lock().ignore_poison());
        below.map(|mut below| std::mem::take(&mut *below)).unwrap_or_default()
    });
    seen.extend(SEEN.take());
    seen
}

fn thread_name() -> String {
    let thread = std::thread::current();
    thread.name().map_or_else(|| format!("{:?}", thread.id()), str::to_owned)
}

fn report_of(info: &PanicHookInfo<'_>) -> PanicReport {
    let location = info.location().map(|at| Location {
        file: at.file().to_owned(),
        line: at.line(),
        column: at.column(),
    });
    let mut backtrace = Backtrace::force_capture().to_string();
    backtrace.truncate(backtrace.floor_char_boundary(TRACE_LEN));
    let message = text_of(info.payload());
    PanicReport { message, location, backtrace: Some(backtrace), thread: None }
}

fn for_crash_box(report: &PanicReport) -> PanicReport {
    fn cut(text: &str, len: usize) -> String {
        text[..text.floor_char_boundary(len)].to_owned()
    }
    PanicReport {
        message: cut(&report.message, 4 << 10),
        location: report.location.clone(),
        backtrace: report.backtrace.as_deref().map(|trace| cut(trace, 8 << 10)),
        thread: report.thread.clone(),
    }
}

/// The message of a panic.
pub(crate) fn text_of(payload: &dyn Any) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is not text".to_owned()
    }
}

fn take_seen() -> Vec<Seen> {
    if WATCHED.get() {
        // The flag belongs to all worker threads of the process, so that none of them may clear it: for an
        // instant another thread would take its own panics for none.
        return take_seen_of_thread();
    }
    if ATTENTION.fetch_and(!PANIC_SEEN, Ordering::Acquire) & PANIC_SEEN == 0 {
        return Vec::new();
    }
    process().as_mut().map(|process| std::mem::take(&mut process.seen)).unwrap_or_default()
}

/// The report of the panic that ended a task with this payload.
///
/// Where the task's own panic only passes on that a thread it joined had panicked, the
/// report is that thread's.
pub(super) fn report(payload: &(dyn Any + Send)) -> PanicReport {
    let mut seen = take_seen();
    let text = text_of(payload);
    let own = seen.iter().rposition(|seen| seen.own);
    let other = seen.iter().position(|seen| !seen.own);
    let relays = own.is_none_or(|own| passes_on(&seen[own].report.message));
    let chosen = match (own, other) {
        (_, Some(other)) if relays => other,
        (Some(own), _) => own,
        (None, _) => {
            print_all(seen);
            return PanicReport { message: text, location: None, backtrace: None, thread: None };
        }
    };
    let report = seen.remove(chosen).report;
    if let Some(own) = own.filter(|_| relays && other.is_some()) {
        // The passing on itself says nothing.
        seen.remove(if own > chosen { own - 1 } else { own });
    }
    print_all(seen);
    report
}

/// Whether a message only says that another thread panicked.
fn passes_on(message: &str) -> bool {
    ["a scoped thread panicked", "Any { .. }", "PoisonError"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// After a task that did not panic: what it saw of panics is printed, and no longer
/// blamed if the process dies later.
#[inline]
pub(super) fn survived_quietly(page: &WorkerPageMap) {
    if ATTENTION.load(Ordering::Relaxed) & PANIC_SEEN != 0 {
        print_all(take_seen());
        page.view().clear_crash();
    }
}

/// The same for a thread that is watched and has no worker page.
#[inline]
pub(super) fn survived_in_thread() {
    if ATTENTION.load(Ordering::Relaxed) & PANIC_SEEN != 0 {
        print_all(take_seen());
    }
}

/// After an initializer: its report is not that of a later task.
pub(super) fn survived() {
    if let Some(ProcessPanics { page: Some(page), .. }) = process().as_ref() {
        page.view().clear_crash();
    }
}

fn print_all(seen: Vec<Seen>) {
    for Seen { report, .. } in seen {
        let thread = report.thread.as_deref().unwrap_or("worker");
        let at = report.location.map(|at| at.to_string()).unwrap_or_default();
        // Nobody to tell if standard error is closed.
        let text = format!("\nthread '{thread}' panicked at {at}:\n{}\n", report.message);
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
