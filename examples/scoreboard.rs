//! cargo run --release --example scoreboard
//!
//! Four players in separate processes throw dice and report to a scoreboard, an actor in a fifth process. The
//! program shows the scores during the game. At the end it aborts the process of the scoreboard.

#![allow(unreachable_pub)] // This repository requires `pub(crate)` in programs.

use std::{collections::BTreeMap, error::Error, time::Duration};

use runtime::{ErrorKind, Manager, Pool, actor, initializer, worker};

/// The state that the processes share. Only its proxies are sent, so it needs no traits of serde.
struct Scoreboard {
    goal: u32,
    points: BTreeMap<String, u32>,
    winner: Option<String>,
}

#[initializer]
fn open_scoreboard(goal: u32) -> Scoreboard {
    Scoreboard { goal, points: BTreeMap::new(), winner: None }
}

/// Each `pub` method becomes a method of `ScoreboardProxy`, which returns a `Result`.
#[actor]
impl Scoreboard {
    /// Adds points, and returns whether the game continues. No other call runs at the same time.
    pub fn add(&mut self, player: &str, points: u32) -> bool {
        let sum = self.points.entry(player.to_owned()).or_default();
        *sum += points;
        if *sum >= self.goal && self.winner.is_none() {
            self.winner = Some(player.to_owned());
        }
        self.winner.is_none()
    }

    /// Several calls of this method can run at the same time.
    pub fn winner(&self) -> Option<String> {
        self.winner.clone()
    }

    pub fn points(&self) -> Vec<(String, u32)> {
        self.points.iter().map(|(player, points)| (player.clone(), *points)).collect()
    }

    /// The caller does not wait for this method.
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

    // When the process dies, only its callers get an error, which says what happened.
    let error = board.burn().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ActorDied);
    println!("{error}");
    assert!(!board.points().unwrap_err().may_have_run());
    Ok(())
}
