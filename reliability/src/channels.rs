//! Processes die while they send and receive. No process hangs; no message is torn, sent twice or
//! left behind; and only the messages that a dead process had taken are lost.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

use runtime::{
    ErrorKind, Fd, Handle, Pool, Queue, Receiver, Sender, StartMethod, WorkerInfo, channel, worker,
};
use serde::{Deserialize, Serialize};

use crate::grid::Grid;
use crate::group::tell;
use crate::random::Random;
use crate::tasks::pattern;
use crate::{Options, counts, sys, usage};

const POINTS: [(&str, &str); 15] = [
    ("sending", "a sender has its lock"),
    ("woken", "a receiver was woken, and nothing was sent"),
    ("packet-sent", "descriptors were sent, and their message was not"),
    ("written", "a message is written and not published"),
    ("published", "a message is published, and the lock is held"),
    ("sender-sleeps", "a sender is about to wait for room"),
    ("receiving", "a receiver has its lock"),
    ("read", "a message was copied and not taken"),
    ("packets-read", "so were its descriptors"),
    ("sender-woken", "a sender was woken, and there is no room"),
    ("released", "a message is taken, and the lock is held"),
    ("receiver-sleeps", "a receiver is about to wait for a message"),
    ("queue-begun", "an item is about to be taken"),
    ("queue-taken", "an item was taken"),
    ("queue-done", "an item is done"),
];

pub(crate) fn run(options: &Options<'_>) -> bool {
    let limit = Duration::from_secs(120);
    let applies = |_: &str, method| method != StartMethod::Thread;
    let points = Grid { command: "channels", cases: &POINTS, applies, word: "", limit };
    let seconds = options.number("seconds", 0);
    match seconds {
        0 => points.run(options),
        seconds => storm(Duration::from_secs(seconds), options.seed()),
    }
}

pub(crate) fn case(words: &[&str]) -> bool {
    let [name, case, _] = *words else { return false };
    let Some(method) = crate::table::method(name) else { return false };
    sys::adopt_orphans();
    // Early, late, and while other processes run.
    for nth in [1, 2, 7, 40] {
        let before = usage::here();
        let outcome = match case.strip_prefix("queue-") {
            Some(_) => kill_in_queue(method, case, nth),
            None => kill_in_channel(method, case, nth),
        };
        tell(&format!("{case}@{nth}"), outcome);
        tell("nothing is left", usage::back_to(before));
    }
    true
}

/// A message.
#[derive(Serialize, Deserialize)]
struct Item {
    from: u64,
    number: u64,
    data: Vec<u8>,
    file: Option<Fd<File>>,
}

impl Item {
    /// Every kind of message in turn: in a slot, in the heap, in separate memory, and with a file.
    fn new(from: u64, number: u64) -> Item {
        let len = match number % 8 {
            0 | 1 => 4,
            2..=4 => 100 + number as usize % 3000,
            5 => 70_000,
            6 if number % 64 == 6 => (1 << 20) + 1,
            _ => 0,
        };
        let file = (number % 8 == 7).then(|| {
            let mut file = tempfile();
            file.write_all(&number.to_le_bytes()).expect("there is room");
            Fd::new(file).expect("there is a random number")
        });
        Item { from, number, data: pattern(from ^ number, len), file }
    }

    /// Returns whether it is the message that was sent.
    fn arrived_whole(self) -> bool {
        let expected = Item::new(self.from, self.number);
        let file = match (self.file, &expected.file) {
            (None, None) => true,
            (Some(file), Some(_)) => {
                let (mut file, mut bytes) = (file.into_inner(), [0; 8]);
                let read = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut bytes));
                read.is_ok() && u64::from_le_bytes(bytes) == self.number
            }
            _ => false,
        };
        file && self.data == expected.data
    }
}

/// Creates a file without a name.
fn tempfile() -> File {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_TMPFILE);
    options.open(std::env::temp_dir()).expect("a file for a message")
}

/// Sends messages until the limit, and returns how many were accepted.
#[worker]
fn produce(to: Sender<Item>, from: u64, count: u64) -> u64 {
    (0..count).take_while(|number| to.send(Item::new(from, *number)).is_ok()).count() as u64
}

