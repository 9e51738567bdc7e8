//! The part of a backtrace that is of interest to a user.
//!
//! A panic of a task has about thirty frames, of which few belong to the task. Above them are the frames
//! in which the standard library panics and this library records the panic. Below them are the frames in
//! which this library runs the task and the standard library starts a thread. Both ends are cut off. The
//! frames of the standard library in between, whose names are long and say little, are left out. If
//! symbols are missing and no end is found, nothing is cut off.

use std::fmt;

/// The function that `#[worker]` generates around a task. All frames above it belong to the task.
const THUNK: &str = "__procession_thunk";

/// The maximum number of frames that are shown.
const MOST: usize = 24;

/// A frame of a printed backtrace.
#[derive(Clone, Copy)]
struct BacktraceFrame<'a> {
    symbol: &'a str,
    place: Option<&'a str>,
}

impl BacktraceFrame<'_> {
    /// Returns whether it is a frame of the standard library.
    fn is_std(self) -> bool {
        let symbol = self.symbol.trim_start_matches(['<', '&']);
        ["core::", "std::", "alloc::", "__rustc::", "__rust", "rust_"]
            .iter()
            .any(|start| symbol.starts_with(start))
            || self.place.is_some_and(|place| place.starts_with("/rustc/"))
    }

    /// Returns whether it is a frame of this library. The name of an inlined function has no path, but
    /// its file is known.
    fn is_ours(self) -> bool {
        let symbol = self.symbol.trim_start_matches('<');
        symbol.starts_with("runtime::") || self.place.is_some_and(is_our_file)
    }

    /// Returns whether it is a frame below those of the task.
    fn is_below_task(self) -> bool {
        self.symbol.contains(THUNK)
            || self.symbol.contains("__rust_begin_short_backtrace")
            || self.place.and_then(in_our_folder).is_some_and(|file| {
                ["__private.rs:", "call.rs:", "keeps.rs:", "takes.rs:"]
                    .iter()
                    .any(|glue| file.starts_with(glue))
            })
    }

    /// Returns whether it is a frame of the code that `#[worker]` generates.
    fn is_glue(self) -> bool {
        self.symbol.starts_with("{closure") || self.symbol.contains(THUNK)
    }
}

fn is_our_file(place: &str) -> bool {
    in_our_folder(place).is_some()
}

/// Returns the path of a file of this library within its folder. The folder is derived from the path of
/// this file.
fn in_our_folder(place: &str) -> Option<&str> {
    let own = file!().strip_suffix("error/backtrace.rs").unwrap_or("/procession/src/");
    let own = own.strip_prefix('/').unwrap_or(own);
    let (before, file) = place.split_once(own)?;
    (before.is_empty() || before.ends_with('/')).then_some(file)
}

/// Returns the frames of a printed backtrace.
fn frames(trace: &str) -> Vec<BacktraceFrame<'_>> {
    let mut frames: Vec<BacktraceFrame<'_>> = Vec::new();
    for line in trace.lines().map(str::trim) {
        if let Some(place) = line.strip_prefix("at ") {
            if let Some(frame) = frames.last_mut() {
                frame.place = Some(place);
            }
        } else if let Some((number, symbol)) = line.split_once(": ")
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            frames.push(BacktraceFrame { symbol, place: None });
        }
    }
    frames
}

/// Returns the frames of the task; all frames if they cannot be identified.
fn own_frames<'a>(frames: &[BacktraceFrame<'a>]) -> Vec<BacktraceFrame<'a>> {
    let part = part_of_task(frames);
    let own: Vec<BacktraceFrame<'a>> =
        part.iter().copied().filter(|frame| !frame.is_std()).collect();
    if own.is_empty() { part.to_vec() } else { own }
}

