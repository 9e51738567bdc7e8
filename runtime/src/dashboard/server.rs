//! The thread of a dashboard (rule D1).
//!
//! It observes the fork lock like the dispatchers: while it is not blocked in `epoll`, it holds it, so that a pool of the
//! start method `Fork` can be built while a dashboard runs.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::future::{self, Either};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::MissedTickBehavior;

use super::access::Access;
use super::lanes::TICK;
use super::requests;
use super::state::{ServerRef, ServerState};
use crate::error::{Error, Result};
use crate::poison::IgnorePoison;
use crate::start::fork_lock::{self, Working};
use crate::sys::unshared::Unshared;

/// The number of looks at the workers in a tick, if anybody looks at the page.
const SAMPLES: u32 = 5;

/// The maximum number of connections.
const CONNECTIONS: usize = 64;

/// The thread, which ends when this is dropped.
pub(super) struct ServerThread {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for ServerThread {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it has been reported by the hook.
            let _ = thread.join();
        }
    }
}

thread_local! {
    /// Held by the thread while it is not blocked.
    static WORKING: RefCell<Option<Working>> = const { RefCell::new(None) };
}

/// Starts the thread.
///
/// # Errors
///
/// Returns an error if there are no threads or descriptors left.
pub(super) fn start(listener: std::net::TcpListener, access: Access) -> Result<ServerThread> {
    let failed = |error: std::io::Error| {
        Error::start(format!("the thread of the dashboard cannot start: {error}"))
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .on_thread_park(|| drop(WORKING.take()))
        .on_thread_unpark(|| drop(WORKING.replace(Some(fork_lock::working()))))
        .build()
        .map_err(failed)?;
    let shared = ServerState::new(access);
    let (stop, stopped) = oneshot::channel::<()>();
    let unshared = Unshared::new(listener.as_fd());
    let run = move || {
        let _registered = fork_lock::register();
        WORKING.set(Some(fork_lock::working()));
        runtime.block_on(async {
            let serving = pin!(serve(listener, unshared, shared));
            if let Either::Left((Err(error), _)) = future::select(serving, stopped).await {
                eprintln!("the dashboard has ended: {error}");
            }
        });
        // Connections end with it, whatever they wait for.
        drop(runtime);
        drop(WORKING.take());
    };
    let thread = std::thread::Builder::new().name("dashboard".to_owned()).spawn(run);
    Ok(ServerThread { stop: Some(stop), thread: Some(thread.map_err(failed)?) })
}

async fn serve(
    listener: std::net::TcpListener,
    unshared: Unshared,
    shared: ServerRef,
) -> std::io::Result<()> {
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let listener = TcpListener::from_std(listener)?;
    let listener = LimitedListener { listener, _unshared: unshared, free };
    tokio::spawn(watch_pools(Arc::clone(&shared)));
    axum::serve(listener, requests::router(shared)).await
}

/// Looks at the pools at each tick.
async fn watch_pools(shared: ServerRef) {
    let mut interval = tokio::time::interval(TICK / SAMPLES);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for at in 0_u32.. {
        interval.tick().await;
        let mut model = shared.model.lock().ignore_poison();
        let is_tick = at % SAMPLES == 0;
        if is_tick || shared.ticks.receiver_count() > 0 {
            model.sample();
        }
        if is_tick {
            model.advance();
            shared.ticks.send_replace(model.tick());
        }
    }
}

/// A listener that accepts a limited number of connections, none of which forked copies keep (rule D4).
struct LimitedListener {
    // Dropped before the socket is closed.
    _unshared: Unshared,
    listener: TcpListener,
    free: Arc<Semaphore>,
}

/// A connection.
struct LimitedStream {
    // Dropped before the stream is closed.
    _unshared: Unshared,
    stream: TcpStream,
    _permit: OwnedSemaphorePermit,
}

impl axum::serve::Listener for LimitedListener {
    type Io = LimitedStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (LimitedStream, SocketAddr) {
        loop {
            let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else {
                unreachable!("the semaphore is never closed")
            };
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let unshared = Unshared::new(stream.as_fd());
                    let stream = LimitedStream { stream, _unshared: unshared, _permit: permit };
                    return (stream, address);
                }
                // Too few descriptors, or a connection that has ended already.
                Err(_) => tokio::time::sleep(TICK).await,
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

mod io {
    //! Reading and writing pass through to the stream.

    use std::io::Result;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

    use super::LimitedStream;

    impl AsyncRead for LimitedStream {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buffer: &mut ReadBuf<'_>,
        ) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        }
    }

    impl AsyncWrite for LimitedStream {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<Result<usize>> {
            Pin::new(&mut self.stream).poll_write(context, bytes)
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(context)
        }
    }
}
