//! cargo run --release --example scoreboard
//!
//! Four players in processes of their own throw dice and report to a scoreboard, an actor in a fifth process. The program
//! shows the scores while they play. At the end the scoreboard has an accident.

#![allow(unreachable_pub)] // This repository wants `pub(crate)` in programs.

use std::{collections::BTreeMap, error::Error, time::Duration};

use runtime::{ErrorKind, Manager, Pool, actor, initializer, worker};

/// What the processes share. It never travels: proxies do.
struct Scoreboard {
    goal: u32,
    points: BTreeMap<String, u32>,
    winner: Option<String>,
}

#[initializer]
fn open_scoreboard(goal: u32) -> Scoreboard {
    Scoreboard { goal, points: BTreeMap::new(), winner: None }
}

/// Each `pub` method is one of `ScoreboardProxy` as well, and gives a `Result` there.
#[actor]
impl Scoreboard {
    /// Adds points, alone; returns whether the game goes on.
    pub fn add(&mut self, player: &str, points: u32) -> bool {
        let sum = self.points.entry(player.to_owned()).or_default();
        *sum += points;
        if *sum >= self.goal && self.winner.is_none() {
            self.winner = Some(player.to_owned());
        }
        self.winner.is_none()
    }

    /// Calls of this one may run at the same time as others.
    pub fn winner(&self) -> Option<String> {
        self.winner.clone()
    }

    pub fn points(&self) -> Vec<(String, u32)> {
        self.points.iter().map(|(player, points)| (player.clone(), *points)).collect()
    }

    /// Nobody waits for this one.
    #[cast]
    pub fn cheer(&self, player: &str) {
        println!("{player} is on the way");
    }

    pub fn burn(&mut self) {
        std::process::abort();
    }
}

#[worker]
fn play(board: ScoreboardProxy, player: &str, mut dice: u64) -> Result<u32, runtime::Error> {
    board.cheer(player)?;
    for throws in 1.. {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let points = (dice >> 33) % 6 + 1;
        if !board.add(player, points as u32)? {
            return Ok(throws);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    unreachable!("the game ends before the numbers do")
}

fn main() -> Result<(), Box<dyn Error>> {
    let manager = Manager::start()?;
    let board = manager.make(open_scoreboard, 500)?;
    let pool = Pool::builder().workers(4).build()?;

    let players = ["ann", "ben", "cleo", "dan"];
    let games = (1..).zip(players).map(|(dice, player)| (board.clone(), player, dice));
    let throws = pool.map_async(play, games);
    let winner = loop {
        std::thread::sleep(Duration::from_millis(100));
        println!("{:?}", board.points()?);
        if let Some(winner) = board.winner()? {
            break winner;
        }
    };
    println!("{winner} wins after {:?} throws", throws.wait()?);

    // Nobody else is harmed by a process that dies, and the error says what is known.
    let error = board.burn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ActorDied);
    println!("{error}");
    assert!(!board.points().unwrap_err().may_have_run());
    Ok(())
}
