//! What an agent says of itself to the programs that look for agents.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;

use super::state::{Agent, PAUSE};
use crate::cluster::{PRESENCE_SUBJECT, Presence, ServerConnection, new_word};
use crate::error::Result;

/// Returns the name of this host.
fn host_name() -> String {
    let name = crate::sys::read_text("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

/// Describes this agent.
///
/// # Errors
///
/// Returns an error if the system has no random numbers.
pub(super) fn of_this_process(
    workers: usize,
    host_timeout: Duration,
    connection: &ServerConnection,
) -> Result<Presence> {
    let program = std::env::current_exe().ok();
    let program = program.as_deref().and_then(|path| path.file_name());
    Ok(Presence {
        host: host_name(),
        pid: std::process::id(),
        id: new_word()?,
        timeout: host_timeout.as_secs(),
        workers,
        build: connection.subjects.build.clone(),
        program: program.map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
    })
}

/// Answers the programs that look for agents.
pub(super) async fn answer(agent: Arc<Agent>, presence: Presence) {
    let client = &agent.connection.client;
    let ending = Presence { workers: 0, ..presence.clone() };
    loop {
        if let Ok(mut questions) = client.subscribe(PRESENCE_SUBJECT).await {
            while let Some(question) = questions.next().await {
                let presence = match agent.is_ending.load(Ordering::Relaxed) {
                    true => &ending,
                    false => &presence,
                };
                if let Some(to) = question.reply {
                    // A program asks again.
                    let _ = client.publish(to, presence.to_text().into()).await;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
