//! What a progress bar leaves on the terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use procession_tests::{EVERY, StartMethod, caller, conformance};

conformance! {
    EVERY => [a_bar_ends_its_line, without_a_terminal_there_is_no_bar];
}

fn command(method: StartMethod) -> Command {
    let mut command = caller(env!("CARGO_BIN_EXE_caller"), "progress", method);
    command.env("TERM", "xterm").stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// That of a call that fails is cleared instead.
fn a_bar_ends_its_line(method: StartMethod) {
    let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pty = nix::pty::openpty(&size, None).unwrap();
    let mut command = command(method);
    command.stderr(pty.slave);
    let mut child = command.spawn().unwrap();
    drop(command);
    // Reading fails where nobody has the terminal any more.
    let mut text = Vec::new();
    let _ = File::from(pty.master).read_to_end(&mut text);
    assert!(child.wait().unwrap().success());
    let text = String::from_utf8_lossy(&text);
    assert!(text.contains("squares") && text.contains("odd ones"), "{text:?}");
    assert!(text.contains("\r\ndone\r\n"), "{text:?}");
    assert!(text.ends_with("\r\u{1b}[2Kfailed\r\n"), "{text:?}");
}

fn without_a_terminal_there_is_no_bar(method: StartMethod) {
    let output = command(method).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "done\nfailed\n");
}