/// Passes each message on immediately, and returns how many there were.
#[worker]
fn forward(from: Receiver<Item>, to: Sender<(u64, u64, bool)>) -> u64 {
    let mut count = 0;
    for item in from {
        let (sender, number) = (item.from, item.number);
        if to.send((sender, number, item.arrived_whole())).is_err() {
            break;
        }
        count += 1;
    }
    count
}

const SENDERS: u64 = 2;
const RECEIVERS: u64 = 2;

/// The result of a round.
#[derive(Default)]
struct Round {
    sent: u64,
    received: u64,
    /// The messages that were sent and not received.
    lost: u64,
    killed: u64,
}

/// Sends from processes to processes, some of which are killed in the meantime.
fn round(
    pool: &Pool,
    capacity: usize,
    count: u64,
    mut meanwhile: impl FnMut(),
) -> Result<Round, String> {
    let text = |error: runtime::Error| error.to_string();
    let (sender, receiver) = channel(capacity).map_err(text)?;
    let (to, arrived) = channel(64).map_err(text)?;
    let forwards: Vec<Handle<u64>> =
        (0..RECEIVERS).map(|_| pool.submit(forward, (receiver.clone(), to.clone()))).collect();
    let sends: Vec<Handle<u64>> =
        (0..SENDERS).map(|from| pool.submit(produce, (sender.clone(), from, count))).collect();
    drop((sender, receiver, to));
    let mut seen: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let mut round = Round::default();
    loop {
        match arrived.recv_timeout(Duration::from_millis(20)) {
            Ok((from, number, true)) => *seen.entry((from, number)).or_default() += 1,
            Ok((from, number, false)) => return Err(format!("{from}/{number} is torn")),
            Err(error) if error.is_timeout() => {}
            Err(error) if error.is_disconnected() => break,
            Err(error) => return Err(error.to_string()),
        }
        meanwhile();
    }
    let mut ended = |task: Handle<u64>| match task.wait() {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == ErrorKind::Signaled => {
            round.killed += 1;
            Ok(None)
        }
        Err(error) => Err(error.to_string()),
    };
    let forwards: Vec<_> = forwards.into_iter().map(&mut ended).collect::<Result<_, _>>()?;
    let sends: Vec<_> = sends.into_iter().map(&mut ended).collect::<Result<_, _>>()?;
    let dead = forwards.iter().filter(|forwarded| forwarded.is_none()).count() as u64;
    if let Some((item, times)) = seen.iter().find(|(_, times)| **times != 1) {
        return Err(format!("{item:?} was received {times} times"));
    }
    round.received = seen.len() as u64;
    for (from, sent) in (0..).zip(sends) {
        let own = seen.range((from, 0)..=(from, u64::MAX));
        let (own, last) = own.fold((0, 0), |(count, _), ((_, number), _)| (count + 1, number + 1));
        // A killed sender has sent at least the messages that arrived.
        let sent = sent.unwrap_or(last);
        round.sent += sent;
        round.lost += sent - own;
    }
    // If every receiver is dead, the messages in the channel are lost with the last one.
    let in_hands = if dead == RECEIVERS { u64::MAX } else { dead };
    match round.lost > in_hands {
        true => Err(format!("{} were lost with {dead} receivers", round.lost)),
        false => Ok(round),
    }
}

fn kill_in_channel(method: StartMethod, point: &str, nth: u64) -> Result<(), String> {
    let once = counts::scratch(&format!("once-{nth}"));
    let _ = std::fs::remove_file(&once);
    let armed = format!("channel-{point}=kill@{nth}:{}", once.display());
    let workers = (SENDERS + RECEIVERS) as usize;
    let builder = Pool::builder().start_method(method).workers(workers);
    let pool = builder.env("PROCESSION_FAULT", armed).build().map_err(|error| error.to_string())?;
    let round = round(&pool, 4, 200, || {})?;
    match (round.killed, once.exists()) {
        (1, true) => Ok(()),
        // A message was not passed on more often than this.
        (0, false) if nth > 2 => Ok(()),
        (killed, _) => Err(format!("{killed} were killed, so that this shows nothing")),
    }
}

