//! The threads of one actor (rule A5).
//!
//! One of them, the leader, receives. It runs exclusive calls itself, one after the other. A shared call it runs itself
//! as well if calls of that method are short, since another thread would have to be woken to receive; if
//! it then takes longer than [`LONG`], a thread that stands by takes over. For methods that are known to be
//! long the leader appoints another one first.

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::time::Duration;

use super::chain::{self, RunningGuard, Runs};
use super::host::ActorHost;
use super::kind::{ActorType, BoxedActor, Method, MethodBody};
use super::link::{MessageBuffer, MessageReceiver, Unreceived};
use super::message::{ActorRequest, ReplyStatus};
use crate::call::{Call, Stop};
use crate::codec::{Sink, Source};
use crate::failure::{Failure, FailureKind};
use crate::fault::fault;
use crate::handle::{self, Object};
use crate::poison::IgnorePoison;
use crate::sys::clock;
use crate::sys::original::{Original, PANICKED};
use crate::worker;

/// How long a shared call may keep others from being received, in nanoseconds.
const LONG: u64 = 1_000_000;

/// Calls of a method that take longer than this on average are not run by the leader, in nanoseconds.
const SHORT: u64 = 20_000;

/// How long a thread stands by before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// How long after its link was closed an actor looks for requests once more.
const CLOSING: Duration = Duration::from_millis(3);

/// The leader lost its place while it ran a call.
const TAKEN: u64 = u64::MAX;

/// How late a request has to be received for its caller to be looked for, in nanoseconds.
const LATE: u64 = 10_000_000;

/// An actor and its threads.
pub(super) struct ServedActor {
    id: u64,
    kind: &'static ActorType,
    host: Arc<ActorHost>,
    actor: RwLock<Option<BoxedActor>>,
    receiver: MessageReceiver,
    desk: Mutex<Leadership>,
    bell: Condvar,
    /// When the leader began the shared call that it runs itself, 0 if it runs none, or [`TAKEN`].
    began: AtomicU64,
    /// Nobody looks at `began`.
    unwatched: AtomicBool,
    /// How long the calls of each method take on average, in nanoseconds; 0 if not known.
    paces: Vec<AtomicU64>,
    runs: Arc<Runs>,
    original: Original,
}

struct Leadership {
    /// Nobody receives: the first that stands by does.
    is_vacant: bool,
    is_over: bool,
    standing_by: usize,
    threads: usize,
}

/// How the turn of a leader ended.
enum LeadEnd {
    /// Nothing will come any more.
    Over,
    /// Another one leads.
    Passed,
}

impl ServedActor {
    pub(super) fn new(
        id: u64,
        kind: &'static ActorType,
        host: Arc<ActorHost>,
        actor: BoxedActor,
        receiver: MessageReceiver,
    ) -> Arc<Self> {
        let runs = Arc::new(Runs::default());
        chain::appear(id, &runs);
        let desk = Leadership { is_vacant: false, is_over: false, standing_by: 0, threads: 1 };
        Arc::new(ServedActor {
            id,
            kind,
            host,
            actor: RwLock::new(Some(actor)),
            receiver,
            desk: Mutex::new(desk),
            bell: Condvar::new(),
            began: AtomicU64::new(0),
            unwatched: AtomicBool::new(true),
            paces: kind.methods.iter().map(|_| AtomicU64::new(0)).collect(),
            runs,
            original: Original::here(),
        })
    }

