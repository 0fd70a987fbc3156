//! What a job costs: time, processor time, memory, traffic.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// One run of a job.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    pub(crate) time: Duration,
    /// Messages on the bus.
    pub(crate) messages: u64,
    /// Bytes on the bus, commands included.
    pub(crate) bytes: u64,
    /// The daemon's processor time, without what the simulated chip spins; none where it was not measured.
    pub(crate) processor: Option<Duration>,
    /// The most memory that the daemon has had, in bytes.
    pub(crate) peak_memory: Option<u64>,
    /// How late the simulated chip's real time was.
    pub(crate) lateness: Option<Late>,
}

/// How late waits were, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Late {
    pub(crate) waits: u64,
    pub(crate) median_us: u64,
    pub(crate) p99_us: u64,
    pub(crate) max_us: u64,
}

/// Of one or more runs the one whose time is in the middle.
pub(crate) fn median(mut runs: Vec<Run>) -> Run {
    runs.sort_by_key(|run| run.time);
    runs.swap_remove(runs.len() / 2)
}

/// Runs a command to its end, which must be a good one. Returns how long that took, and what it printed to standard error.
pub(crate) fn timed(mut command: Command) -> (Duration, String) {
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let started = Instant::now();
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let time = started.elapsed();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{stderr}", output.status);
    (time, stderr)
}

/// The time that dd says it took from its first read to the close, without the start of its process.
pub(crate) fn timed_by_dd(command: Command) -> Duration {
    let (_, stderr) = timed(command);
    let seconds = stderr.rsplit_once("copied, ").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
    Duration::from_secs_f64(seconds.unwrap_or_else(|| panic!("dd told no time: {stderr}")))
}

/// User and system time of running processes.
pub(crate) fn processor_time(pids: &[Pid]) -> Duration {
    pids.iter()
        .map(|&pid| Duration::from(clock_getcpuclockid(pid).and_then(|clock| clock.now()).unwrap()))
        .sum()
}

/// The most resident memory that any one of the processes has had, in bytes.
pub(crate) fn peak_memory(pids: &[Pid]) -> Option<u64> {
    let of_one = |pid: &Pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    };
    pids.iter().filter_map(of_one).max()
}

impl From<norfuse::spi::Lateness> for Late {
    fn from(lateness: norfuse::spi::Lateness) -> Self {
        let us = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self {
            waits: lateness.waits,
            median_us: us(lateness.median),
            p99_us: us(lateness.p99),
            max_us: us(lateness.max),
        }
    }
}