/// Takes items until the queue stays empty for a while.
#[worker]
fn consume(queue: Queue<u64>, seen: Sender<u64>) {
    while let Ok(item) = queue.get_timeout(Duration::from_millis(300)) {
        seen.send(item).expect("somebody receives");
        queue.task_done().expect("it was taken");
    }
}

fn kill_in_queue(method: StartMethod, point: &str, nth: u64) -> Result<(), String> {
    let once = counts::scratch(&format!("once-{nth}"));
    let _ = std::fs::remove_file(&once);
    let text = |error: runtime::Error| error.to_string();
    let armed = format!("{point}=kill@{nth}:{}", once.display());
    let builder = Pool::builder().start_method(method).workers(2);
    let pool = builder.env("PROCESSION_FAULT", armed).build().map_err(text)?;
    let queue = Queue::bounded(1000).map_err(text)?;
    let (to, seen) = channel(1000).map_err(text)?;
    (0..200).try_for_each(|n| queue.put(n)).map_err(|error| error.to_string())?;
    let tasks: Vec<_> = (0..2).map(|_| pool.submit(consume, (queue.clone(), to.clone()))).collect();
    drop(to);
    let lost = match queue.join() {
        Ok(()) => false,
        Err(error) if error.kind() == ErrorKind::Lost => {
            queue.join().map_err(text)?;
            true
        }
        Err(error) => return Err(error.to_string()),
    };
    let killed = tasks.into_iter().filter_map(|task| task.wait().err()).count();
    let mut all: Vec<u64> = seen.iter().collect();
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    let missing = 200 - all.len();
    // A taken item was neither passed on nor acknowledged, and is reported as lost.
    let expected = match point {
        "queue-taken" => (1, true),
        _ => (0, false),
    };
    match (killed, count == all.len(), (missing, lost)) {
        (1, true, found) if found == expected => Ok(()),
        other => {
            Err(format!("killed, no item twice, (missing, told): {other:?}, not {expected:?}"))
        }
    }
}

/// Runs rounds in which workers are killed at random times.
fn storm(time: Duration, seed: u64) -> bool {
    println!("seed {seed}");
    let mut random = Random(seed);
    let (begun, mut wrong, mut rounds) = (Instant::now(), 0, 0);
    let mut all = Round::default();
    let methods = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];
    let pools: Vec<Pool> = methods
        .iter()
        .map(|method| {
            let builder = Pool::builder().start_method(*method);
            builder.workers((SENDERS + RECEIVERS) as usize).build().expect("the pool starts")
        })
        .collect();
    while begun.elapsed() < time {
        let pool = &pools[random.below(pools.len())];
        let capacity = [1, 2, 7, 64, 1000][random.below(5)];
        let count = 1 + random.below(400) as u64;
        let victims = random.below(4);
        let mut kills = 0;
        let outcome = round(pool, capacity, count, || {
            if kills < victims && random.below(100) == 0 {
                // A worker that is being started has no pid.
                let workers = pool.workers();
                let pid = random.pick(&workers).map(WorkerInfo::pid).filter(|pid| *pid != 0);
                let Some(pid) = pid else { return };
                kills += 1;
                sys::kill(pid, libc::SIGKILL);
            }
        });
        rounds += 1;
        match outcome {
            Ok(round) => {
                all.sent += round.sent;
                all.received += round.received;
                all.lost += round.lost;
                all.killed += round.killed;
            }
            Err(why) => {
                wrong += 1;
                println!("WRONG {:?}, capacity {capacity}: {why}", pool.start_method());
            }
        }
    }
    let Round { sent, received, lost, killed } = all;
    println!(
        "{rounds} rounds in {:.0} s: {sent} sent, {received} received, {lost} lost in the hands of the dead, {killed} tasks killed, \
         {wrong} wrong",
        begun.elapsed().as_secs_f64()
    );
    wrong == 0
}
