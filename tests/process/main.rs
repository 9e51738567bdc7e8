//! One process for one task.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use procession_tests::tasks::square;
use procession_tests::{StartMethod, harness};
use runtime::{Process, ProcessBuilder, worker};

mod outcomes;
mod settings;
mod streams;

fn main() -> ExitCode {
    let files = [outcomes::tests(), settings::tests(), streams::tests()];
    harness::main(files.into_iter().flatten().collect())
}

#[worker]
fn fail(text: String) {
    panic!("{text}")
}

/// Runs until there is a file, or its directory is gone.
#[worker]
fn until_file(path: PathBuf) -> u64 {
    while !path.exists() && path.parent().is_some_and(|dir| dir.exists()) {
        std::thread::sleep(Duration::from_millis(2));
    }
    1
}

#[worker]
fn sleep_long() {
    std::thread::sleep(Duration::from_secs(600));
}

fn builder(method: StartMethod) -> ProcessBuilder {
    Process::builder().start_method(method)
}

/// Wakes a thread, and counts.
struct Alarm(std::thread::Thread, AtomicUsize);

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.unpark();
    }
}

/// Polls until it is ready, and only when woken.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let alarm = Arc::new(Alarm(std::thread::current(), AtomicUsize::new(0)));
    let waker = Waker::from(Arc::clone(&alarm));
    let mut seen = 0;
    loop {
        if let Poll::Ready(value) = Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        while alarm.1.load(Ordering::SeqCst) == seen {
            std::thread::park();
        }
        seen = alarm.1.load(Ordering::SeqCst);
    }
}
