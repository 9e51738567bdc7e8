//! Handles that are created, passed and dropped, and the resources that remain after them.

use std::time::Instant;

use runtime::sync::Mutex;
use runtime::{Pool, Shared, SharedMut, StartMethod, worker};
use serde::{Deserialize, Serialize};

use crate::usage;

/// A value with a handle of each kind.
#[derive(Serialize, Deserialize)]
struct Handles {
    frozen: Shared<[u32]>,
    lock: Mutex<u64>,
    part: SharedMut<[u32]>,
}

#[worker]
fn echo(handles: Handles) -> Handles {
    *handles.lock.lock().expect("nobody dies") += u64::from(handles.frozen[0]);
    handles
}

/// The number of handles that are created, passed and dropped.
const HANDLES: u32 = 100_000;

/// Creates, passes and drops the handles, and compares the resources of this process.
pub(crate) fn check(method: StartMethod) -> Result<(), String> {
    let text = |error: runtime::Error| error.to_string();
    let pool = Pool::builder().workers(1).start_method(method).build().map_err(text)?;
    let turn = |n: u32| {
        let (frozen, lock) = (Shared::from_slice(&[n; 10])?, Mutex::new(1)?);
        let back = pool.apply(echo, Handles { frozen, lock, part: SharedMut::zeroed(100)? })?;
        let sum = *back.lock.lock()? + u64::from(back.part[99]);
        Ok((back.frozen[9] == n && sum == u64::from(n) + 1).then_some(()))
    };
    let turns = |count: u32| {
        (0..count).try_for_each(|n| {
            turn(n).map_err(text)?.ok_or_else(|| format!("turn {n} has other values"))
        })
    };
    turns(1000)?;
    let (before, begun) = (usage::here(), Instant::now());
    turns(HANDLES / 3 + 1)?;
    let (after, each) = (usage::here(), begun.elapsed() / HANDLES);
    println!("note {HANDLES} handles, {each:?} each: before {before}; after {after}");
    let same = (after.fds, after.maps, after.shared) == (before.fds, before.maps, before.shared);
    match same && after.kib <= before.kib + 1024 {
        true => Ok(()),
        false => Err(format!("before {before}, after {after}")),
    }
}
