//! Reports of panics in workers, which a hook captures and which are printed at most once.
//!
//! The hook records the message, location, thread and backtrace. If the panic ends the task, the report
//! is sent to the caller. If the task has caught the panic, or if it has ended a thread that nobody
//! joined, the report is printed as the standard library would print it. The report is also stored in
//! the panic record of the worker page, in case the process does not survive.

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

/// The maximum length of a backtrace in bytes.
const TRACE_LEN: usize = 64 << 10;

/// A panic that the hook has captured.
struct CapturedPanic {
    report: PanicReport,
    /// Whether the thread that runs the tasks has panicked, and not a thread that a task has started.
    own: bool,
}

/// The panics in all threads of a worker process since its last task.
struct ProcessPanics {
    /// The thread that runs the tasks.
    worker: ThreadId,
    page: Option<Arc<WorkerPageMap>>,
    captured: Vec<CapturedPanic>,
}

static PROCESS: Mutex<Option<ProcessPanics>> = Mutex::new(None);

thread_local! {
    /// Whether the panics of this thread are captured in [`CAPTURED`].
    static IS_CAPTURED: Cell<bool> = const { Cell::new(false) };
    /// The worker page, if this thread is a worker.
    static PAGE: RefCell<Option<Arc<WorkerPageMap>>> = const { RefCell::new(None) };
    static CAPTURED: RefCell<Vec<CapturedPanic>> = const { RefCell::new(Vec::new()) };
}

fn process() -> std::sync::MutexGuard<'static, Option<ProcessPanics>> {
    PROCESS.lock().ignore_poison()
}

/// Captures the panics of all threads of a new worker process.
pub(super) fn install_in_process(page: Arc<WorkerPageMap>) {
    install(Some(page));
}

/// Captures the panics of the preloads in a server.
pub(super) fn install_in_server() {
    install(None);
}

fn install(page: Option<Arc<WorkerPageMap>>) {
    let worker = std::thread::current().id();
    // A forked worker has inherited the state of its server or caller, which is not dropped here.
    let old = process().replace(ProcessPanics { worker, page, captured: Vec::new() });
    std::mem::forget(old);
    let original = Original::here();
    set_hook(Box::new(move |info| {
        if !original.is_here() {
            // This is a fork of the worker. Its panics reach no caller, and the lock may have been held when it
            // was forked.
            return print_all(vec![CapturedPanic { report: report_of(info), own: true }]);
        }
        let page = process().as_ref().and_then(|process| process.page.clone());
        let report = timed(page.as_deref(), || report_of(info));
        drop(page);
        let mut process = process();
        let Some(process) = process.as_mut() else {
            return;
        };
        let own = std::thread::current().id() == process.worker;
        let report =
            if own { report } else { PanicReport { thread: Some(thread_name()), ..report } };
        if let Some(page) = &process.page {
            page.view().record_panic(&encoded(&shortened(&report)));
        }
        process.captured.push(CapturedPanic { report, own });
        ATTENTION.fetch_or(PANIC_SEEN, Ordering::Release);
    }));
}

/// Creates the report of a panic. The time that this takes does not count towards the timeout of the task.
fn timed<R>(page: Option<&WorkerPageMap>, report: impl FnOnce() -> R) -> R {
    match page {
        Some(page) => page.view().time_report(report),
        None => report(),
    }
}

/// Sets the worker page to which the reports of panics are written (rule N7).
#[cfg(feature = "tokio")]
pub(super) fn switch(page: Option<&Arc<WorkerPageMap>>) {
    if IS_CAPTURED.get() {
        return PAGE.set(page.cloned());
    }
    if let Some(process) = process().as_mut() {
        process.page = page.cloned();
    }
}

/// Captures the panics of a new worker thread.
pub(super) fn install_in_worker_thread(page: Arc<WorkerPageMap>) {
    PAGE.set(Some(page));
    install_in_thread();
}

/// Captures the panics of this thread and of the threads that it starts. Other threads keep the previous
/// hook.
pub(crate) fn install_in_thread() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let (before, original) = (take_hook(), Original::here());
        set_hook(Box::new(move |info| {
            if !original.is_here() {
                return before(info);
            }
            if IS_CAPTURED.try_with(Cell::get).unwrap_or(false) {
                let page = PAGE.try_with(|page| page.borrow().clone()).ok().flatten();
                let report = timed(page.as_deref(), || report_of(info));
                let panic = CapturedPanic { report, own: true };
                let _ = CAPTURED.try_with(|captured| captured.borrow_mut().push(panic));
            } else if let Some(captured) = panics_of_ancestor() {
                let report = PanicReport { thread: Some(thread_name()), ..report_of(info) };
                captured.lock().ignore_poison().push(CapturedPanic { report, own: false });
            } else {
                return before(info);
            }
            ATTENTION.fetch_or(PANIC_SEEN, Ordering::Release);
        }));
    });
    IS_CAPTURED.set(true);
    mark_descendants();
}

/// The panics of the descendants of a worker thread: the threads that it has started, and those that they
/// have started.
type DescendantPanics = Arc<Mutex<Vec<CapturedPanic>>>;

