//! Actors, their callers and their processes are killed. No call runs twice, no call hangs, and an
//! error that says that a call did not run is right.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runtime::{
    Error, ErrorKind, Fd, Manager, Pool, Process, StartMethod, actor, initializer, worker,
};

use crate::random::Random;
use crate::usage;
use crate::{Options, sys};

/// The duration after which a call counts as hanging.
const HANGS: Duration = Duration::from_secs(30);

const METHODS: [StartMethod; 3] = [StartMethod::ForkServer, StartMethod::Spawn, StartMethod::Fork];

/// Writes the number of each call that runs to a file, which survives the process.
struct Ledger {
    file: File,
    count: u64,
}

#[initializer]
fn open_ledger(file: Fd<File>) -> Ledger {
    Ledger { file: file.into_inner(), count: 0 }
}

#[actor]
impl Ledger {
    pub(crate) fn write(&mut self, number: u64, work: u64) -> u64 {
        self.note(number);
        spin(work);
        self.count += 1;
        number
    }

    pub(crate) fn read(&self, number: u64, work: u64) -> u64 {
        self.note(number);
        spin(work);
        number
    }

    pub(crate) fn long(&self, number: u64, bytes: &[u8]) -> Vec<u8> {
        self.note(number);
        bytes.iter().rev().copied().collect()
    }

    #[cast]
    pub(crate) fn tell(&mut self, number: u64) {
        self.note(number);
    }
}

impl Ledger {
    /// Appended by one system call, so that the lines of several processes do not mix.
    fn note(&self, number: u64) {
        (&self.file).write_all(&number.to_le_bytes()).expect("the file can be written");
    }
}

fn spin(microseconds: u64) {
    let end = Instant::now() + Duration::from_micros(microseconds);
    while Instant::now() < end {
        std::hint::spin_loop();
    }
}

/// The outcomes that callers received, by the number of the call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Told {
    Done,
    MayHaveRun,
    DidNotRun,
    Cast,
    /// The caller died before it recorded the answer.
    Lost,
}

/// Makes one call of a random kind.
fn call(ledger: &LedgerProxy, number: u64, random: &mut Random) -> (Told, Option<String>) {
    let outcome = match random.below(8) {
        0..=2 => ledger.write(number, random.below(50) as u64),
        3..=4 => ledger.read(number, random.below(200) as u64),
        5 => {
            let bytes: Vec<u8> = (0..random.below(200_000)).map(|at| at as u8).collect();
            ledger.long(number, &bytes).map(|back| match back.iter().rev().eq(&bytes) {
                true => number,
                false => 0,
            })
        }
        6 => {
            return match ledger.tell(number) {
                Ok(()) => (Told::Cast, None),
                Err(error) => told(&error),
            };
        }
        _ => ledger.with_timeout(Duration::from_millis(5)).write(number, 20),
    };
    match outcome {
        Ok(back) if back == number => (Told::Done, None),
        Ok(back) => (Told::Done, Some(format!("call {number} has the answer {back}"))),
        Err(error) => told(&error),
    }
}

fn told(error: &Error) -> (Told, Option<String>) {
    let known = [ErrorKind::ActorDied, ErrorKind::TimedOut].contains(&error.kind());
    let wrong = (!known).then(|| format!("an error of another kind: {error}"));
    match error.may_have_run() {
        true => (Told::MayHaveRun, wrong),
        false => (Told::DidNotRun, wrong),
    }
}

/// Makes calls from a process that may be killed, and returns the outcomes of those that were
/// answered.
#[worker]
fn call_some(ledger: LedgerProxy, first: u64, count: u64, seed: u64) -> Vec<(u64, u8)> {
    let mut random = Random(seed);
    let one = |number| (number, call(&ledger, number, &mut random).0 as u8);
    (first..first + count).map(one).collect()
}

/// The outcomes of all calls, and the violations.
#[derive(Default)]
struct Book {
    told: Mutex<BTreeMap<u64, Told>>,
    wrong: Mutex<Vec<String>>,
}

impl Book {
    fn note(&self, number: u64, (told, wrong): (Told, Option<String>)) {
        self.told.lock().expect("nobody panics").insert(number, told);
        self.wrong.lock().expect("nobody panics").extend(wrong);
    }

