//! A bar on the terminal while what is pending at the end of a mount is written to the chip. Nowhere else: what is written while
//! the chip is mounted is its writers' to show, and `info.json` has the same figures.

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::image::{Image, Report};
use crate::logging;

/// What is sooner over needs no bar.
const PATIENCE: Duration = Duration::from_millis(500);

const INTERVAL: Duration = Duration::from_millis(100);

const TEMPLATE: &str = "norfuse: writing [{wide_bar}] {left}";

/// Runs `work`, which puts what is pending in `image` on the chip. If that takes a while and standard error is a terminal that can
/// show it, a bar there tells how far it is.
pub fn shown<T>(image: &Image, work: impl FnOnce() -> T) -> T {
    if !can_show() {
        return work();
    }
    thread::scope(|scope| {
        let (working, ended) = channel::<()>();
        let show = move || show_until(&ended, image);
        if let Err(error) = thread::Builder::new().name("progress".to_owned()).spawn_scoped(scope, show) {
            log::debug!("no progress is shown: {error}");
        }
        let result = work();
        drop(working);
        result
    })
}

fn can_show() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_some_and(|term| term != "dumb")
}

fn show_until(ended: &Receiver<()>, image: &Image) {
    let is_working = |time| ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
    let before = image.report();
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style());
    if !is_working(PATIENCE) || !update(&bar, &before, &image.report()) {
        return;
    }
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let Some(_shown) = logging::Bar::show(bar.clone()) else {
        return;
    };
    while is_working(INTERVAL) {
        update(&bar, &before, &image.report());
    }
}

/// Tells whether anything is left.
fn update(bar: &ProgressBar, before: &Report, now: &Report) -> bool {
    let written = now.committed_bytes() - before.committed_bytes();
    bar.set_length(written + now.pending_bytes);
    bar.set_position(written);
    bar.tick();
    now.pending_bytes > 0
}

fn style() -> ProgressStyle {
    // The template is right, as the test below shows.
    ProgressStyle::with_template(TEMPLATE)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("left", |state: &ProgressState, line: &mut dyn fmt::Write| {
            let left = state.len().unwrap_or(0).saturating_sub(state.pos());
            // Whoever draws the bar has nobody to tell of an error either.
            let _ = line.write_str(&figures(left, whole(state.per_sec())));
        })
}

/// What is left, in bytes, how fast it becomes less, in bytes a second, and how long that takes.
fn figures(left: u64, rate: u64) -> String {
    if rate == 0 {
        return format!("{} left", HumanBytes(left));
    }
    let time = Duration::from_secs(left.div_ceil(rate));
    format!("{} left, {}/s, {:#}", HumanBytes(left), HumanBytes(rate), HumanDuration(time))
}

/// A rate without its fraction.
#[allow(clippy::cast_possible_truncation, reason = "a cast of a float stops at the bounds of the integer")]
fn whole(rate: f64) -> u64 {
    rate as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_is_understood() {
        ProgressStyle::with_template(TEMPLATE).unwrap();
    }

    #[test]
    fn rate_and_time_are_told_once_they_are_known() {
        assert_eq!(figures(1 << 20, 0), "1.00 MiB left");
        assert_eq!(figures(1 << 20, 262_144), "1.00 MiB left, 256.00 KiB/s, 4s");
    }
}
