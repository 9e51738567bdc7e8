//! The code that runs in a worker process or thread.
//!
//! A worker is set up, runs its initializers, and reports that it is ready. Then it
//! [serves](serve): it claims chunks, runs their inputs and answers them. The module `start` creates
//! workers.

#[cfg(feature = "tokio")]
mod async_wakeup;
mod config;
mod connection;
#[cfg(feature = "tokio")]
mod current;
mod growth;
#[cfg(feature = "tokio")]
mod host;
#[cfg(feature = "tokio")]
mod host_state;
mod marker;
#[cfg(feature = "tokio")]
pub(crate) mod orders;
mod panic;
mod serve;
mod sleep;
mod stopwatch;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

pub(crate) use config::WorkerConfig;
#[cfg(feature = "tokio")]
pub(crate) use host::{LaneEnd, NewThreadLane, ThreadHost};
pub(crate) use panic::text_of;
pub(crate) use serve::WorkerLoop;

use crate::call::Call;
use crate::cancellation;
use crate::codec::Source;
use crate::config::StartMethod;
use crate::error::{Error, PanicReport};
pub(crate) use crate::failure::{Failure, FailureKind};
use crate::identity;
pub(crate) use crate::identity::{depth, pool_of_thread};
use crate::inputs::Inputs;
use crate::present;
use crate::queue::WorkerPageMap;
use crate::registry;
pub(crate) use crate::sys::original::{Original, PANICKED};
use crate::sys::wakeup::Wakeup;
use connection::{fault_record, link_to_caller, send_message};
use growth::Growth;

/// The messages of a worker on its control socket after the hello.
pub(crate) const READY: u8 = 1;
/// A worker could not get ready; an encoded [`Failure`] follows.
pub(crate) const FAILED: u8 = 2;

/// The maximum length of a message on a control socket in bytes.
pub(crate) const MESSAGE_LEN: usize = 48 << 10;

/// The arguments of a new worker process.
pub(crate) struct Inherited {
    pub(crate) control: OwnedFd,
    pub(crate) fds: Vec<OwnedFd>,
    /// The caller's pid.
    pub(crate) parent: u32,
    pub(crate) method: StartMethod,
}

/// Makes the current thread a worker of a pool.
pub(crate) fn enter_thread(id: usize, depth: usize, pool: u64, page: &Arc<WorkerPageMap>) {
    identity::enter_thread(id, depth, pool);
    cancellation::enter_thread(page);
    panic::install_in_worker_thread(Arc::clone(page));
}

/// Captures the panics of this thread instead of printing them.
pub(crate) fn capture_panics() {
    panic::install_in_thread();
}

/// Returns the report of the panic that ended a call of an actor on this thread.
pub(crate) fn report_of_panic(payload: &(dyn std::any::Any + Send)) -> PanicReport {
    panic::report(payload)
}

/// Prints the panics that a call of an actor has caught.
#[inline]
pub(crate) fn print_caught_panics() {
    panic::print_caught_in_thread();
}

/// Runs a new worker process, and ends it.
pub(crate) fn process(inherited: Inherited) -> ! {
    let (method, original) = (inherited.method, Original::here());
    let code = match run_process(inherited) {
        Ok(()) => 0,
        Err(_) => 1,
    };
    crate::state::clear();
    original.or_end(0);
    serve::flush();
    crate::sys::process::leave(code, method == StartMethod::Fork)
}

