//! Wakers that are woken or dropped by the dispatcher or by another thread, and that own pools and handles, make
//! calls, or panic. Every call has its outcome, and no resource is left.

mod awaiting;

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use runtime::{Handle, Pool, StartMethod};

use crate::common::{Gate, build, text, until_exists};
use crate::grid::Grid;
use crate::group::tell;
use crate::tasks::double;
use crate::{Options, sys, usage};

const CASES: [(&str, &str); 7] = [
    ("pools", "a waker owns its pool and ends it when it is woken or dropped"),
    (
        "handles",
        "a waker owns other handles of the pool and drops, cancels, queries and polls them",
    ),
    ("calls", "a waker makes calls, resizes and lists workers"),
    ("panics", "wakers panic when they are woken or dropped, during calls of other threads"),
    ("replaced", "each poll passes another waker, and only the last one is woken"),
    ("executors", "eight threads await handles, each with its own wakers"),
    ("processes", "the same for the future of a process"),
];

pub(crate) fn run(options: &Options<'_>) -> bool {
    let limit = Duration::from_secs(60);
    let applies = |_: &str, _| true;
    Grid { command: "wakers", cases: &CASES, applies, word: "", limit }.run(options)
}

pub(crate) fn case(words: &[&str]) -> bool {
    let [name, case, _] = *words else { return false };
    let Some(method) = crate::table::method(name) else { return false };
    sys::adopt_orphans();
    // Panics of wakers are expected, so they are not printed.
    std::panic::set_hook(Box::new(|_| ()));
    let before = usage::here();
    match case {
        "pools" => pools(method),
        "handles" => handles(method),
        "calls" => calls(method),
        "panics" => tell(case, panics(method)),
        "replaced" => tell(case, replaced(method)),
        "executors" => tell(case, awaiting::executors(method)),
        "processes" => tell(case, awaiting::processes(method)),
        _ => return false,
    }
    tell("nothing is left", usage::back_to(before));
    true
}

/// A waker that calls a function once, either when it is woken or when it is dropped.
struct Acting {
    act: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    when_woken: bool,
}

impl Acting {
    fn waker(when_woken: bool, act: impl FnOnce() + Send + 'static) -> Waker {
        Waker::from(Arc::new(Acting { act: Mutex::new(Some(Box::new(act))), when_woken }))
    }

    fn act(&self) {
        let act = self.act.lock().unwrap_or_else(|error| error.into_inner()).take();
        if let Some(act) = act {
            act();
        }
    }
}

impl Wake for Acting {
    fn wake(self: Arc<Self>) {
        if self.when_woken {
            self.act();
        }
    }
}

impl Drop for Acting {
    fn drop(&mut self) {
        self.act();
    }
}

fn poll<R: serde::de::DeserializeOwned>(
    handle: &mut Handle<R>,
    waker: &Waker,
) -> Poll<runtime::Result<R>> {
    Pin::new(handle).poll(&mut Context::from_waker(waker))
}

/// Reports one variant of a case, and waits until no resource of it is left, because `Fork` requires that the
/// process has no other thread.
fn tell_variant(what: &str, act: impl FnOnce() -> Result<(), String>) {
    let before = usage::here();
    tell(what, act());
    tell("nothing of it is left", usage::back_to(before));
}

/// Whether a thread waits for another call, so that it wakes the waker instead of the dispatcher.
const THREADS: [bool; 2] = [false, true];

/// Polls a handle with a waker, and returns the handle unless it has to be dropped.
fn woken(
    pool: &Pool,
    gate: &Gate,
    other_waits: bool,
    detached: bool,
    waker: Waker,
) -> Result<Option<Handle<u64>>, String> {
    let mut handle = pool.submit(until_exists, gate.0.clone());
    if poll(&mut handle, &waker).is_ready() {
        return Err("it is done before the gate is open".to_owned());
    }
    drop(waker);
    if other_waits {
        let later = pool.submit(until_exists, gate.0.clone());
        // This thread reads the results of all calls while it waits.
        std::thread::spawn(move || later.wait().map(drop));
        std::thread::sleep(Duration::from_millis(3));
    }
    Ok((!detached).then_some(handle))
}

fn receive<T>(receiver: &Receiver<T>, what: &str) -> Result<T, String> {
    receiver
        .recv_timeout(Duration::from_secs(20))
        .map_err(|_| format!("{what}: the waker has not finished"))
}