    fn desk(&self) -> MutexGuard<'_, Leadership> {
        self.desk.lock().ignore_poison()
    }

    /// The life of a thread; the last one drops the actor.
    pub(super) fn work(self: &Arc<Self>, mut leads: bool) {
        worker::watch_panics();
        let (mut buffer, mut reply) = (MessageBuffer::new(), Vec::new());
        while leads || self.stand_by() {
            match self.lead(&mut buffer, &mut reply) {
                LeadEnd::Over => {
                    self.desk().is_over = true;
                    self.bell.notify_all();
                    leads = false;
                }
                LeadEnd::Passed => leads = false,
            }
        }
        let mut desk = self.desk();
        desk.threads -= 1;
        let is_last = desk.threads == 0 && desk.is_over;
        drop(desk);
        if is_last {
            self.end();
        }
    }

    fn end(&self) {
        let actor = self.actor.write().ignore_poison().take();
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(actor)));
        self.original.or_end(if dropped.is_ok() { 0 } else { PANICKED });
        if let Err(payload) = dropped {
            let report = worker::report_of_panic(&*payload);
            std::mem::forget(payload);
            tell(
                self.kind.name(),
                "drop",
                &Failure::of_panic(crate::failure::TaskPhase::Running, report),
            );
        }
        worker::survived_in_thread();
        chain::disappear(self.id);
        self.host.ended(self.id);
    }

    /// Waits until this thread leads; `false` if it has to end.
    fn stand_by(self: &Arc<Self>) -> bool {
        let mut desk = self.desk();
        desk.standing_by += 1;
        let mut quiet = 0;
        let leads = loop {
            if desk.is_over {
                break false;
            }
            if desk.is_vacant {
                desk.is_vacant = false;
                break true;
            }
            // Only the first of those that stand by looks at the leader.
            let watches = quiet < 3;
            self.unwatched.store(!watches, Ordering::SeqCst);
            let time = if watches { Duration::from_nanos(LONG) } else { IDLE };
            let began = self.began.load(Ordering::SeqCst);
            if !watches && began != 0 {
                quiet = 0;
                continue;
            }
            let (woken, waited) = self.bell.wait_timeout(desk, time).ignore_poison();
            desk = woken;
            if desk.is_over || desk.is_vacant {
                continue;
            }
            let began = self.began.load(Ordering::SeqCst);
            if began == 0 || began == TAKEN {
                quiet = if waited.timed_out() { quiet + 1 } else { 0 };
                if !watches && waited.timed_out() && desk.standing_by > 1 {
                    break false;
                }
                continue;
            }
            quiet = 0;
            if clock::now().saturating_sub(began) >= LONG
                && self
                    .began
                    .compare_exchange(began, TAKEN, Ordering::SeqCst, Ordering::SeqCst)
                    .is_ok()
            {
                break true;
            }
        };
        desk.standing_by -= 1;
        // Others may stand by and not look.
        self.unwatched.store(true, Ordering::SeqCst);
        leads
    }

    /// Receives until there is nothing any more or another one leads.
    fn lead(self: &Arc<Self>, buffer: &mut MessageBuffer, reply: &mut Vec<u8>) -> LeadEnd {
        let mut was_closed = false;
        loop {
            let parcel = match self.receiver.receive(buffer, None) {
                Ok(parcel) => parcel,
                Err(Unreceived::Gone) if self.host.is_closing() && !was_closed => {
                    // For a moment senders do not know (rule A7).
                    was_closed = true;
                    std::thread::sleep(CLOSING);
                    continue;
                }
                Err(Unreceived::Gone) => return LeadEnd::Over,
                // Its caller gets no answer if its objects could not be opened here, but an end of its link.
                Err(_) => continue,
            };
            fault("received");
            let mut objects = parcel.objects;
            let Some((request, arguments)) = ActorRequest::read(parcel.bytes) else { continue };
            if request.registers {
                self.host.register(request.id.link, &mut objects);
            }
            if let Some(status) = self.refused(&request) {
                self.host.reply(&request, reply, status, &[]);
                continue;
            }
            let Some(method) = self.kind.methods.get(request.method as usize) else {
                let failure =
                    Failure::plain(FailureKind::NotRegistered, "there is no such method".into());
                self.fail(&request, "", reply, &failure);
                continue;
            };
            match method.run {
                MethodBody::Exclusive(run) => {
                    self.runs.is_next(request.id);
                    let mut actor = self.actor.write().ignore_poison();
                    let Some(actor) = actor.as_mut() else { return LeadEnd::Over };
                    self.run(method, request, arguments, &objects, reply, true, |call| {
                        run(&mut **actor, call)
                    });
                }
                MethodBody::ManagerShared(run) => {
                    let actor = self.actor.read().ignore_poison();
                    let Some(shared) = actor.as_ref() else { return LeadEnd::Over };
                    let pace = self.paces[request.method as usize].load(Ordering::Relaxed);
                    let passed = pace > SHORT && self.appoint();
                    let began = clock::now();
                    if !passed {
                        self.began.store(began, Ordering::SeqCst);
                        self.be_watched();
                    }
                    self.run(method, request, arguments, &objects, reply, false, |call| {
                        run(&**shared, call)
                    });
                    drop(actor);
                    if passed || !self.still_leads(began) {
                        return LeadEnd::Passed;
                    }
                }
                MethodBody::Absent => {
                    let text = "the method is configured out".into();
                    let failure = Failure::plain(FailureKind::NotRegistered, text);
                    self.fail(&request, method.name, reply, &failure);
                }
            }
        }
    }

    /// Whether nobody took over while the leader ran a call.
    fn still_leads(&self, began: u64) -> bool {
        self.began.compare_exchange(began, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Why a request is not begun, if it is not.
    fn refused(&self, request: &ActorRequest) -> Option<ReplyStatus> {
        if self.host.is_closing() {
            return Some(ReplyStatus::Ended);
        }
        let now = clock::now();
        if request.until != 0 && now >= request.until {
            return Some(ReplyStatus::Expired);
        }
        // Nobody waits any more for what waited long: the caller died or gave up.
        let is_late = now.saturating_sub(request.sent) > LATE;
        (is_late && !request.cast && self.host.is_gone(request.id.link))
            .then_some(ReplyStatus::Expired)
    }

    /// Has another thread lead, if there may be one.
    fn appoint(self: &Arc<Self>) -> bool {
        let mut desk = self.desk();
        if desk.standing_by > 0 {
            desk.is_vacant = true;
            drop(desk);
            self.bell.notify_one();
            return true;
        }
        if desk.threads >= self.host.threads() {
            return false;
        }
        desk.threads += 1;
        drop(desk);
        self.start_thread(true)
    }

    /// Has another thread look whether the call that the leader now runs takes long.
    fn be_watched(self: &Arc<Self>) {
        if !self.unwatched.load(Ordering::SeqCst) {
            return;
        }
        let mut desk = self.desk();
        if desk.standing_by > 0 {
            drop(desk);
            self.bell.notify_one();
        } else if desk.threads < self.host.threads() {
            desk.threads += 1;
            drop(desk);
            let started = self.start_thread(false);
            self.unwatched.store(!started, Ordering::SeqCst);
        }
    }

    fn start_thread(self: &Arc<Self>, leads: bool) -> bool {
        let served = Arc::clone(self);
        let started = self.host.start_thread(self.kind.name(), move || served.work(leads));
        if started.is_err() {
            self.desk().threads -= 1;
        }
        started.is_ok()
    }

    /// Runs a call and answers it.
    #[expect(clippy::too_many_arguments, reason = "the parts of one call")]
    fn run(
        &self,
        method: &Method,
        request: ActorRequest,
        arguments: &[u8],
        objects: &[Arc<Object>],
        reply: &mut Vec<u8>,
        exclusive: bool,
        run: impl FnOnce(&mut Call<'_>) -> Result<(), Stop>,
    ) {
        let begun = clock::now();
        self.runs.begin(request.id, exclusive);
        let id = request.id;
        super::message::begin_reply(reply, id.serial, ReplyStatus::Value);
        let start = reply.len();
        let (outcome, phase) = {
            let _entered = RunningGuard::new(id, request.chain.clone(), self.id);
            let source = Source::new(arguments);
            let mut call = Call::of_method(source, Sink::over(reply), self.original);
            let outcome = catch_unwind(AssertUnwindSafe(|| run(&mut call)));
            (outcome, call.phase)
        };
        self.original.or_end(if outcome.is_ok() { 0 } else { PANICKED });
        self.runs.end(id);
        if !exclusive {
            let pace = &self.paces[request.method as usize];
            let (took, before) = (clock::now() - begun, pace.load(Ordering::Relaxed));
            let mean = if before == 0 { took } else { before - before / 8 + took / 8 };
            pace.store(mean.max(1), Ordering::Relaxed);
        }
        let _ = objects;
        match outcome {
            Ok(Ok(())) => {
                worker::survived_in_thread();
                let held = if handle::is_empty() { Vec::new() } else { handle::take() };
                debug_assert!(reply.len() >= start);
                fault("answering");
                let unsent = self.host.send(&request, reply, &held);
                fault("sent");
                if let Some(error) = unsent {
                    let text = format!("its output could not be sent: {error}");
                    let failure = Failure::plain(FailureKind::Encode, text);
                    self.fail(&request, method.name, reply, &failure);
                }
            }
            Ok(Err(stop)) => {
                worker::survived_in_thread();
                self.fail(&request, method.name, reply, &stop.into_failure());
            }
            Err(payload) => {
                let failure = Failure::of_panic(phase, worker::report_of_panic(&*payload));
                // Its destructor may panic again.
                if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                    std::mem::forget(again);
                }
                self.original.or_end(PANICKED);
                self.fail(&request, method.name, reply, &failure);
            }
        }
        handle::let_go(false);
    }

    /// Answers a call that failed; of a cast nobody else would tell.
    #[cold]
    fn fail(&self, request: &ActorRequest, method: &str, reply: &mut Vec<u8>, failure: &Failure) {
        if !handle::is_empty() {
            drop(handle::take());
        }
        fault("answering");
        match request.cast {
            true => tell(self.kind.name(), method, failure),
            false => self.host.reply(request, reply, ReplyStatus::Failed, &failure.encoded()),
        }
    }
}

/// Writes a failure to standard error that no caller waits for.
#[cold]
fn tell(actor: &str, method: &str, failure: &Failure) {
    let error = failure.clone().into_error().on_task(format!("{actor}::{method}"));
    let error = error.with(|facts| facts.is_method = true);
    // Nobody to tell if standard error is closed.
    let _ = writeln!(std::io::stderr(), "{error}");
}
