//! The call that each thread runs, and the calls that wait for each other (rule A6).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::message::RequestId;
use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;

/// A call that this thread runs.
#[derive(Clone)]
struct RunningCall {
    id: RequestId,
    /// The actors whose calls wait for this one, and finally its own actor.
    chain: Vec<u64>,
}

thread_local! {
    static RUNNING: RefCell<Option<RunningCall>> = const { RefCell::new(None) };
}

/// Sets the running call of this thread until it is dropped.
pub(super) struct RunningGuard;

impl RunningGuard {
    pub(super) fn new(id: RequestId, mut chain: Vec<u64>, actor: u64) -> Self {
        chain.push(actor);
        RUNNING.set(Some(RunningCall { id, chain }));
        RunningGuard
    }
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        RUNNING.set(None);
    }
}

/// Returns the actors whose calls wait for this thread.
pub(super) fn chain() -> Vec<u64> {
    RUNNING.with_borrow(|running| running.as_ref().map(|r| r.chain.clone()).unwrap_or_default())
}

/// Returns whether a call of this actor waits for this thread.
pub(super) fn contains(actor: u64) -> bool {
    RUNNING.with_borrow(|running| running.as_ref().is_some_and(|r| r.chain.contains(&actor)))
}

/// The calls that an actor of this process runs.
#[derive(Default)]
pub(super) struct Runs(Mutex<ActorRuns>);

#[derive(Default)]
struct ActorRuns {
    calls: Vec<(RequestId, bool)>,
    /// An exclusive call that waits until the others have ended.
    next: Option<RequestId>,
}

impl Runs {
    fn lock(&self) -> MutexGuard<'_, ActorRuns> {
        self.0.lock().ignore_poison()
    }

    pub(super) fn is_next(&self, id: RequestId) {
        self.lock().next = Some(id);
    }

    pub(super) fn begin(&self, id: RequestId, exclusive: bool) {
        let mut inner = self.lock();
        inner.next = None;
        inner.calls.push((id, exclusive));
    }

    pub(super) fn end(&self, id: RequestId) {
        self.lock().calls.retain(|(other, _)| *other != id);
    }
}

/// A call of an actor of this process that waits for the answer of another actor.
struct WaitingCall {
    id: RequestId,
    request: RequestId,
    target: u64,
}

#[derive(Default)]
struct CallGraph {
    waits: Vec<WaitingCall>,
    actors: HashMap<u64, Arc<Runs>>,
}

static GRAPH: PerProcess<Mutex<CallGraph>> = PerProcess::new();

fn graph() -> MutexGuard<'static, CallGraph> {
    GRAPH.get().lock().ignore_poison()
}

/// Adds the running calls of an actor of this process to the table, until [`disappear`] is called.
pub(super) fn appear(actor: u64, runs: &Arc<Runs>) {
    graph().actors.insert(actor, Arc::clone(runs));
}

pub(super) fn disappear(actor: u64) {
    graph().actors.remove(&actor);
}

/// Records that the call of this thread waits for the answer to a request, until it is dropped.
pub(super) struct WaitingGuard(RequestId);

impl WaitingGuard {
    /// Records the wait, if this thread runs a call.
    pub(super) fn begin(request: RequestId, target: u64) -> Option<Self> {
        let id = RUNNING.with_borrow(|running| running.as_ref().map(|running| running.id))?;
        graph().waits.push(WaitingCall { id, request, target });
        Some(WaitingGuard(request))
    }

    /// Returns whether the answer depends on the waiting call itself, so that it never arrives.
    pub(super) fn is_circular(&self) -> bool {
        let graph = graph();
        let Some(own) = graph.waits.iter().find(|wait| wait.request == self.0) else {
            return false;
        };
        graph.leads_to(own.request, own.target, own.id, &mut Vec::new())
    }
}

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        graph().waits.retain(|wait| wait.request != self.0);
    }
}