    /// Compares the outcomes with the file, and prints the counts.
    fn close(&self, file: &mut File) -> bool {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).expect("a file");
        file.read_to_end(&mut bytes).expect("a file");
        let mut ran: BTreeMap<u64, u64> = BTreeMap::new();
        for number in bytes.chunks_exact(8) {
            let number = u64::from_le_bytes(number.try_into().expect("eight bytes"));
            *ran.entry(number).or_default() += 1;
        }
        let told = self.told.lock().expect("nobody panics");
        let mut wrong = self.wrong.lock().expect("nobody panics").clone();
        let mut counts: BTreeMap<(Told, bool), u64> = BTreeMap::new();
        for (number, told) in told.iter() {
            let times = ran.remove(number).unwrap_or(0);
            *counts.entry((*told, times > 0)).or_default() += 1;
            match (told, times) {
                (_, 2..) => wrong.push(format!("call {number} ran {times} times")),
                (Told::Done, 0) => {
                    wrong.push(format!("call {number} was answered and did not run"))
                }
                (Told::DidNotRun, 1) => {
                    wrong.push(format!(
                        "call {number} ran, and its caller was told that it did not"
                    ));
                }
                _ => {}
            }
        }
        wrong.extend(ran.keys().take(10).map(|number| format!("call {number} was made by nobody")));
        println!("calls                {}", told.len());
        for ((told, ran), count) in counts {
            println!(
                "  {:<12} {:<10} {count}",
                format!("{told:?}"),
                if ran { "ran" } else { "did not" }
            );
        }
        wrong.truncate(20);
        wrong.iter().for_each(|what| println!("WRONG: {what}"));
        wrong.is_empty()
    }
}

