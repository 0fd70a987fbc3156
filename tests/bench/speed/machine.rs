//! On what, and when, it was measured.

use std::fs;
use std::process::Command;

/// Host, kernel, processor, date and how busy it is, on one line.
pub(crate) fn description() -> String {
    let processors = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    // Arm's kernels name the board instead of the processor.
    let kind = ["model name", "Model"].iter().find_map(|field| {
        let line = processors.lines().find(|line| line.starts_with(field))?;
        Some(line.split_once(':')?.1.trim())
    });
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    let uname = output_of(Command::new("uname").arg("-nrm"));
    let date = output_of(Command::new("date").arg("+%-d %B %Y, %H:%M %Z"));
    let averages = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = averages.split(' ').next().unwrap_or_default();
    format!("{uname}, {count} x {}, {date}, load {load}", kind.unwrap_or("unknown processor"))
}

fn output_of(command: &mut Command) -> String {
    let output = command.env("LC_ALL", "C").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).trim().to_owned()
}
