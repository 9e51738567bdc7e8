//! The dashboard in a real browser.
//!
//! The tests need `chromium` and `chromedriver`, and the one for accessibility needs the path of `axe.min.js` in
//! `PROCESSION_AXE`. What is missing is skipped, unless `PROCESSION_BROWSER` is set. With `PROCESSION_SCREENSHOTS`, screenshots are written
//! to that folder.

use std::process::ExitCode;

mod driver;
mod page;

fn main() -> ExitCode {
    procession_tests::harness::main(page::tests())
}
