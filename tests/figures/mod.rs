//! Figures that a test run shows, although what a passing test prints is not shown.

use std::fmt::Arguments;
use std::io::Write as _;

pub(crate) fn show(figures: Arguments<'_>) {
    writeln!(std::io::stderr(), "{figures}").expect("standard error takes a line");
}
