//! The background thread of a pool, which handles starts and ends of workers, deadlines, and results
//! for which no thread waits.
//!
//! It is usually blocked in `ppoll`. It respects the [fork lock](crate::start::fork_lock), so that
//! during a fork it waits either for that lock or in `ppoll`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::instances::ProcessHandle;
use super::objects::WorkerObjects;
use super::stopped::StoppedWorkers;
#[cfg(feature = "tokio")]
use super::thread_hosts::{LaneOrder, ThreadHosts};
use super::threads::ThreadInstance;
use super::{Batch, Engine, SharedPool, endings, starting, threads};
use crate::error::Error;
use crate::handle::ObjectQueue;
use crate::poison::IgnorePoison;
use crate::scheduler::{Event, TICK};
use crate::start::{self, Exit, Launcher, Order, StartBatch, fork_lock};
use crate::state::Share;
use crate::sys::fds::Kept;
use crate::sys::poll::{Awaited, poll};
use crate::sys::signals::SIGKILL;
use crate::sys::wakeup::Wakeup;
use crate::sys::{clock, control_group, process, socket};

/// The maximum time between the end of a process and the report of its exit status.
const EXIT_STATUS_TIMEOUT: Duration = Duration::from_secs(2);

/// The time that a process which this one is not permitted to kill has to end in another way, and the
/// interval of the checks.
const REFUSED: (Duration, Duration) = (Duration::from_millis(500), Duration::from_millis(10));

pub(crate) struct Dispatcher {
    shared: Arc<SharedPool>,
    launcher: Option<Box<dyn Launcher>>,
    shares: Arc<Vec<Share>>,
    /// The abandoned workers, with the memory that they may still read.
    left_behind: Vec<LeftBehind>,
    audited: Instant,
    unbacked_before: Vec<u64>,
    stopped: StoppedWorkers,
    #[cfg(feature = "tokio")]
    hosts: ThreadHosts,
}

/// A worker that was abandoned.
struct LeftBehind {
    process: Left,
    _batch: Option<Batch>,
}

enum Left {
    Thread(ThreadInstance),
    Process(u64, Arc<OwnedFd>),
}

impl LeftBehind {
    /// Returns whether it has ended since; then nothing of it is left.
    fn is_over(&mut self, launcher: Option<&mut Box<dyn Launcher>>) -> bool {
        match &mut self.process {
            Left::Thread(thread) => {
                let over = thread.is_over();
                if over {
                    thread.join();
                }
                over
            }
            Left::Process(ticket, pidfd) => {
                let over = process::ended(pidfd.as_fd(), Duration::ZERO);
                if over && let Some(launcher) = launcher {
                    // The end of the process was reported before. This call reaps it.
                    launcher.exit_of(*ticket, pidfd.as_fd());
                }
                over
            }
        }
    }
}

/// The events for which the dispatcher sleeps.
struct Rest {
    fds: Vec<Arc<OwnedFd>>,
    time: Option<Duration>,
    /// Whether the heap should be trimmed before.
    trim: bool,
}

