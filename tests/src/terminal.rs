//! A terminal that a program under test writes to.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use nix::pty::{Winsize, openpty};

/// A terminal, and the thread that reads its contents.
pub struct Terminal {
    screen: Arc<Mutex<vt100::Parser>>,
    master: File,
    reader: Option<JoinHandle<()>>,
    child: Child,
}

impl Terminal {
    /// Runs a command on a new terminal.
    ///
    /// # Panics
    ///
    /// If it cannot be started.
    pub fn run(mut command: Command, rows: u16, columns: u16) -> Terminal {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(&size, None).unwrap();
        command.stdout(pty.slave.try_clone().unwrap()).stderr(pty.slave);
        let child = command.spawn().unwrap();
        drop(command);
        let master = File::from(pty.master);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns.max(1), 100)));
        let (mut from, to) = (master.try_clone().unwrap(), Arc::clone(&screen));
        let reader = std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Reading fails when no process has the terminal any more.
            while let Ok(count @ 1..) = from.read(&mut bytes) {
                to.lock().unwrap().process(&bytes[..count]);
            }
        });
        Terminal { screen, master, reader: Some(reader), child }
    }

    /// Returns the lines that are not empty.
    ///
    /// # Panics
    ///
    /// Not in a test that works.
    pub fn lines(&self) -> Vec<String> {
        let screen = self.screen.lock().unwrap();
        let (_, columns) = screen.screen().size();
        let lines = screen.screen().rows(0, columns).map(|row| row.trim_end().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }

    /// Changes the size.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn resize(&self, rows: u16, columns: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(rows, columns);
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let mut stty = Command::new("stty");
        stty.args(["rows", &rows, "columns", &columns]).stdin(self.master.try_clone().unwrap());
        assert!(stty.status().unwrap().success());
    }

    /// Waits for the end of the command, and returns the lines.
    ///
    /// # Panics
    ///
    /// If the command fails.
    pub fn end(mut self) -> Vec<String> {
        assert!(self.child.wait().unwrap().success(), "{:?}", self.lines());
        self.reader.take().unwrap().join().unwrap();
        self.lines()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.reader.is_some() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