fn run_process(inherited: Inherited) -> io::Result<()> {
    let Inherited { control, fds, parent, method } = inherited;
    crate::config::inherit(method);
    crate::sys::termination::follow(parent);
    if method != StartMethod::Fork {
        // A fork of the caller does not call `exit`.
        crate::sys::exiting::end_copies();
    }
    // If the kernel does not support this, the worker still ends when it next uses the socket.
    let _ = crate::sys::process::die_with_socket(control.as_fd());
    crate::handshake::send_hello(&control)?;
    let mut fds = fds.into_iter();
    let [Some(page_file), Some(tasks), Some(pool_page), Some(wakeup), Some(link)] =
        std::array::from_fn(|_| fds.next())
    else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let page = Arc::new(WorkerPageMap::open(page_file.as_fd())?);
    let config = WorkerConfig::read(&page).map_err(io::Error::other)?;
    // A lane has three more descriptors: its wake-up eventfd, and the order socket and the kill socket of its host.
    let of_host = (config.lanes > 0).then(|| std::array::from_fn(|_| fds.next()));
    let inputs = fds.next();
    identity::enter_process(config.id, config.depth, parent);
    if config.lanes == 0 {
        cancellation::enter_process(&page);
    }
    let wakeup = Arc::new(Wakeup::open(wakeup)?);
    let link = Arc::new(link_to_caller(link, Arc::clone(&page), Arc::clone(&wakeup))?);
    crate::handle::set_source(link.clone());
    panic::install_in_process(Arc::clone(&page));
    crate::sys::crash::watch_faults(fault_record(&page));
    let marker = match config.captures_output {
        true => Some(marker::OutputMarker::new(Arc::clone(&page))?),
        false => None,
    };
    let ready = config
        .apply()
        .map_err(|error| Box::new(Failure::plain(FailureKind::Initializer, error.to_string())))
        .and_then(|()| initialize_from(inputs))
        .and_then(|()| match config.restart_above.and_then(Growth::refuse) {
            Some(text) => Err(Box::new(Failure::plain(FailureKind::Initializer, text))),
            None => Ok(()),
        });
    if let Err(failure) = ready {
        let mut message = vec![FAILED];
        message.extend(failure.shortened().encoded());
        message.truncate(MESSAGE_LEN);
        send_message(&control, &message)?;
        return Ok(());
    }
    present::set_page(Arc::clone(&page), Arc::clone(&wakeup));
    #[cfg(feature = "tokio")]
    if let Some([Some(lane_wakeup), Some(orders), Some(kill_socket)]) = of_host {
        let (tasks, pool_page) = serve::map_regions(&tasks, &pool_page)?;
        // Rule N2.
        crate::sys::process::die_with_socket(kill_socket.as_fd())?;
        crate::sys::process::outlive_socket(control.as_fd())?;
        std::mem::forget(kill_socket);
        let regions = host_state::HostRegions { tasks, pool_page, wakeup };
        return host::run(
            regions,
            orders,
            host::NewLane { config, control, page, link, lane_wakeup },
        );
    }
    let _: Option<[Option<OwnedFd>; 3]> = of_host;
    let mut worker = WorkerLoop::open(&config, page, &tasks, &pool_page, wakeup, link)?;
    if let Some(marker) = marker {
        worker.mark_output(marker);
    }
    // The files are mapped, so their descriptors are not needed. A task might close them and open other files
    // with the same numbers.
    drop((tasks, pool_page, page_file));
    send_message(&control, &[READY])?;
    worker.serve();
    // The socket stays open until the process ends, so that the worker also ends with its caller while it runs
    // destructors and exit hooks.
    std::mem::forget(control);
    // A task may have closed the wake-up eventfd and opened another file with the same number.
    std::mem::forget(worker);
    Ok(())
}

/// Runs the initializers of a worker process, if it has any.
fn initialize_from(inputs: Option<OwnedFd>) -> Result<(), Box<Failure>> {
    let Some(file) = inputs else { return Ok(()) };
    let inputs = Inputs::open(&file).map_err(|error| {
        let text = format!("the inputs of its initializers cannot be read: {error}");
        Box::new(Failure::plain(FailureKind::Initializer, text))
    })?;
    initialize(inputs.iter())
}

/// Runs initializers, given by their numbers, in order, and stops at the first one that fails.
pub(crate) fn initialize<'a>(
    mut initializers: impl Iterator<Item = (u32, Source<'a>)>,
) -> Result<(), Box<Failure>> {
    let original = Original::here();
    initializers.try_for_each(|(task, input)| {
        let Some(entry) = registry::get(task) else {
            return Err(Box::new(Failure::plain(FailureKind::NotRegistered, String::new())));
        };
        let mut call = Call::initializing(input, original);
        let run = || catch_unwind(AssertUnwindSafe(|| (entry.registration.thunk)(&mut call)));
        let (outcome, twice) = crate::state::made_by(task, run);
        original.or_end(if outcome.is_ok() { 0 } else { PANICKED });
        panic::clear_panic_record();
        let failure = match outcome {
            Ok(Ok(())) => match twice {
                None => return Ok(()),
                Some(twice) => Failure::plain(FailureKind::Initializer, made_twice(twice)),
            },
            Ok(Err(stop)) => *stop.0.unwrap_or_else(|| Box::new(crate::chunk::invalid_chunk())),
            Err(payload) => Failure::of_panic(call.phase, panic::report(&*payload)),
        };
        Err(Box::new(failure.of_initializer(entry.name())))
    })
}

/// Returns the message for an initializer that creates a second state of the same type.
fn made_twice(twice: crate::state::Twice) -> String {
    let of = crate::call::without_path(twice.of);
    let first = twice.first.and_then(registry::get);
    let first = first.map_or("a preload".to_owned(), |entry| format!("`{}`", entry.name()));
    format!(
        "it makes a value of type `{of}`, as {first} did before it, and a worker keeps one of each \
         type; give one of the two a type of its own"
    )
}

/// Runs the preloads in a server process. If one fails, returns its failure in the form that
/// [`preload_error`] decodes.
pub(crate) fn preload<'a>(
    preloads: impl Iterator<Item = (u32, Source<'a>)>,
) -> Result<(), Vec<u8>> {
    panic::install_in_server();
    initialize(preloads).map_err(|failure| failure.shortened().encoded())
}

/// Returns the error of a preload or an initializer, which `what` names, that failed in a server.
pub(crate) fn preload_error(bytes: &[u8], what: &str) -> Error {
    Failure::decoded(bytes).into_initializer_error(what)
}

/// Decodes the panic report of a panic record.
pub(crate) fn panic_report(bytes: &[u8]) -> PanicReport {
    crate::codec::decode(&mut Source::new(bytes)).unwrap_or_else(|_| PanicReport {
        message: "a panic whose report was damaged".to_owned(),
        location: None,
        backtrace: None,
        thread: None,
    })
}
