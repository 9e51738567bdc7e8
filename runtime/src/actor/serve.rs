//! The threads of one actor (rule A5).
//!
//! One of the threads, the leader, receives the requests. It runs exclusive calls itself, one after the
//! other. It also runs a shared call itself if calls of that method are short, because waking another thread
//! to receive would take longer. If such a call takes longer than [`LONG`], a standby thread takes the lead.
//! For methods whose calls are known to be long, the leader first hands the lead to another thread.

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

/// The maximum time that a shared call may keep the leader from receiving, in nanoseconds.
const LONG: u64 = 1_000_000;

/// The maximum average duration of the calls of a method that the leader runs itself, in nanoseconds.
const SHORT: u64 = 20_000;

/// The time after which an unused standby thread ends.
const IDLE: Duration = Duration::from_secs(10);

/// The time after which an actor checks a closed link once more for requests.
const CLOSING: Duration = Duration::from_millis(3);

/// The value of `began` after a standby thread has taken the lead.
const TAKEN: u64 = u64::MAX;

/// The age of a request, in nanoseconds, from which on the actor checks whether its caller still waits.
const LATE: u64 = 10_000_000;

/// An actor and its threads.
pub(super) struct ServedActor {
    id: u64,
    kind: &'static ActorType,
    host: Arc<ActorHost>,
    actor: RwLock<Option<BoxedActor>>,
    receiver: MessageReceiver,
    leadership: Mutex<Leadership>,
    changed: Condvar,
    /// The time at which the leader began the shared call that it runs itself; 0 if it runs none, or
    /// [`TAKEN`].
    began: AtomicU64,
    /// Whether no thread watches `began`.
    unwatched: AtomicBool,
    /// The average duration of the calls of each method, in nanoseconds; 0 if it is not known.
    paces: Vec<AtomicU64>,
    runs: Arc<Runs>,
    original: Original,
}

struct Leadership {
    /// Whether no thread leads. The first standby thread then takes the lead.
    is_vacant: bool,
    is_over: bool,
    waiting_to_lead: usize,
    threads: usize,
}