/// Returns the frames between the ends; all frames if the ends cannot be identified.
fn part_of_task<'a, 'f>(frames: &'f [BacktraceFrame<'a>]) -> &'f [BacktraceFrame<'a>] {
    let ends_panic = |frame: &BacktraceFrame<'_>| {
        frame.symbol.contains("__rust_end_short_backtrace")
            || frame.symbol.contains("rust_begin_unwind")
    };
    let from = frames.iter().rposition(ends_panic).map_or(0, |at| at + 1);
    let from = from + frames[from..].iter().take_while(|frame| frame.is_std()).count();
    let inner = &frames[from..];
    let Some(below) = inner.iter().position(|frame| frame.is_below_task()) else {
        return if from < frames.len() { inner } else { frames };
    };
    let mut part = &inner[..below];
    if let [rest @ .., glue] = part
        && glue.is_glue()
    {
        part = rest;
    }
    while let [rest @ .., last] = part
        && (last.is_std() || last.is_ours())
    {
        part = rest;
    }
    if part.is_empty() { frames } else { part }
}

/// Writes the frames of the task, one per line.
pub(super) fn write_short(trace: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let all = frames(trace);
    let part = own_frames(&all);
    for (number, frame) in part.iter().take(MOST).enumerate() {
        write!(f, "\n  {number}: {}", frame.symbol)?;
        if let Some(place) = frame.place {
            write!(f, " at {place}")?;
        }
    }
    match part.len().checked_sub(MOST + 1) {
        Some(more) => write!(f, "\n  and {} more frames", more + 1),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbols(trace: &str) -> Vec<&str> {
        own_frames(&frames(trace)).iter().map(|frame| frame.symbol).collect()
    }

    const ABOVE: &str = "   0: runtime::worker::panic::report_of
             at ./src/worker/panic.rs:115:25
   1: <alloc::boxed::Box<dyn Fn> as core::ops::function::Fn<(&std::panic::PanicHookInfo,)>>::call
   2: std::sys::backtrace::__rust_end_short_backtrace::<std::panicking::panic_handler, !>
   3: __rustc::rust_begin_unwind
   4: core::panicking::panic_fmt
   5: core::option::Option<T>::expect
             at /rustc/0/library/core/src/option.rs:971:21
";

    #[test]
    fn both_ends_are_cut() {
        let trace = format!(
            "{ABOVE}   6: app::below\n             at ./src/main.rs:4:66\n   \
             7: core::iter::adapters::map::map_fold::{{{{closure}}}}\n   8: app::task\n   \
             9: app::_::__procession_thunk::{{{{closure}}}}\n  10: runtime::__private::Call::run\n  \
             11: app::_::__procession_thunk\n  12: runtime::worker::serve::Worker::run\n  13: main\n"
        );
        assert_eq!(symbols(&trace), ["app::below", "app::task"]);
    }

    #[test]
    fn inlined_functions_are_told_by_their_files() {
        let own = file!().replace("error/backtrace.rs", "keeps.rs");
        let trace = format!(
            "{ABOVE}   6: expect<u64>\n             at /rustc/0/library/core/src/option.rs:971:21\n   \
             7: below\n             at ./src/main.rs:4:66\n   8: task\n             at ./src/main.rs:9:5\n   \
             9: {{closure#0}}\n             at ./src/main.rs:8:1\n  10: run<(), u64>\n             \
             at ./{own}:79:22\n  11: app::_::__procession_thunk\n  12: main\n"
        );
        assert_eq!(symbols(&trace), ["below", "task"]);
    }

    #[test]
    fn a_thread_of_a_task_ends_where_the_standard_library_starts_it() {
        let trace = format!(
            "{ABOVE}   6: app::helper::{{{{closure}}}}\n   \
             7: std::sys::backtrace::__rust_begin_short_backtrace\n   8: std::thread::run\n"
        );
        assert_eq!(symbols(&trace), ["app::helper::{{closure}}"]);
    }

    #[test]
    fn what_cannot_be_told_is_not_cut() {
        let trace = "   0: <unknown>\n   1: <unknown>\n";
        assert_eq!(symbols(trace), ["<unknown>", "<unknown>"]);
        assert!(symbols("").is_empty());
        assert_eq!(symbols("no frames at all"), Vec::<&str>::new());
    }
}
