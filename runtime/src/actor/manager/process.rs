//! The process of a manager, and its restarts.

use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use serde::Serialize;
use serde::ser::Serializer;

use super::builder::ManagerBuilder;
use crate::actor::client::{CallTarget, ManagerClient};
use crate::actor::kind;
use crate::actor::link::{self, MessageReceiver, MessageSender};
use crate::actor::making::{self, ActorOrder, CLOSE, MAKE};
use crate::call::{Call, Outcome, Param};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::{self, Object};
use crate::poison::IgnorePoison;
use crate::process::Process;
use crate::registry::{Place, Registration};

/// The common state of the manager and of the thread that restarts its process.
#[derive(Debug)]
pub(super) struct ManagerShared {
    pub(super) settings: ManagerBuilder,
    pub(super) current: Mutex<CurrentProcess>,
    pub(super) changed: Condvar,
}

#[derive(Debug)]
pub(super) struct CurrentProcess {
    /// The link over which orders are sent; `None` after the manager has ended.
    pub(super) orders: Option<MessageSender>,
    pub(super) process: Option<Arc<Process<()>>>,
    pub(super) client: Arc<ManagerClient>,
    /// The actors that can be created again.
    pub(super) factories: Vec<ActorFactory>,
    pub(super) is_closing: bool,
    pub(super) is_watched: bool,
}

/// The data from which an actor is created again.
#[derive(Clone, Debug)]
pub(super) struct ActorFactory {
    pub(super) place: u32,
    pub(super) actor: u64,
    pub(super) receiver: MessageReceiver,
    pub(super) initializer: u32,
    pub(super) input: Vec<u8>,
    pub(super) objects: Vec<Arc<Object>>,
}

/// The type under which the task of the process is registered.
struct ServeActors;

inventory::submit! {
    Registration::internal::<ServeActors>(
        || "runtime::Manager",
        serve_each,
        Place { file: file!(), line: line!(), column: column!(), test: false },
    )
}

fn serve_each(call: &mut Call<'_>) -> Outcome {
    call.each(serve)
}

fn serve(call: &mut Call<'_>) -> Outcome {
    let (orders, threads): (MessageReceiver, u32) = Param::take(call, "orders")?;
    call.begin()?;
    making::serve(&orders, threads);
    drop(orders);
    call.give(&())
}

impl ManagerShared {
    pub(super) fn current(&self) -> MutexGuard<'_, CurrentProcess> {
        self.current.lock().ignore_poison()
    }

    /// Starts the process.
    pub(super) fn start(&self) -> Result<(MessageSender, Arc<Process<()>>)> {
        let (orders, receiver) = link::pair(link::REQUESTS)?;
        let input = (receiver, self.settings.threads);
        let process = self.settings.process().spawn_internal::<ServeActors, _, ()>(input)?;
        Ok((orders, Arc::new(process)))
    }

    /// Sends an order to create an actor, and waits until it was carried out.
    pub(super) fn order(
        &self,
        order: ActorOrder,
        of: &'static str,
        rest: &impl Serialize,
    ) -> Result<()> {
        let current = self.current();
        let (Some(sender), Some(process)) = (current.orders.clone(), &current.process) else {
            return Err(self.over());
        };
        let (pid, client) = (process.pid(), Arc::clone(&current.client));
        drop(current);
        let name = if order.3.is_some() { "make" } else { "serve" };
        let target =
            CallTarget { sender: &sender, actor: 0, pid, of, name, method: MAKE, timeout: None };
        target.call(&client, &(order, rest))
    }

    /// Orders the process to end. This is needed under `Fork`, where the process has copies of the
    /// descriptors of its parent, so that the kernel does not report that the sending end was dropped.
    pub(super) fn close(&self, orders: Option<&MessageSender>) {
        if let Some(sender) = orders {
            let target = CallTarget {
                sender,
                actor: 0,
                pid: 0,
                of: "Manager",
                name: "close",
                method: CLOSE,
                timeout: Some(self.settings.grace),
            };
            // If the order cannot be sent, the process has ended.
            let _ = target.cast(&());
        }
    }

    pub(super) fn over(&self) -> Error {
        let text = format!(
            "manager `{}` cannot make an actor: its process has ended; start another manager",
            self.settings.name
        );
        Error::new(ErrorKind::ActorDied, text).with(|facts| facts.was_begun = Some(false))
    }
}

/// Bytes that are already encoded.
pub(super) struct EncodedInput<'a>(pub(super) &'a [u8]);

impl Serialize for EncodedInput<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(self.0)
    }
}

/// An encoded value with its objects.
pub(super) struct Carried<'a>(pub(super) EncodedInput<'a>, pub(super) &'a [Arc<Object>]);

impl Serialize for Carried<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        handle::carry_again(self.1);
        self.0.serialize(to)
    }
}

/// The pause after a failed attempt to restart the process.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(20);

/// Restarts the process whenever it dies, up to the limit.
pub(super) fn watch(shared: &Arc<ManagerShared>) {
    let mut left = shared.settings.restarts;
    loop {
        let process = shared.current().process.clone();
        let Some(process) = process else { break };
        let _ = process.join();
        drop(process);
        let mut current = shared.current();
        if current.is_closing {
            break;
        }
        if left == 0 {
            current.orders = None;
            current.factories.clear();
            break;
        }
        drop(current);
        let mut is_there = false;
        while !is_there && left > 0 && !shared.current().is_closing {
            left -= 1;
            is_there = start_again(shared);
            if !is_there {
                std::thread::sleep(PAUSE);
            }
        }
        if !is_there {
            let mut current = shared.current();
            current.orders = None;
            current.factories.clear();
            break;
        }
    }
    shared.current().is_watched = false;
    shared.changed.notify_all();
}

/// Starts the process and creates its actors again.
fn start_again(shared: &Arc<ManagerShared>) -> bool {
    let Ok((orders, process)) = shared.start() else { return false };
    let mut current = shared.current();
    if current.is_closing {
        return false;
    }
    (current.orders, current.process) = (Some(orders), Some(process));
    current.factories.retain(|factory| !factory.receiver.is_gone());
    let factories = current.factories.clone();
    drop(current);
    for factory in factories {
        let ActorFactory { place, actor, receiver, initializer, input, objects } = factory;
        let of = kind::at(place).map_or("", |kind| kind.name());
        let order = (place, actor, receiver, Some(initializer));
        let made = shared.order(order, of, &Carried(EncodedInput(&input), &objects));
        let Err(error) = made else { continue };
        if error.kind() == ErrorKind::ActorDied {
            // The process has died in the meantime, and is restarted once more.
            let process = shared.current().process.clone();
            process.inspect(|process| process.kill());
            break;
        }
        // The receiving end is dropped with the factory, which the proxies notice.
        shared.current().factories.retain(|factory| factory.actor != actor);
    }
    true
}
