//! The progress bar of a call.

#[cfg(feature = "progress")]
mod drawn {
    use std::io::Write as _;

    use indicatif::{ProgressBar, ProgressStyle};

    pub(in crate::pool) struct Progress(Option<ProgressBar>);

    impl Progress {
        pub(in crate::pool) fn new(title: Option<&str>, inputs: Option<usize>) -> Self {
            Progress(title.map(|title| {
                let bar = match inputs {
                    Some(inputs) => ProgressBar::new(inputs as u64),
                    None => ProgressBar::no_length(),
                };
                let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {eta}");
                bar.set_style(style.expect("the template is right"));
                bar.with_message(title.to_owned())
            }))
        }

        pub(in crate::pool) fn at(&self, answered: usize) {
            if let Some(bar) = &self.0 {
                bar.set_position(answered as u64);
            }
        }

        /// Leaves the full bar on a line of its own; that of a call that fails is cleared when it is dropped.
        pub(in crate::pool) fn finish(&self) {
            if let Some(bar) = &self.0 {
                bar.finish();
                if !bar.is_hidden() {
                    let _ = writeln!(std::io::stderr());
                }
            }
        }
    }
}

#[cfg(feature = "progress")]
pub(super) use drawn::Progress;

#[cfg(not(feature = "progress"))]
pub(super) struct Progress;

#[cfg(not(feature = "progress"))]
impl Progress {
    pub(super) fn new(_: Option<&str>, _: Option<usize>) -> Self {
        Progress
    }

    pub(super) fn at(&self, _: usize) {}

    pub(super) fn finish(&self) {}
}