/// A way to end a pool.
type End = (&'static str, fn(&Pool));

fn pools(method: StartMethod) {
    let ends: [End; 4] = [
        ("drop", |_| ()),
        ("close", Pool::close),
        ("join", Pool::join),
        ("terminate", Pool::terminate),
    ];
    for (name, end) in ends {
        for other_waits in THREADS {
            for detached in [false, true] {
                let what = format!("{name} {other_waits} {detached}");
                tell_variant(&what, || owned(method, end, other_waits, detached));
            }
        }
    }
}

fn owned(
    method: StartMethod,
    end: fn(&Pool),
    other_waits: bool,
    detached: bool,
) -> Result<(), String> {
    let gate = Gate::new("gate");
    let pool = Arc::new(Mutex::new(Some(build(method)?)));
    let (sender, receiver): (Sender<Duration>, _) = channel();
    let owned = Arc::clone(&pool);
    // If the handle is kept, the waker is woken. Otherwise it is dropped with the call.
    let waker = Acting::waker(!detached, move || {
        let pool = owned.lock().unwrap_or_else(|error| error.into_inner()).take();
        let begun = Instant::now();
        if let Some(pool) = pool {
            end(&pool);
        }
        let _ = sender.send(begun.elapsed());
    });
    let handle = {
        let pool = pool.lock().map_err(|error| error.to_string())?;
        woken(pool.as_ref().ok_or("the pool is gone")?, &gate, other_waits, detached, waker)?
    };
    drop(pool);
    gate.open();
    let took = receive(&receiver, "the end of the pool")?;
    if took > Duration::from_secs(8) {
        return Err(format!("it took {took:?}"));
    }
    let value = handle.map_or(Ok(1), Handle::wait).map_err(text)?;
    if value == 1 { Ok(()) } else { Err(format!("the value {value}")) }
}

/// The use that a waker makes of the handles that it owns.
type Use = (&'static str, fn(Handle<u64>));

fn handles(method: StartMethod) {
    let uses: [Use; 5] = [
        ("drops", drop),
        ("cancels", |mut handle| {
            handle.cancel();
        }),
        ("queries", |handle| {
            handle.is_done();
        }),
        ("polls", |mut handle| {
            let _ = poll(&mut handle, Waker::noop());
        }),
        ("waits", |mut handle| {
            let _ = handle.wait_timeout(Duration::ZERO);
        }),
    ];
    for (name, act) in uses {
        for other_waits in THREADS {
            for detached in [false, true] {
                let what = format!("{name} {other_waits} {detached}");
                tell_variant(&what, || {
                    with_pool(method, other_waits, detached, |pool, sender| {
                        let owned: Vec<_> = (0..50).map(|x| pool.submit(double, x)).collect();
                        let owned = owned.into_iter();
                        move || {
                            owned.for_each(act);
                            let _ = sender.send(());
                        }
                    })
                });
            }
        }
    }
}

/// Makes a waker call a function, and checks that the pool works afterwards.
fn with_pool<F: FnOnce() + Send + 'static>(
    method: StartMethod,
    other_waits: bool,
    detached: bool,
    make: impl FnOnce(&Arc<Pool>, Sender<()>) -> F,
) -> Result<(), String> {
    let gate = Gate::new("gate");
    let pool = Arc::new(build(method)?);
    let (sender, receiver) = channel();
    // A worker is busy, so that the calls of the waker are pending.
    let first = pool.submit(until_exists, gate.0.clone());
    let act = make(&pool, sender);
    let waker = Acting::waker(!detached, act);
    let handle = woken(&pool, &gate, other_waits, detached, waker)?;
    gate.open();
    receive(&receiver, "the function")?;
    for handle in [Some(first), handle].into_iter().flatten() {
        if handle.wait().map_err(text)? != 1 {
            return Err("a wrong value".to_owned());
        }
    }
    works(&pool)
}

fn works(pool: &Pool) -> Result<(), String> {
    let values = pool.map(double, 0..100).map_err(text)?;
    if values.into_iter().eq((0..100).map(|x| 2 * x)) {
        Ok(())
    } else {
        Err("wrong values".to_owned())
    }
}

type Call = (&'static str, fn(&Pool) -> bool);

fn calls(method: StartMethod) {
    let all: [Call; 4] = [
        ("submit", |pool| {
            drop(pool.submit(double, 3));
            true
        }),
        ("map_async", |pool| {
            drop(pool.map_async(double, 0..200));
            true
        }),
        ("resize", |pool| pool.resize(3).is_ok()),
        ("workers", |pool| !pool.workers().is_empty()),
    ];
    for (name, call) in all {
        for other_waits in THREADS {
            for detached in [false, true] {
                let what = format!("{name} {other_waits} {detached}");
                tell_variant(&what, || {
                    with_pool(method, other_waits, detached, |pool, sender| {
                        // The waker may be the last owner of the pool.
                        let pool = Arc::clone(pool);
                        move || {
                            if call(&pool) {
                                let _ = sender.send(());
                            }
                        }
                    })
                });
            }
        }
    }
}

fn panics(method: StartMethod) -> Result<(), String> {
    let pool = build(method)?;
    let over = AtomicU64::new(0);
    let panicked = Arc::new(AtomicU64::new(0));
    std::thread::scope(|scope| {
        let load = [0, 1].map(|_| {
            scope.spawn(|| {
                let mut outcome = Ok(());
                while outcome.is_ok() && over.load(Ordering::Relaxed) == 0 {
                    outcome = works(&pool);
                }
                outcome
            })
        });
        let outcome = (0..20).try_for_each(|round| {
            let gate = Gate::new(&format!("gate-{round}"));
            let mut kept = Vec::new();
            for at in 0..4 {
                let panicked = Arc::clone(&panicked);
                let detached = at % 2 == 1;
                let waker = Acting::waker(!detached, move || {
                    panicked.fetch_add(1, Ordering::SeqCst);
                    panic!("a waker panics");
                });
                kept.push(woken(&pool, &gate, false, detached, waker)?);
            }
            gate.open();
            kept.into_iter().flatten().try_for_each(|handle| {
                // If this thread reads the outcome, it also wakes the waker.
                let value = handle.wait().map_err(text)?;
                if value == 1 { Ok(()) } else { Err(format!("the value {value}")) }
            })
        });
        over.store(1, Ordering::Relaxed);
        load.into_iter()
            .map(|load| load.join().unwrap_or(Err("a panic reached a call".to_owned())))
            .fold(outcome, Result::and)
    })?;
    works(&pool)?;
    let end = Instant::now() + Duration::from_secs(10);
    while panicked.load(Ordering::SeqCst) < 80 {
        if Instant::now() > end {
            return Err(format!("{} of 80 wakers have panicked", panicked.load(Ordering::SeqCst)));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// A waker that counts its wake-ups, and the wakers that exist.
struct Counting {
    wakes: Arc<AtomicU64>,
    alive: Arc<AtomicU64>,
}

impl Wake for Counting {
    fn wake(self: Arc<Self>) {
        self.wakes.fetch_add(1, Ordering::SeqCst);
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

fn replaced(method: StartMethod) -> Result<(), String> {
    let pool = build(method)?;
    let (early, last, alive) =
        (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let waker = |wakes: &Arc<AtomicU64>| {
        alive.fetch_add(1, Ordering::SeqCst);
        Waker::from(Arc::new(Counting { wakes: Arc::clone(wakes), alive: Arc::clone(&alive) }))
    };
    let mut expected = 0;
    for round in 0..20 {
        let gate = Gate::new(&format!("gate-{round}"));
        let mut handles: Vec<_> =
            (0..10).map(|_| pool.submit(until_exists, gate.0.clone())).collect();
        for at in 0..5 {
            for handle in &mut handles {
                let wakes = if at == 4 { &last } else { &early };
                if poll(handle, &waker(wakes)).is_ready() {
                    return Err("it is done before the gate is open".to_owned());
                }
            }
        }
        expected += handles.len() as u64;
        gate.open();
        let end = Instant::now() + Duration::from_secs(10);
        while last.load(Ordering::SeqCst) < expected {
            if Instant::now() > end {
                return Err(format!("{last:?} of {expected} were woken"));
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        for mut handle in handles {
            match poll(&mut handle, Waker::noop()) {
                Poll::Ready(Ok(1)) => {}
                other => return Err(format!("woken, and {other:?}")),
            }
        }
    }
    let counts = [&early, &last, &alive].map(|count| count.load(Ordering::SeqCst));
    if counts == [0, expected, 0] {
        Ok(())
    } else {
        Err(format!("{counts:?}, not 0, {expected}, 0"))
    }
}