/// The reason why a thread stopped leading.
enum LeadEnd {
    /// No more requests can arrive.
    Over,
    /// Another thread leads.
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
        let leadership =
            Leadership { is_vacant: false, is_over: false, waiting_to_lead: 0, threads: 1 };
        Arc::new(ServedActor {
            id,
            kind,
            host,
            actor: RwLock::new(Some(actor)),
            receiver,
            leadership: Mutex::new(leadership),
            changed: Condvar::new(),
            began: AtomicU64::new(0),
            unwatched: AtomicBool::new(true),
            paces: kind.methods.iter().map(|_| AtomicU64::new(0)).collect(),
            runs,
            original: Original::here(),
        })
    }

    fn leadership(&self) -> MutexGuard<'_, Leadership> {
        self.leadership.lock().ignore_poison()
    }

    /// Runs a thread of the actor. The last thread drops the actor.
    pub(super) fn work(self: &Arc<Self>, mut leads: bool) {
        worker::capture_panics();
        let (mut buffer, mut reply) = (MessageBuffer::new(), Vec::new());
        while leads || self.wait_to_lead() {
            match self.lead(&mut buffer, &mut reply) {
                LeadEnd::Over => {
                    self.leadership().is_over = true;
                    self.changed.notify_all();
                    leads = false;
                }
                LeadEnd::Passed => leads = false,
            }
        }
        let mut leadership = self.leadership();
        leadership.threads -= 1;
        let is_last = leadership.threads == 0 && leadership.is_over;
        drop(leadership);
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
            print_failure(
                self.kind.name(),
                "drop",
                &Failure::of_panic(crate::failure::TaskPhase::Running, report),
            );
        }
        worker::print_caught_panics();
        chain::disappear(self.id);
        self.host.ended(self.id);
    }

    /// Waits until this thread leads; returns `false` if it has to end.
    fn wait_to_lead(self: &Arc<Self>) -> bool {
        let mut leadership = self.leadership();
        leadership.waiting_to_lead += 1;
        let mut quiet = 0;
        let leads = loop {
            if leadership.is_over {
                break false;
            }
            if leadership.is_vacant {
                leadership.is_vacant = false;
                break true;
            }
            // A thread stops watching the leader after three quiet intervals.
            let watches = quiet < 3;
            self.unwatched.store(!watches, Ordering::SeqCst);
            let time = if watches { Duration::from_nanos(LONG) } else { IDLE };
            let began = self.began.load(Ordering::SeqCst);
            if !watches && began != 0 {
                quiet = 0;
                continue;
            }
            let (woken, waited) = self.changed.wait_timeout(leadership, time).ignore_poison();
            leadership = woken;
            if leadership.is_over || leadership.is_vacant {
                continue;
            }
            let began = self.began.load(Ordering::SeqCst);
            if began == 0 || began == TAKEN {
                quiet = if waited.timed_out() { quiet + 1 } else { 0 };
                if !watches && waited.timed_out() && leadership.waiting_to_lead > 1 {
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
        leadership.waiting_to_lead -= 1;
        // The other standby threads may not be watching.
        self.unwatched.store(true, Ordering::SeqCst);
        leads
    }

    /// Receives requests until no more can arrive, or until another thread leads.
    fn lead(self: &Arc<Self>, buffer: &mut MessageBuffer, reply: &mut Vec<u8>) -> LeadEnd {
        let mut was_closed = false;
        loop {
            let message = match self.receiver.receive(buffer, None) {
                Ok(message) => message,
                Err(Unreceived::Gone) if self.host.is_closing() && !was_closed => {
                    // Senders may not have noticed the end yet (rule A7).
                    was_closed = true;
                    std::thread::sleep(CLOSING);
                    continue;
                }
                Err(Unreceived::Gone) => return LeadEnd::Over,
                // The objects of this message could not be opened. Its caller is told by the end of its reply
                // link.
                Err(_) => continue,
            };
            fault("received");
            let mut objects = message.objects;
            let Some((request, arguments)) = ActorRequest::read(message.bytes) else { continue };
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
                    let passed = pace > SHORT && self.hand_over_lead();
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

    /// Returns whether no thread has taken the lead while the leader ran a call.
    fn still_leads(&self, began: u64) -> bool {
        self.began.compare_exchange(began, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Returns the status with which a request is refused, if it is.
    fn refused(&self, request: &ActorRequest) -> Option<ReplyStatus> {
        if self.host.is_closing() {
            return Some(ReplyStatus::Ended);
        }
        let now = clock::now();
        if request.until != 0 && now >= request.until {
            return Some(ReplyStatus::Expired);
        }
        // If a request has waited for long, its caller may have died or given up.
        let is_late = now.saturating_sub(request.sent) > LATE;
        (is_late && !request.cast && self.host.is_gone(request.id.link))
            .then_some(ReplyStatus::Expired)
    }

    /// Hands the lead to another thread, if there is one or one can be started.
    fn hand_over_lead(self: &Arc<Self>) -> bool {
        let mut leadership = self.leadership();
        if leadership.waiting_to_lead > 0 {
            leadership.is_vacant = true;
            drop(leadership);
            self.changed.notify_one();
            return true;
        }
        if leadership.threads >= self.host.threads() {
            return false;
        }
        leadership.threads += 1;
        drop(leadership);
        self.start_thread(true)
    }

    /// Makes another thread watch the duration of the call that the leader is about to run.
    fn be_watched(self: &Arc<Self>) {
        if !self.unwatched.load(Ordering::SeqCst) {
            return;
        }
        let mut leadership = self.leadership();
        if leadership.waiting_to_lead > 0 {
            drop(leadership);
            self.changed.notify_one();
        } else if leadership.threads < self.host.threads() {
            leadership.threads += 1;
            drop(leadership);
            let started = self.start_thread(false);
            self.unwatched.store(!started, Ordering::SeqCst);
        }
    }

    fn start_thread(self: &Arc<Self>, leads: bool) -> bool {
        let served = Arc::clone(self);
        let started = self.host.start_thread(self.kind.name(), move || served.work(leads));
        if started.is_err() {
            self.leadership().threads -= 1;
        }
        started.is_ok()
    }

    /// Runs a call and sends its answer.
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
                worker::print_caught_panics();
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
                worker::print_caught_panics();
                self.fail(&request, method.name, reply, &stop.into_failure());
            }
            Err(payload) => {
                let failure = Failure::of_panic(phase, worker::report_of_panic(&*payload));
                // The destructor of the payload may panic again.
                if let Err(again) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                    std::mem::forget(again);
                }
                self.original.or_end(PANICKED);
                self.fail(&request, method.name, reply, &failure);
            }
        }
        handle::let_go(false);
    }

    /// Answers a failed call. The failure of a cast is written to standard error.
    #[cold]
    fn fail(&self, request: &ActorRequest, method: &str, reply: &mut Vec<u8>, failure: &Failure) {
        if !handle::is_empty() {
            drop(handle::take());
        }
        fault("answering");
        match request.cast {
            true => print_failure(self.kind.name(), method, failure),
            false => self.host.reply(request, reply, ReplyStatus::Failed, &failure.encoded()),
        }
    }
}

/// Writes a failure for which no caller waits to standard error.
#[cold]
fn print_failure(actor: &str, method: &str, failure: &Failure) {
    let error = failure.clone().into_error().on_task(format!("{actor}::{method}"));
    let error = error.with(|facts| facts.is_method = true);
    // If standard error is closed, the failure cannot be reported.
    let _ = writeln!(std::io::stderr(), "{error}");
}
