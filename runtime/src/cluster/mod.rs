//! Pools whose tasks run on other hosts, over the message server NATS with JetStream.
//!
//! ```text
//!  program                                server              host
//!  worker threads --> client thread --> work queue --> agent --> pool of worker processes
//!                          ^                                |
//!                          '-------- outcomes --------------'
//! ```
//!
//! A program connects to a server and sends chunks of encoded inputs to a queue. Each host runs an *agent*
//! (`agent/`): the same executable, which takes chunks from the queue, runs them in an ordinary pool, and sends the
//! outcomes back. In the program, the workers of the pool are threads that forward their chunks
//! (`worker/serve/forward.rs`), so that order, streams and errors are those of other pools.
//!
//! # Rules
//!
//! - **J1.** *A build reads only its own messages.* The subjects of all messages but presence contain a hash of the
//!   executable and of the table of tasks. Presence is text, which every build understands, so that the
//!   error of a program without agents can name those of other builds.
//! - **J2.** *The program is the record.* It keeps the inputs until their outcomes have arrived. If the server has no
//!   message of a chunk any more and no outcome comes, the program sends the chunk again.
//! - **J3.** *A chunk may run more than once, and each input has one outcome.* The first outcome that arrives
//!   counts ([`sent`]). The others are confirmed, so that their sender does not repeat them, and dropped.
//! - **J4.** *An agent acknowledges a chunk after the program has confirmed its outcomes.* Until then it reports
//!   progress in intervals of a third of the host timeout. If an agent reports nothing for this time, the server
//!   gives the chunk to another agent.
//! - **J5.** *The number of deliveries limits attempts.* An agent that receives a chunk more often than the program
//!   allows does not run it, but reports it as lost with its hosts. Whoever begins the last attempt says so
//!   first, so that the error can name the host. A chunk of several inputs that was lost with its host is not
//!   run again as a whole: the program sends each input by itself, with one attempt less, so that an input
//!   that ends its hosts takes no other input with it.
//! - **J6.** *A run ends with its program.* If nobody subscribes to the outcomes of a run for some time, agents drop
//!   its chunks and ask its tasks to end. A program that ends in order removes its chunks from the queue.
//! - **J7.** *An agent asks for a chunk only for a free worker*, so that it holds no work that others could do.
//! - **J8.** *A broadcast goes to each agent directly*, and not through the queue ([`broadcast`]). The program sends the input to each agent
//!   that is present and asks it again until its outcomes are there. An agent runs it once, however often it receives it. If
//!   an agent has ended or is silent for the host timeout, its workers have lost the input.
//! - **J9.** *A value that fits no message is in the store of values*, and the message contains its length. The program removes an
//!   input with its last outcome, and an output when it has read it. What is left is removed with the run. If a value is
//!   not there any more, the chunk counts as missing in the queue (rule J2).
//! - **J10.** *The program limits the bytes that are on their way.* Chunks beyond the limit wait in the program until others
//!   have their outcomes.
//! - **J11.** The thread of the client observes the fork lock like a dispatcher.

mod broadcast;
mod connection;
mod message;
mod outgoing;
mod presence;
mod received;
mod sent;
mod settings;
mod setup;
mod submitter;
mod thread;
mod values;

pub(crate) use connection::{ServerConnection, shown};
pub(crate) use message::{
    BroadcastMessage, ChunkMessage, PoolSetup, RunMessage, SetupAnswer, StoredOutput, Subjects,
    decoded, packed,
};
pub(crate) use outgoing::is_connected;
pub(crate) use presence::{PRESENCE_SUBJECT, Presence};
pub(crate) use settings::ClusterSettings;
pub(crate) use submitter::new_word;
pub(crate) use thread::ClusterClient;
pub(crate) use values::{MOST as LONGEST_VALUE, SETUP, input_of};