/// Creates a file for a ledger.
fn ledger_file() -> File {
    let path = std::env::temp_dir().join(format!("procession-ledger-{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).append(true).create(true).open(&path);
    let file = file.expect("a file for the ledger");
    std::fs::remove_file(&path).expect("it was just made");
    file
}

fn shared(file: &File) -> Fd<File> {
    Fd::new(file.try_clone().expect("a second descriptor")).expect("a random number")
}

pub(crate) fn run(options: &Options) -> bool {
    let seed = options.seed();
    println!("seed {seed}");
    let before = usage::here();
    let points = points();
    let storm = storm(options.seconds(600), seed);
    let left = usage::back_to(before);
    if let Err(what) = &left {
        println!("WRONG: {what}");
    }
    points && storm && left.is_ok()
}

/// Kills managers and callers at random, under load.
fn storm(time: Duration, seed: u64) -> bool {
    let mut file = ledger_file();
    let (book, numbers) = (Book::default(), AtomicU64::new(1));
    let (over, kills) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
    let managers: Vec<Manager> = [StartMethod::ForkServer, StartMethod::Spawn]
        .map(|method| {
            let builder = Manager::builder().start_method(method).restarts(u32::MAX);
            builder.call_timeout(HANGS).start().expect("a manager starts")
        })
        .into();
    let make = |manager: &Manager| manager.make(open_ledger, shared(&file)).ok();
    let ledgers: Vec<LedgerProxy> = managers.iter().filter_map(make).collect();
    let pool = Pool::builder().workers(3).build().expect("a pool starts");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (book, numbers, over, ledgers) = (&book, &numbers, &over, &ledgers);
            scope.spawn(move || {
                let mut random = Random(seed ^ (thread + 1));
                while !over.load(Ordering::Relaxed) {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let ledger = &ledgers[random.below(ledgers.len())];
                    let begun = Instant::now();
                    book.note(number, call(ledger, number, &mut random));
                    if begun.elapsed() >= HANGS {
                        let text = format!("call {number} took {:?}", begun.elapsed());
                        book.wrong.lock().expect("nobody panics").push(text);
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut random = Random(seed ^ 77);
            while !over.load(Ordering::Relaxed) {
                let inputs: Vec<_> = (0..6)
                    .map(|_| {
                        let first = numbers.fetch_add(50, Ordering::Relaxed);
                        (ledgers[random.below(ledgers.len())].clone(), first, 50_u64, random.next())
                    })
                    .collect();
                for (input, outcome) in inputs.iter().zip(pool.map_all(call_some, &inputs)) {
                    let answered: BTreeMap<u64, u8> =
                        outcome.unwrap_or_default().into_iter().collect();
                    for number in input.1..input.1 + 50 {
                        let told = match answered.get(&number) {
                            Some(0) => Told::Done,
                            Some(1) => Told::MayHaveRun,
                            Some(2) => Told::DidNotRun,
                            Some(3) => Told::Cast,
                            _ => Told::Lost,
                        };
                        book.note(number, (told, None));
                    }
                }
            }
        });
        let mut random = Random(seed ^ 99);
        let end = Instant::now() + time;
        while Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20 + random.below(200) as u64));
            let of_manager = random.below(3) > 0;
            let pid = match of_manager {
                true => managers[random.below(managers.len())].pid(),
                false => random.pick(&pool.workers()).map_or(0, |worker| worker.pid()),
            };
            if pid > 1 {
                sys::kill(pid, libc::SIGKILL);
                kills[usize::from(of_manager)].fetch_add(1, Ordering::Relaxed);
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    println!("workers killed       {}", kills[0].load(Ordering::Relaxed));
    println!("managers killed      {}", kills[1].load(Ordering::Relaxed));
    drop((ledgers, managers, pool));
    book.close(&mut file)
}

/// Kills a manager or a caller at each step of a call.
fn points() -> bool {
    let mut good = true;
    for method in METHODS {
        for point in ["received", "decoded", "ran", "answering", "sent"] {
            good &= told_of(method, point, manager_dies(method, point));
        }
        for point in ["calling", "called", "casting"] {
            good &= told_of(method, point, caller_dies(method, point));
        }
    }
    good
}

fn told_of(method: StartMethod, point: &str, outcome: Result<String, String>) -> bool {
    match &outcome {
        Ok(what) => println!("{method:<12} {point:<10} {what}"),
        Err(what) => println!("WRONG: {method} {point}: {what}"),
    }
    outcome.is_ok()
}

/// Kills the manager when it passes a point for the fifth time.
fn manager_dies(method: StartMethod, point: &str) -> Result<String, String> {
    let mut file = ledger_file();
    let manager = Manager::builder()
        .start_method(method)
        .env("PROCESSION_FAULT", format!("{point}=kill@5"))
        .call_timeout(HANGS)
        .start()
        .map_err(|error| error.to_string())?;
    let ledger = manager.make(open_ledger, shared(&file)).map_err(|error| error.to_string())?;
    let book = Book::default();
    let (mut died, mut gone) = (0, 0);
    for number in 1..=10 {
        let outcome = ledger.write(number, 0);
        match &outcome {
            Ok(_) => book.note(number, (Told::Done, None)),
            Err(error) => {
                book.note(number, told(error));
                died += u32::from(error.may_have_run());
                gone += u32::from(!error.may_have_run());
            }
        }
    }
    drop((ledger, manager));
    let expected = if point == "sent" { 0 } else { 1 };
    if died > 1 || died < expected || gone < 4 {
        return Err(format!("{died} calls may have run, {gone} did not"));
    }
    match book.close(&mut file) {
        true => Ok(format!("{died} may have run, {gone} did not")),
        false => Err("what was told is not what ran".to_owned()),
    }
}

/// Kills the caller when it passes a point for the third time.
fn caller_dies(method: StartMethod, point: &str) -> Result<String, String> {
    let mut file = ledger_file();
    let manager = Manager::builder().start_method(method).call_timeout(HANGS).start();
    let manager = manager.map_err(|error| error.to_string())?;
    let ledger = manager.make(open_ledger, shared(&file)).map_err(|error| error.to_string())?;
    let child = Process::builder()
        .start_method(method)
        .env("PROCESSION_FAULT", format!("{point}=kill@3"))
        .spawn(call_each, ledger.clone())
        .map_err(|error| error.to_string())?;
    let error = child.join().err().ok_or("the caller did not die")?;
    if error.kind() != ErrorKind::Signaled {
        return Err(error.to_string());
    }
    // The actor still serves other callers.
    let book = Book::default();
    let first = call_number(&ledger, 100)?;
    book.note(first, (Told::Done, None));
    (1..=20).for_each(|number| book.note(number, (Told::Lost, None)));
    drop((ledger, manager));
    match book.close(&mut file) {
        true => Ok("the actor goes on".to_owned()),
        false => Err("what was told is not what ran".to_owned()),
    }
}

fn call_number(ledger: &LedgerProxy, number: u64) -> Result<u64, String> {
    ledger.write(number, 0).map_err(|error| error.to_string())
}

#[worker]
fn call_each(ledger: LedgerProxy) {
    for number in 1..=10 {
        let _ = ledger.write(number, 0);
        let _ = ledger.tell(10 + number);
    }
}
