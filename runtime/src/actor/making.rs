//! The orders that a manager sends to its process. Each actor is created by a thread of its own, which then
//! serves it.

use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::host::ActorHost;
use super::kind::{self, ActorType, BoxedActor};
use super::link::{MessageBuffer, MessageReceiver, Unreceived};
use super::message::{ActorRequest, ReplyStatus};
use super::serve::ServedActor;
use crate::call::Call;
use crate::codec::{self, Source};
use crate::failure::{Failure, FailureKind};
use crate::handle::Object;
use crate::state;
use crate::sys::original::{Original, PANICKED};
use crate::worker;

/// The number of the order to make an actor.
pub(super) const MAKE: u32 = 0;
/// The number of the order to end.
pub(super) const CLOSE: u32 = 1;

/// The parts of an order to create an actor. The value, or the input of its initializer, follows.
pub(super) type ActorOrder = (u32, u64, MessageReceiver, Option<u32>);

/// Starts a thread that creates an actor and then serves it.
fn make(host: &Arc<ActorHost>, request: ActorRequest, bytes: &[u8], objects: Vec<Arc<Object>>) {
    let mut source = Source::new(bytes);
    let order: Result<ActorOrder, _> = codec::decode(&mut source);
    let (place, actor, receiver, initializer) = match order {
        Ok(order) => order,
        Err(error) => {
            let text = format!("the order to make it could not be decoded: {error}");
            return refuse(host, &request, FailureKind::Decode, text);
        }
    };
    let Some(kind) = kind::at(place) else {
        return refuse(host, &request, FailureKind::NotRegistered, "there is no such type".into());
    };
    // The rest follows its length.
    let rest = bytes.get(bytes.len() - source.remaining() + 8..).unwrap_or_default().to_vec();
    host.begins(actor, &receiver);
    let own = Arc::clone(host);
    let id = request.id;
    let started = host.start_thread(kind.name(), move || {
        begin(own, &request, kind, actor, receiver, initializer, &rest, objects);
    });
    if let Err(error) = started {
        host.ended(actor);
        let failure = Failure::plain(
            FailureKind::Initializer,
            format!("a thread for the actor could not be started: {error}"),
        );
        host.answer(id, &mut Vec::new(), ReplyStatus::Failed, &failure.encoded());
    }
}

#[cold]
fn refuse(host: &ActorHost, request: &ActorRequest, kind: FailureKind, text: String) {
    let failure = Failure::plain(kind, text);
    host.reply(request, &mut Vec::new(), ReplyStatus::Failed, &failure.encoded());
}

#[expect(clippy::too_many_arguments, reason = "the parts of one order")]
fn begin(
    host: Arc<ActorHost>,
    request: &ActorRequest,
    kind: &'static ActorType,
    actor: u64,
    receiver: MessageReceiver,
    initializer: Option<u32>,
    input: &[u8],
    objects: Vec<Arc<Object>>,
) {
    worker::capture_panics();
    let made = match initializer {
        None => decoded(kind, input),
        Some(task) => initialized(kind, task, input),
    };
    // The decoded value has its own references to the objects that it needs.
    drop(objects);
    let mut buffer = Vec::new();
    match made {
        Ok(value) => {
            let served = ServedActor::new(actor, kind, Arc::clone(&host), value, receiver);
            host.reply(request, &mut buffer, ReplyStatus::Value, &[]);
            served.work(true);
        }
        Err(failure) => {
            drop(receiver);
            host.ended(actor);
            host.reply(request, &mut buffer, ReplyStatus::Failed, &failure.encoded());
        }
    }
}

/// Decodes a value that the caller has sent.
fn decoded(kind: &'static ActorType, input: &[u8]) -> Result<BoxedActor, Box<Failure>> {
    let original = Original::here();
    let mut call = Call::initializing(Source::new(input), original);
    let outcome = catch_unwind(AssertUnwindSafe(|| (kind.value)(&mut call)));
    original.or_end(if outcome.is_ok() { 0 } else { PANICKED });
    match outcome {
        Ok(Ok(Some(actor))) => Ok(actor),
        Ok(Ok(None)) => Err(Box::new(Failure::plain(
            FailureKind::Decode,
            format!("a `{}` cannot be decoded", kind.name()),
        ))),
        Ok(Err(stop)) => Err(stop.into_failure()),
        Err(payload) => {
            let phase = crate::failure::TaskPhase::Decoding;
            Err(Box::new(Failure::of_panic(phase, worker::report_of_panic(&*payload))))
        }
    }
}

/// Creates a value by an initializer.
fn initialized(
    kind: &'static ActorType,
    task: u32,
    input: &[u8],
) -> Result<BoxedActor, Box<Failure>> {
    worker::initialize(iter::once((task, Source::new(input))))?;
    let made = (kind.made)();
    // Drops all other states of the initializer.
    state::clear();
    made.ok_or_else(|| {
        let text = format!("its initializer made no `{}`", kind.name());
        Box::new(Failure::plain(FailureKind::Initializer, text))
    })
}

/// Creates and serves actors until no process is left that can send an order.
pub(super) fn serve(orders: &MessageReceiver, threads: u32) {
    let host = ActorHost::new((threads as usize).max(1));
    let mut buffer = MessageBuffer::new();
    loop {
        match orders.receive(&mut buffer, None) {
            Ok(message) => {
                let mut objects = message.objects;
                let Some((request, rest)) = ActorRequest::read(message.bytes) else { continue };
                if request.registers {
                    host.register(request.id.link, &mut objects);
                }
                match request.method {
                    CLOSE => break,
                    _ => make(&host, request, rest, objects),
                }
            }
            Err(Unreceived::Gone) => break,
            Err(_) => {}
        }
    }
    host.close();
}