impl CallGraph {
    /// Returns whether a request to an actor cannot be answered before the call `end` has ended.
    fn leads_to(
        &self,
        request: RequestId,
        actor: u64,
        end: RequestId,
        seen: &mut Vec<RequestId>,
    ) -> bool {
        if seen.contains(&request) {
            return false;
        }
        seen.push(request);
        // The calls of an actor in another process are not known.
        let Some(runs) = self.actors.get(&actor) else {
            return false;
        };
        let runs = runs.lock();
        let is_blocked = |id: RequestId, seen: &mut Vec<RequestId>| {
            id == end
                || self
                    .waits
                    .iter()
                    .filter(|wait| wait.id == id)
                    .any(|wait| self.leads_to(wait.request, wait.target, end, seen))
        };
        let (calls, next) = (runs.calls.clone(), runs.next);
        drop(runs);
        if calls.iter().any(|(id, _)| *id == request) {
            return is_blocked(request, seen);
        }
        // The request waits for the calls before it. If all of these are shared, the end of one of them may
        // be sufficient.
        match next.is_some() || calls.iter().any(|(_, exclusive)| *exclusive) {
            true => calls.iter().any(|(id, _)| is_blocked(*id, seen)),
            false => !calls.is_empty() && calls.iter().all(|(id, _)| is_blocked(*id, seen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(serial: u64) -> RequestId {
        RequestId { link: 1, serial }
    }

    /// An actor, its running calls and whether each is exclusive, and the exclusive call that waits.
    type Actor<'a> = (u64, &'a [(u64, bool)], Option<u64>);

    fn graph(waits: &[(u64, u64, u64)], runs: &[Actor<'_>]) -> CallGraph {
        let waits = waits.iter().map(|(own, request, target)| WaitingCall {
            id: id(*own),
            request: id(*request),
            target: *target,
        });
        let actors = runs.iter().map(|(actor, calls, next)| {
            let runs = Runs::default();
            calls.iter().for_each(|(call, exclusive)| runs.begin(id(*call), *exclusive));
            next.iter().for_each(|next| runs.is_next(id(*next)));
            (*actor, Arc::new(runs))
        });
        CallGraph { waits: waits.collect(), actors: actors.collect() }
    }

    fn circular(graph: &CallGraph, own: u64, request: u64, target: u64) -> bool {
        graph.leads_to(id(request), target, id(own), &mut Vec::new())
    }

    #[test]
    fn two_actors_that_call_each_other_are_a_circle() {
        // 1 runs in A and waits for 11 of B; 2 runs in B and waits for 12 of A.
        let waits = [(1, 11, 200), (2, 12, 100)];
        let both = |exclusive| {
            graph(&waits, &[(100, &[(1, exclusive)], None), (200, &[(2, exclusive)], None)])
        };
        assert!(circular(&both(true), 1, 11, 200));
        assert!(circular(&both(true), 2, 12, 100));
        let one_ends = graph(&waits[..1], &[(100, &[(1, true)], None), (200, &[(2, true)], None)]);
        assert!(!circular(&one_ends, 1, 11, 200));
    }

    #[test]
    fn a_shared_call_that_may_begin_is_no_circle() {
        let waits = [(1, 11, 200), (2, 12, 100)];
        let runs: [Actor<'_>; 2] =
            [(100, &[(1, false)], None), (200, &[(2, false), (3, false)], None)];
        assert!(!circular(&graph(&waits, &runs), 1, 11, 200));
        // Unless an exclusive one is before it.
        let runs: [Actor<'_>; 2] =
            [(100, &[(1, false)], Some(9)), (200, &[(2, false), (3, false)], Some(8))];
        assert!(circular(&graph(&waits, &runs), 1, 11, 200));
    }

    #[test]
    fn a_request_that_runs_is_followed_alone() {
        // The request of 1 runs in B, which waits for nothing.
        let waits = [(1, 11, 200), (2, 12, 100)];
        let runs: [Actor<'_>; 2] =
            [(100, &[(1, true)], None), (200, &[(2, false), (11, false)], None)];
        assert!(!circular(&graph(&waits, &runs), 1, 11, 200));
        assert!(!circular(&graph(&waits, &[(100, &[(1, true)], None)]), 1, 11, 200));
    }

    #[test]
    fn a_circle_over_three_is_found() {
        let waits = [(1, 11, 200), (2, 12, 300), (3, 13, 100)];
        let runs: [Actor<'_>; 3] =
            [(100, &[(1, true)], None), (200, &[(2, true)], None), (300, &[(3, true)], None)];
        assert!(circular(&graph(&waits, &runs), 1, 11, 200));
        assert!(circular(&graph(&waits, &runs), 3, 13, 100));
    }
}
