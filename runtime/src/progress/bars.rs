//! Progress bars on a terminal, and lines if standard error is not a terminal.
//!
//! One [`MultiProgress`] draws all bars of a process, so that the bars of several calls are below each other.
//! When a call ends, a line about it remains above the bars of the others.

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Progress;
use super::remote::RemoteBar;
use crate::poison::IgnorePoison;
use crate::sys::generation::PerProcess;

/// The maximum number of characters of a title that are shown.
const TITLE: usize = 40;

/// The interval of lines if standard error is not a terminal.
const INTERVAL: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Display {
    bars: MultiProgress,
    /// The number of bars.
    count: AtomicUsize,
}

impl Default for Display {
    fn default() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        Display { bars, count: AtomicUsize::new(0) }
    }
}

static DISPLAY: PerProcess<Display> = PerProcess::new();

/// Returns whether there are bars on a terminal.
pub(super) fn are_drawn() -> bool {
    DISPLAY.get().count.load(Ordering::Acquire) > 0
}

/// Runs `write` while the bars are cleared.
pub(super) fn suspend<R>(write: impl FnOnce() -> R) -> R {
    DISPLAY.get().bars.suspend(write)
}

/// The bar of a call, or its lines.
pub(super) struct Bar {
    title: String,
    /// The bar, if standard error is a terminal.
    bar: Option<ProgressBar>,
    /// The bar on the page of this process, if it is a worker.
    remote: Option<RemoteBar>,
    /// The time of the last line, and whether there was one, if it is not.
    written: Mutex<(Instant, bool)>,
}

impl Bar {
    /// Creates a bar. In a worker process its caller draws it, or nobody if the worker has too many bars.
    pub(super) fn new(title: &str) -> Option<Bar> {
        let title = shown(title);
        let written = Mutex::new((Instant::now(), false));
        if crate::identity::is_worker_process() {
            let remote = Some(RemoteBar::new(&title)?);
            return Some(Bar { title, bar: None, remote, written });
        }
        let display = DISPLAY.get();
        let bar = (!display.bars.is_hidden()).then(|| {
            display.count.fetch_add(1, Ordering::AcqRel);
            let bar = display.bars.add(ProgressBar::no_length());
            bar.set_message(title.clone());
            bar
        });
        Some(Bar { title, bar, remote: None, written })
    }

    /// Draws the bar, or writes a line when the interval is over.
    pub(super) fn show(&self, progress: &Progress) {
        match (&self.bar, &self.remote) {
            (Some(bar), _) => draw(bar, progress),
            (None, Some(remote)) => remote.show(progress),
            (None, None) => self.write_line(progress),
        }
    }

    /// Removes the bar. If the call succeeded, a line about it remains.
    pub(super) fn end(&self, finished: Option<&Progress>) {
        if let Some(remote) = &self.remote {
            return remote.end(finished);
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            let display = DISPLAY.get();
            display.bars.remove(bar);
            display.count.fetch_sub(1, Ordering::AcqRel);
        }
        let written = self.written.lock().ignore_poison().1;
        if let Some(progress) = finished
            && (self.bar.is_some() || written)
        {
            self.print(&line(&self.title, progress));
        }
    }

    fn write_line(&self, progress: &Progress) {
        let mut written = self.written.lock().ignore_poison();
        if written.0.elapsed() >= interval() {
            *written = (Instant::now(), true);
            self.print(&line(&self.title, progress));
        }
    }

    /// Writes a line above all bars.
    fn print(&self, line: &str) {
        suspend(|| {
            // If standard error is closed, the line is lost.
            let _ = writeln!(std::io::stderr(), "{line}");
        });
    }
}

fn interval() -> Duration {
    crate::env::progress_interval().unwrap_or(INTERVAL)
}

fn draw(bar: &ProgressBar, progress: &Progress) {
    let template = match progress.total {
        Some(_) => "{msg} {wide_bar} {pos}/{len} {prefix}{eta}",
        None => "{msg} {spinner} {pos} {prefix}{elapsed}",
    };
    if bar.length() != progress.total {
        match progress.total {
            Some(total) => bar.set_length(total),
            None => bar.unset_length(),
        }
    }
    bar.set_style(ProgressStyle::with_template(template).expect("the template is right"));
    if progress.failed > 0 {
        bar.set_prefix(format!("{} failed ", progress.failed));
    }
    bar.set_position(progress.done);
    bar.tick();
}

/// Shortens a title so that it fits into a line.
fn shown(title: &str) -> String {
    let clean = title.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut shown: String = clean.clone().take(TITLE).collect();
    if clean.count() > TITLE {
        shown.pop();
        shown.push('…');
    }
    shown
}

/// Formats the progress of a call as one line.
fn line(title: &str, progress: &Progress) -> String {
    let mut line = format!("{title}: {}", progress.done);
    // Writing to a string cannot fail.
    if let Some(total) = progress.total {
        let _ = write!(line, "/{total}");
        if !progress.is_over && total > 0 {
            let _ = write!(line, " ({} %)", progress.done.saturating_mul(100) / total);
        }
    }
    if progress.failed > 0 {
        let _ = write!(line, ", {} failed", progress.failed);
    }
    match progress.remaining().filter(|_| !progress.is_over) {
        Some(left) => drop(write!(line, ", {:.1} s left", left.as_secs_f64())),
        None => drop(write!(line, ", {:.1} s", progress.elapsed.as_secs_f64())),
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_one_short_line() {
        assert_eq!(shown("two\nlines\u{1b}[31m"), "two lines [31m");
        assert_eq!(shown(&"é".repeat(40)), "é".repeat(40));
        assert_eq!(shown(&"é".repeat(41)), "é".repeat(39) + "…");
        assert_eq!(shown(""), "");
    }

    #[test]
    fn a_line_tells_what_is_known() {
        let elapsed = Duration::from_millis(2_000);
        let mut at = Progress { done: 20, total: Some(50), failed: 0, elapsed, is_over: false };
        assert_eq!(line("a", &at), "a: 20/50 (40 %), 3.0 s left");
        at.failed = 3;
        assert_eq!(line("a", &at), "a: 20/50 (40 %), 3 failed, 3.0 s left");
        at.total = None;
        assert_eq!(line("a", &at), "a: 20, 3 failed, 2.0 s");
        at = Progress { done: 50, total: Some(50), failed: 0, elapsed, is_over: true };
        assert_eq!(line("a", &at), "a: 50/50, 2.0 s");
        at = Progress { done: 0, total: Some(0), failed: 0, elapsed, is_over: true };
        assert_eq!(line("a", &at), "a: 0/0, 2.0 s");
    }
}
