//! norfuse at a job.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::CLOCK_HZ;
use super::common::{Bench, Foreground, SECTOR_LEN, SpidevNode, Traffic, assert_same};
use super::contents::Change;
use super::jobs::{Job, SECTOR_READ, Task};
use super::measure::{Late, Run, peak_memory, processor_time, timed, timed_by_dd};

/// How dd reads and writes where that is up to it, in bytes.
const DD_BLOCK_LEN: usize = 1 << 20;

/// Where the chip is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Device {
    /// In norfuse, as `sim:FILE`.
    Simulated,
    /// Behind a spidev node in this process.
    Spidev,
}

/// A chip, and norfuse when it is mounted.
struct Session {
    bench: Bench,
    /// Dropped before the node, which it has open.
    daemon: Option<Foreground>,
    node: Option<SpidevNode>,
}

/// What had been used up at some moment.
#[derive(Debug, Clone, Copy, Default)]
struct Used {
    traffic: Traffic,
    processor: Duration,
}

/// Does the job on a chip that holds `chip`, and checks that it was done.
pub(crate) fn run(device: Device, job: &Job, chip: &[u8]) -> Run {
    let mut session = Session::new(device, chip);
    match job.task {
        Task::Dump => session.dump(chip),
        Task::Start => session.start(),
        Task::ReadSector => {
            session.mount();
            let run = session.measured(|session| timed_by_dd(session.dd_from_chip(SECTOR_READ, SECTOR_LEN)));
            session.unmount();
            run
        }
        Task::ReadAgain => {
            session.mount();
            timed(session.dd_from_chip(0, chip.len()));
            let run = session.measured(|session| timed_by_dd(session.dd_from_chip(0, chip.len())));
            session.unmount();
            run
        }
        Task::Write(change) => session.write(chip, &change(chip), 1),
        Task::WriteAgain(change) => session.write(chip, &change(chip), 2),
    }
}

impl Session {
    fn new(device: Device, chip: &[u8]) -> Self {
        let (bench, node) = match device {
            Device::Simulated => (Bench::with_chip(chip), None),
            Device::Spidev => (Bench::new(), Some(SpidevNode::in_real_time(chip))),
        };
        Self { bench, daemon: None, node }
    }

    fn dump(&mut self, chip: &[u8]) -> Run {
        let mounting = self.mount();
        let copying = self.cp("m/raw.bin", "dump.bin");
        let mut run = self.run(mounting + copying, Used::default());
        run.time += self.unmount();
        assert_same(&self.bench.read("dump.bin"), chip, "the dump");
        run
    }

    fn start(&mut self) -> Run {
        let time = timed(self.bench.command(&["--speed", &CLOCK_HZ.to_string(), "sim:chip.img", "m"])).0;
        let run = self.run(time, Used::default());
        self.unmount();
        run
    }

    /// Makes the change so many times, and measures the last.
    fn write(&mut self, chip: &[u8], change: &Change, times: usize) -> Run {
        self.bench.write("change.bin", &change.bytes);
        self.mount();
        for _ in 1..times {
            self.make(change, chip);
        }
        let run = self.measured(|session| session.make(change, chip));
        self.unmount();
        assert_same(&self.contents(), &change.applied_to(chip), "the chip");
        run
    }

    fn make(&self, change: &Change, chip: &[u8]) -> Duration {
        if change.bytes.len() == chip.len() {
            return self.cp("change.bin", "m/raw.bin");
        }
        let mut dd = self.bench.program("dd");
        dd.args(["if=change.bin", "of=m/raw.bin", "conv=notrunc", "oflag=seek_bytes"]);
        dd.arg(format!("bs={}", change.bytes.len().min(DD_BLOCK_LEN))).arg(format!("seek={}", change.offset));
        timed_by_dd(dd)
    }

    fn cp(&self, from: &str, to: &str) -> Duration {
        let mut cp = self.bench.program("cp");
        cp.args([from, to]);
        timed(cp).0
    }

    fn dd_from_chip(&self, offset: usize, len: usize) -> Command {
        let mut dd = self.bench.program("dd");
        dd.args(["if=m/raw.bin", "of=/dev/null", "iflag=skip_bytes,count_bytes"]);
        dd.arg(format!("bs={}", len.min(DD_BLOCK_LEN)));
        dd.arg(format!("skip={offset}")).arg(format!("count={len}"));
        dd
    }

    /// Mounts, and returns how long that took.
    fn mount(&mut self) -> Duration {
        let clock_hz = CLOCK_HZ.to_string();
        let Some(node) = &self.node else {
            return timed(self.bench.command(&["--sim-realtime", "--speed", &clock_hz, "sim:chip.img", "m"]))
                .0;
        };
        // The node reads the memory of its callers, which a system may allow for children only.
        let command = self.bench.command(&["-f", "--speed", &clock_hz, &node.device(), "m"]);
        let started = Instant::now();
        let mut daemon = Foreground::start(command, self.bench.path("log"));
        while self.bench.mounts().is_empty() {
            assert!(!daemon.has_ended(), "{}", daemon.log());
            thread::sleep(Duration::from_micros(200));
        }
        self.daemon = Some(daemon);
        started.elapsed()
    }

    /// Unmounts, and returns how long that took; waits for the end of norfuse beyond it.
    fn unmount(&mut self) -> Duration {
        let mut umount = self.bench.program("fusermount3");
        umount.args(["-u", "m"]);
        let time = timed(umount).0;
        if let Some(mut daemon) = self.daemon.take() {
            assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());
        }
        self.bench.wait_for_daemons();
        time
    }

    fn contents(&self) -> Vec<u8> {
        match &self.node {
            Some(node) => node.contents(),
            None => self.bench.read("chip.img"),
        }
    }

    /// Has `work` measure its time, and adds what was used meanwhile.
    fn measured(&mut self, work: impl Fn(&Self) -> Duration) -> Run {
        let before = self.used();
        let time = work(self);
        self.run(time, before)
    }

    /// A run that took `time` and ends now.
    fn run(&self, time: Duration, before: Used) -> Run {
        let after = self.used();
        Run {
            time,
            messages: after.traffic.messages - before.traffic.messages,
            bytes: after.traffic.bytes - before.traffic.bytes,
            processor: Some(after.processor.saturating_sub(before.processor)),
            peak_memory: peak_memory(&self.bench.daemons()),
            lateness: self.lateness(),
        }
    }

    fn used(&self) -> Used {
        let info = self.bench.info();
        let spun = Duration::from_micros(info["bus"]["simulated_time"]["spun_us"].as_u64().unwrap_or(0));
        let processor = processor_time(&self.bench.daemons()).saturating_sub(spun);
        let traffic = match &self.node {
            Some(node) => node.wires().traffic,
            None => counted(&info["counters"]),
        };
        Used { traffic, processor }
    }

    fn lateness(&self) -> Option<Late> {
        if let Some(node) = &self.node {
            return node.wires().lateness().map(Late::from);
        }
        let info = self.bench.info();
        let time = info["bus"]["simulated_time"].as_object()?;
        let number = |name: &str| time.get(name)?.as_u64();
        Some(Late {
            waits: number("waits")?,
            median_us: number("median_late_us")?,
            p99_us: number("p99_late_us")?,
            max_us: number("max_late_us")?,
        })
    }
}

/// What norfuse says has passed over the bus.
fn counted(counters: &Value) -> Traffic {
    let number = |name: &str| counters[name].as_u64().unwrap_or_else(|| panic!("no {name} in {counters}"));
    Traffic { messages: number("messages"), bytes: number("bytes_read") + number("bytes_written") }
}