/// The mark of a worker thread and its descendants, and the panics of the descendants.
type MarkedPanics = (u64, Weak<Mutex<Vec<CapturedPanic>>>);

static DESCENDANTS: Mutex<Vec<MarkedPanics>> = Mutex::new(Vec::new());

thread_local! {
    static OWN_DESCENDANTS: RefCell<Option<DescendantPanics>> = const { RefCell::new(None) };
}

/// Gives this worker thread a mark that its descendants inherit. The mark is the timer slack of the thread,
/// because the kernel copies it to new threads and programs seldom use it. The marks are a little above the
/// default of 50,000 ns.
fn mark_descendants() {
    static MARKS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(50_001);
    let mark = MARKS.fetch_add(1, Ordering::Relaxed);
    if !crate::sys::threads::set_mark(mark) {
        return;
    }
    let panics = DescendantPanics::default();
    let mut descendants = DESCENDANTS.lock().ignore_poison();
    descendants.retain(|(_, panics)| panics.strong_count() > 0);
    descendants.push((mark, Arc::downgrade(&panics)));
    OWN_DESCENDANTS.set(Some(panics));
}

/// Returns the list for the panics of this thread, if it is a descendant of a worker thread.
fn panics_of_ancestor() -> Option<DescendantPanics> {
    let mark = crate::sys::threads::mark()?;
    let descendants = DESCENDANTS.lock().ignore_poison();
    descendants.iter().find(|(other, _)| *other == mark)?.1.upgrade()
}

/// Takes the captured panics of this worker thread and its descendants.
fn take_captured_of_thread() -> Vec<CapturedPanic> {
    let mut captured = OWN_DESCENDANTS.with_borrow(|descendants| {
        let panics = descendants.as_ref().map(|panics| panics.lock().ignore_poison());
        panics.map(|mut panics| std::mem::take(&mut *panics)).unwrap_or_default()
    });
    captured.extend(CAPTURED.take());
    captured
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

/// Returns a report that fits into the panic record.
fn shortened(report: &PanicReport) -> PanicReport {
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

/// Returns the message of a panic.
pub(crate) fn text_of(payload: &dyn Any) -> String {
    if let Some(text) = payload.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is not text".to_owned()
    }
}

fn take_captured() -> Vec<CapturedPanic> {
    if IS_CAPTURED.get() {
        // All worker threads of the process share the flag. None of them may clear it, because another one
        // would then overlook its own panics.
        return take_captured_of_thread();
    }
    if ATTENTION.fetch_and(!PANIC_SEEN, Ordering::Acquire) & PANIC_SEEN == 0 {
        return Vec::new();
    }
    process().as_mut().map(|process| std::mem::take(&mut process.captured)).unwrap_or_default()
}

/// Returns the report of the panic that ended a task with this payload.
///
/// If the panic of the task only reports that a thread that it joined has panicked, the report of that thread
/// is returned.
pub(super) fn report(payload: &(dyn Any + Send)) -> PanicReport {
    let mut captured = take_captured();
    let text = text_of(payload);
    let own = captured.iter().rposition(|panic| panic.own);
    let other = captured.iter().position(|panic| !panic.own);
    let relays = own.is_none_or(|own| reports_another_thread(&captured[own].report.message));
    let chosen = match (own, other) {
        (_, Some(other)) if relays => other,
        (Some(own), _) => own,
        (None, _) => {
            print_all(captured);
            return PanicReport { message: text, location: None, backtrace: None, thread: None };
        }
    };
    let report = captured.remove(chosen).report;
    if let Some(own) = own.filter(|_| relays && other.is_some()) {
        // The panic of the task itself contains no further information.
        captured.remove(if own > chosen { own - 1 } else { own });
    }
    print_all(captured);
    report
}

/// Returns whether a message only reports that another thread has panicked.
fn reports_another_thread(message: &str) -> bool {
    ["a scoped thread panicked", "Any { .. }", "PoisonError"]
        .iter()
        .any(|sign| message.contains(sign))
}

/// Prints the panics that a task has caught, and clears the panic record, because a later end of the process
/// has another cause.
#[inline]
pub(super) fn print_caught(page: &WorkerPageMap) {
    if ATTENTION.load(Ordering::Relaxed) & PANIC_SEEN != 0 {
        print_all(take_captured());
        page.view().clear_panic();
    }
}

/// Prints the panics that a call of an actor has caught. Its thread has no worker page.
#[inline]
pub(super) fn print_caught_in_thread() {
    if ATTENTION.load(Ordering::Relaxed) & PANIC_SEEN != 0 {
        print_all(take_captured());
    }
}

/// Clears the panic record after an initializer, so that its panics are not attributed to a later task.
pub(super) fn clear_panic_record() {
    if let Some(ProcessPanics { page: Some(page), .. }) = process().as_ref() {
        page.view().clear_panic();
    }
}

fn print_all(captured: Vec<CapturedPanic>) {
    for CapturedPanic { report, .. } in captured {
        let thread = report.thread.as_deref().unwrap_or("worker");
        let at = report.location.map(|at| at.to_string()).unwrap_or_default();
        // If standard error is closed, the failure cannot be reported.
        let text = format!("\nthread '{thread}' panicked at {at}:\n{}\n", report.message);
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}
