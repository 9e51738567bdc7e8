//! Handles and processes that are awaited by executors, which poll them only after a wake-up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use runtime::{ErrorKind, Process, StartMethod, worker};

use super::{Acting, receive, works};
use crate::common::{Gate, build, join_all, text, until_exists};
use crate::tasks::double;

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Awaits a future with its own waker, and polls it only after a wake-up.
fn block_on<F: Future + Unpin>(mut future: F) -> Result<F::Output, String> {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return Ok(output);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("it was not woken".to_owned());
        }
        std::thread::park_timeout(left);
    }
}

pub(super) fn executors(method: StartMethod) -> Result<(), String> {
    let pool = build(method)?;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8_u64)
            .map(|thread| {
                let pool = &pool;
                scope.spawn(move || {
                    for x in thread * 1000..thread * 1000 + 200 {
                        let handles = [0, 1, 2].map(|more| pool.submit(double, x + more));
                        for (more, handle) in (0..).zip(handles) {
                            let value = block_on(handle)?.map_err(text)?;
                            if value != 2 * (x + more) {
                                return Err(format!("{value} for {}", x + more));
                            }
                        }
                        // Meanwhile this thread reads the results of the awaited calls.
                        if x % 16 == thread {
                            works(pool)?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        join_all(threads)
    })
}

pub(super) fn processes(method: StartMethod) -> Result<(), String> {
    for round in 0..4 {
        let gate = Gate::new(&format!("gate-{round}"));
        let spawn = || {
            let builder = Process::builder().start_method(method);
            builder
                .grace(Duration::from_millis(50))
                .spawn(until_exists, gate.0.clone())
                .map_err(text)
        };
        let mut child = spawn()?;
        let other = spawn()?;
        let (sender, receiver) = channel();
        // The waker owns the other process, and may panic.
        let waker = Acting::waker(round % 2 == 0, move || {
            drop(other);
            let _ = sender.send(());
            assert!(round < 2, "a waker panics");
        });
        if Pin::new(&mut child).poll(&mut Context::from_waker(&waker)).is_ready() {
            return Err("it is done before the gate is open".to_owned());
        }
        drop(waker);
        gate.open();
        let value = if round % 2 == 0 {
            receive(&receiver, "the process")?;
            block_on(child)?.map_err(text)?
        } else {
            let value = child.join().map_err(text)?;
            drop(child);
            receive(&receiver, "the process")?;
            value
        };
        if value != 1 {
            return Err(format!("the value {value}"));
        }
    }
    let mut child = Process::builder().start_method(method).spawn(double, 4).map_err(text)?;
    match child.wait_timeout(Duration::from_secs(20)) {
        Some(Ok(8)) => {}
        other => return Err(format!("{other:?}")),
    }
    let failed = Process::builder().start_method(method).spawn(struck, ()).map_err(text)?;
    match block_on(failed)? {
        Err(error) if error.kind() == ErrorKind::Panicked => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

#[worker]
fn struck() {
    panic!("struck")
}