/// Starts the thread, which starts the workers.
pub(crate) fn start(
    shared: Arc<SharedPool>,
    launcher: Option<Box<dyn Launcher>>,
    shares: Vec<Share>,
) -> Result<JoinHandle<()>, Error> {
    let name = format!("{}-dispatcher", shared.settings.name);
    let dispatcher = Dispatcher {
        shared,
        launcher,
        shares: Arc::new(shares),
        left_behind: Vec::new(),
        audited: Instant::now(),
        unbacked_before: Vec::new(),
        stopped: StoppedWorkers::default(),
        #[cfg(feature = "tokio")]
        hosts: ThreadHosts::default(),
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(move || dispatcher.run())
        .map_err(|error| Error::start(format!("failed to start the dispatcher: {error}")))
}

impl Dispatcher {
    fn run(mut self) {
        let _registered = fork_lock::register();
        let _end = End(Arc::clone(&self.shared));
        loop {
            let working = fork_lock::working();
            let Some(rest) = self.step() else { break };
            control_group::watch_memory();
            let launcher = self.launcher.as_ref().map(|launcher| launcher.fds());
            if rest.trim {
                crate::sys::memory::trim_heap();
            }
            drop(working);
            sleep(&self.shared.wakeup, &launcher.unwrap_or_default(), &rest.fds, rest.time);
        }
        #[cfg(feature = "tokio")]
        self.hosts.join();
        // The workers have ended. The launcher ends its server here, on the thread that used it.
        drop(self.launcher.take());
        threads::drop_shares(&self.shared, std::mem::take(&mut self.shares));
    }

    /// Does all pending work; returns what to wait for, or that the pool is over.
    fn step(&mut self) -> Option<Rest> {
        self.shared.wakeup.clear();
        #[cfg(feature = "tokio")]
        self.hosts.join();
        if let Some(launcher) = &mut self.launcher {
            let launcher_requests = self.shared.launcher_requests.take();
            launcher_requests.into_iter().for_each(|request| request(&mut **launcher));
        }
        self.launcher_events();
        self.look_at_workers();
        let shared = Arc::clone(&self.shared);
        let mut engine = shared.lock();
        engine.drain(&shared, None);
        let left = engine.watch_time(&shared);
        engine.watch_slow(&shared);
        let half = engine.watch_half_ended(&shared);
        self.audit(&mut engine);
        engine.event(&shared, Event::TimePassed);
        self.leave_behind(&mut engine);
        self.give_up_unanswered(&mut engine);
        let starts = std::mem::take(&mut engine.starts);
        drop(engine);
        let mut batch = StartBatch::default();
        for (slot, id) in starts {
            self.start_worker(slot, id, &mut batch);
            self.launcher_events();
        }
        let mut engine = shared.lock();
        if engine.scheduler.is_finished() {
            return None;
        }
        Some(self.rest(&mut engine, left, half))
    }

    /// Returns the descriptors to wait for.
    fn rest(
        &mut self,
        engine: &mut Engine,
        left: Option<Duration>,
        half: Option<Duration>,
    ) -> Rest {
        let shared = &*self.shared;
        let busy = engine.scheduler.outstanding() > 0;
        let (memory, trim) = engine.memory.look(busy, || shared.arena.trim());
        engine.pass_on(shared, None);
        let now = clock::now();
        let until = engine.scheduler.dispatcher_sleeps(now, left);
        let mut time = until.map(|until| Duration::from_nanos(until.saturating_sub(now)));
        let mut at_most = |limit: Duration| time = Some(time.map_or(limit, |time| time.min(limit)));
        memory.into_iter().chain(half).for_each(&mut at_most);
        if !self.left_behind.is_empty() {
            at_most(TICK);
        }
        let mut fds = Vec::new();
        for instance in engine.instances.iter().flatten() {
            if instance.refused.is_some() {
                at_most(REFUSED.1);
            }
            match &instance.process {
                ProcessHandle::Child { .. } if instance.over.is_some() => {
                    at_most(Duration::from_millis(1))
                }
                ProcessHandle::Child { pidfd, .. } => fds.push(Arc::clone(pidfd)),
                ProcessHandle::Thread(thread) if thread.is_ending() => {
                    at_most(Duration::from_millis(1))
                }
                _ => {}
            }
            fds.extend(instance.control.clone());
        }
        Rest { fds, time, trim }
    }

    fn launcher_events(&mut self) {
        let Some(launcher) = &mut self.launcher else { return };
        let shared = &*self.shared;
        for (ticket, signal) in std::mem::take(&mut shared.lock().refused) {
            // If this fails as well, the slot is abandoned after a time.
            let _ = launcher.signal(ticket, signal);
        }
        let mut events = Vec::new();
        launcher.events(&mut events);
        let mut engine = shared.lock();
        for event in events {
            match event {
                start::LaunchEvent::Started { ticket, pid, pidfd } => {
                    let Some(slot) = engine.slot_of(ticket as usize) else {
                        // The worker was abandoned before it existed.
                        if process::signal(pidfd.as_fd(), SIGKILL).is_err() {
                            let _ = launcher.signal(ticket, SIGKILL);
                        }
                        continue;
                    };
                    let process = ProcessHandle::Child { pid, pidfd: Arc::new(pidfd) };
                    engine.started(shared, slot, process);
                }
                start::LaunchEvent::NotStarted { ticket, error } => {
                    if let Some(slot) = engine.slot_of(ticket as usize) {
                        engine.event(shared, Event::NotStarted { slot, error: error.into() });
                    }
                }
                start::LaunchEvent::GivenUp { ticket } => {
                    if let Some(slot) = engine.slot_of(ticket as usize) {
                        engine.reap_nobody(shared, slot);
                    }
                }
                start::LaunchEvent::Exited { ticket, exit } => {
                    if let Some(slot) = engine.slot_of(ticket as usize) {
                        engine.reap(shared, slot, exit);
                    }
                }
                start::LaunchEvent::NotKilled { ticket, text } => {
                    let instance =
                        engine.slot_of(ticket as usize).and_then(|at| engine.instance_mut(at));
                    if let Some((_, why)) = instance.and_then(|instance| instance.refused.as_mut())
                    {
                        *why = format!("{why}; {text}");
                    }
                }
                // The workers die with their server, and are reaped one by one.
                start::LaunchEvent::Gone(_) => {}
            }
        }
    }

    /// Checks control sockets, processes and threads.
    fn look_at_workers(&mut self) {
        let shared = &*self.shared;
        let mut engine = shared.lock();
        for slot in 0..engine.instances.len() {
            engine.read_control(shared, slot);
            engine.answer_asks(shared, slot);
            #[cfg(feature = "progress")]
            engine.collect_bars(shared, slot);
            engine.see_leaving(shared, slot);
            let Some(instance) = engine.instance_mut(slot) else { continue };
            match &mut instance.process {
                ProcessHandle::Expected => {}
                ProcessHandle::Child { pidfd, .. } => {
                    let (ticket, pidfd) = (instance.id as u64, Arc::clone(pidfd));
                    if instance.over.is_none() && !process::ended(pidfd.as_fd(), Duration::ZERO) {
                        continue;
                    }
                    let since = *instance.over.get_or_insert_with(Instant::now);
                    let launcher = self.launcher.as_mut();
                    let exit = launcher.and_then(|l| l.exit_of(ticket, pidfd.as_fd()));
                    match exit {
                        Some(exit) => engine.reap(shared, slot, exit),
                        None if since.elapsed() > EXIT_STATUS_TIMEOUT => {
                            engine.reap(shared, slot, Exit::Unknown);
                        }
                        None => {
                            // Its last message may say why.
                            engine.read_control(shared, slot);
                            engine.event(shared, Event::ProcessOver { slot });
                        }
                    }
                }
                ProcessHandle::Thread(thread) => {
                    if thread.is_over() {
                        thread.join();
                        engine.reap(shared, slot, Exit::Code(0));
                    }
                }
            }
        }
    }

    /// Gives up the starts that were not answered in time. If such a worker exists after all, it is
    /// killed.
    fn give_up_unanswered(&mut self, engine: &mut Engine) {
        for slot in std::mem::take(&mut engine.unanswered) {
            let Some(worker) = engine.scheduler.slot(slot) else { continue };
            let (ticket, limit) = (worker.id as u64, self.shared.settings.limits.start_timeout);
            let said = self.launcher.as_mut().and_then(|l| l.overdue(ticket, limit));
            let known = || endings::late(&self.shared, worker, engine.instance(slot));
            let error = said.unwrap_or_else(known).into();
            engine.event(&self.shared, Event::NotStarted { slot, error });
        }
    }

    /// A thread cannot be killed, and neither can a process with rights that this one has given up, if
    /// all other ways fail. The slot is given to another worker, and the old worker ends on its own.
    fn leave_behind(&mut self, engine: &mut Engine) {
        let mut launcher = self.launcher.as_mut();
        self.left_behind.retain_mut(|left| !left.is_over(launcher.as_deref_mut()));
        let late = |instance: &super::WorkerInstance| {
            let late =
                instance.refused.as_ref().is_some_and(|(since, _)| since.elapsed() > REFUSED.0);
            late && instance.over.is_none()
        };
        let mut slots = std::mem::take(&mut engine.given_up);
        let instances = engine.instances.iter().enumerate();
        slots.extend(instances.filter_map(|(at, instance)| late(instance.as_ref()?).then_some(at)));
        for slot in slots {
            if engine.kill_reason(slot).is_none() {
                continue;
            }
            let position = engine.scheduler.slot(slot).and_then(|slot| slot.worker.position());
            let batch = position.and_then(|position| engine.scheduler.payload_at(position));
            let Some(instance) = engine.instance_mut(slot) else {
                engine.reap_nobody(&self.shared, slot);
                continue;
            };
            let left = match &mut instance.process {
                ProcessHandle::Thread(thread) => {
                    #[cfg(feature = "tokio")]
                    self.hosts.close(&self.shared, slot);
                    Some(Left::Thread(thread.leave_behind()))
                }
                ProcessHandle::Child { pidfd, .. } => {
                    instance.page.view().abandon();
                    instance.page.wake();
                    Some(Left::Process(instance.id as u64, Arc::clone(pidfd)))
                }
                ProcessHandle::Expected => None,
            };
            self.left_behind.extend(left.map(|process| LeftBehind { process, _batch: batch }));
            engine.reap(&self.shared, slot, Exit::Unknown);
        }
    }

    /// Starts a worker (rule E3).
    fn start_worker(&mut self, slot: usize, id: usize, batch: &mut StartBatch) {
        if let Err(error) = self.try_start(slot, id, batch) {
            let event = Event::NotStarted { slot, error: error.into() };
            self.shared.lock().event(&self.shared, event);
        }
    }

    fn try_start(&mut self, slot: usize, id: usize, batch: &mut StartBatch) -> Result<(), Error> {
        let shared = &*self.shared;
        let failed =
            |error: std::io::Error| Error::start(format!("failed to prepare a worker: {error}"));
        let unwanted = || Error::start("its worker was not needed any more");
        let Some(launcher) = &mut self.launcher else {
            let queue = Arc::<ObjectQueue>::default();
            let objects = WorkerObjects::of_thread(Arc::clone(&queue));
            let (lane_wakeup, lanes_end) = starting::lane_wakeup(shared).map_err(failed)?;
            let (mut instance, _) =
                starting::prepare(shared, slot, id, None, objects, lane_wakeup).map_err(failed)?;
            // Stored before the thread runs, so that its messages are noticed (rule E4).
            let thread = ThreadInstance::expected();
            let (page, ours) = (Arc::clone(&instance.page), thread.shared());
            instance.process = ProcessHandle::Thread(thread);
            if !shared.lock().install(shared, slot, instance) {
                return Err(unwanted());
            }
            #[cfg(feature = "tokio")]
            if let Some(lane_wakeup) = lanes_end {
                let order = LaneOrder { slot, id, page, queue, lane_wakeup, instance: &ours };
                self.hosts.open(&self.shared, order, &self.shares)?;
                shared.lock().lane_started(shared, slot);
                return Ok(());
            }
            let _ = lanes_end;
            let shares = Arc::clone(&self.shares);
            let handle = threads::start(shared, slot, id, page, shares, queue, &ours)?;
            shared.lock().thread_started(shared, slot, handle);
            return Ok(());
        };
        let (ours, theirs) = socket::pair().map_err(failed)?;
        let (link, workers_link) = socket::pair().map_err(failed)?;
        let objects = WorkerObjects::of_process(Kept::new(link));
        let (lane_wakeup, lanes_end) = starting::lane_wakeup(shared).map_err(failed)?;
        let (mut instance, page) =
            starting::prepare(shared, slot, id, Some(ours), objects, lane_wakeup)
                .map_err(failed)?;
        let mut stdio = shared.settings.take_stdio();
        if let Some(collector) = &shared.output {
            let (output, [stdout, stderr]) =
                collector.add(id, Arc::clone(&instance.page)).map_err(failed)?;
            instance.output = Some(output);
            stdio = [None, Some(stdout), Some(stderr)];
        }
        if !shared.lock().install(shared, slot, instance) {
            return Err(unwanted());
        }
        let regions = &shared.regions;
        let mut fds = vec![
            page.as_fd(),
            regions.tasks_fd.as_fd(),
            regions.pool_page_fd.as_fd(),
            shared.wakeup.as_fd(),
            workers_link.as_fd(),
        ];
        fds.extend(lanes_end.as_ref().map(AsFd::as_fd));
        let order = Order {
            ticket: id as u64,
            slot,
            fds: &fds,
            initializers: regions.inputs_fd.as_ref().map(AsFd::as_fd),
            stdio: [0, 1, 2].map(|at: usize| stdio[at].as_ref().map(AsFd::as_fd)),
            env: &shared.settings.env,
            directory: shared.settings.directory.as_ref().map(AsFd::as_fd),
            control: theirs.as_fd(),
        };
        launcher.launch(&order, batch)
    }

    /// Occasionally repairs the pool page, which a worker may have overwritten (rule Q19), and finds
    /// claims in the name of workers that have not made them, and workers that are stopped.
    fn audit(&mut self, engine: &mut Engine) {
        if engine.scheduler.outstanding() == 0 || self.audited.elapsed() < TICK {
            return;
        }
        self.audited = Instant::now();
        engine.audit_cursor(&self.shared);
        let (unbacked_before, violators) =
            engine.unbacked_claims(&self.shared, &self.unbacked_before);
        self.unbacked_before = unbacked_before;
        for slot in violators {
            let error = Error::start("a chunk was claimed in its name that it does not run");
            engine.event(&self.shared, Event::Misbehaved { slot, error: error.into() });
        }
        self.stopped.check(engine, &self.shared);
    }
}

/// Ends the pool when the dispatcher ends for any reason, so that no thread waits forever.
struct End(Arc<SharedPool>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.launcher_requests.end();
        let mut engine = self.0.lock();
        engine.event(&self.0, Event::DispatcherEnded);
        let waiting = engine.end_waker.take();
        engine.wakers.extend(waiting);
        self.0.changed.notify_all();
    }
}

/// Waits until a descriptor is readable or the time has passed.
fn sleep(
    wakeup: &Wakeup,
    launcher: &[BorrowedFd<'_>],
    fds: &[Arc<OwnedFd>],
    time: Option<Duration>,
) {
    if cfg!(miri) {
        // `poll` is not available; the eventfd is checked often instead.
        return std::thread::sleep(Duration::from_millis(1));
    }
    let awaited = std::iter::once(wakeup.as_fd())
        .chain(launcher.iter().copied())
        .chain(fds.iter().map(|fd| fd.as_fd()))
        .map(Awaited::readable)
        .collect();
    // After a signal, or if memory is short, everything is checked anyway.
    let _ = poll(awaited, time);
}

/// Joins the thread of a dispatcher.
pub(crate) fn join(handle: &std::sync::Mutex<Option<JoinHandle<()>>>) {
    let handle = handle.lock().ignore_poison().take();
    if let Some(handle) = handle {
        // `End` has reported its end, even if it panicked.
        let _ = handle.join();
    }
}
