//! flashrom at the same jobs, each of which is one run of it.

use std::fmt;

use super::CLOCK_HZ;
use super::common::{Bench, SECTOR_LEN, SpidevNode, assert_same};
use super::jobs::{Job, SECTOR_READ, Task};
use super::measure::{Late, Run, timed};

/// Its name of the chip, where it knows it, and otherwise of any chip that describes itself.
const CHIP: &str = "FM25Q128";
const SELF_DESCRIBING_CHIP: &str = "SFDP-capable chip";

/// An installed flashrom.
pub(crate) struct Flashrom {
    version: String,
    chip: &'static str,
}

impl Flashrom {
    /// What is installed, if it is.
    pub(crate) fn find() -> Option<Self> {
        let bench = Bench::new();
        let answer = |command: &[&str]| {
            let output = bench.program(command[0]).args(&command[1..]).output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let version = match answer(&["flashrom", "--version"])?.split(' ').nth(1)? {
            // Debian's does not know its own version.
            "unknown" => answer(&["dpkg-query", "-W", "-f", "${Version}", "flashrom"])?,
            version => version.to_owned(),
        };
        let knows_chip = answer(&["flashrom", "-L"])?.contains(CHIP);
        Some(Self { version, chip: if knows_chip { CHIP } else { SELF_DESCRIBING_CHIP } })
    }

    /// Whether it has such a job.
    pub(crate) fn knows(job: &Job) -> bool {
        matches!(job.task, Task::Dump | Task::ReadSector | Task::Write(_))
    }

    /// Does the job on a chip that holds `chip`, and checks that it was done.
    pub(crate) fn run(&self, job: &Job, chip: &[u8]) -> Run {
        let bench = Bench::new();
        let node = SpidevNode::in_real_time(chip);
        let mut command = bench.program("flashrom");
        command.args(["-c", self.chip, "-p"]);
        command.arg(format!("linux_spi:dev={},spispeed={}", node.device(), CLOCK_HZ / 1000));
        let mut expected = chip.to_vec();
        match job.task {
            Task::Dump => {
                command.args(["-r", "dump.bin"]);
            }
            Task::ReadSector => {
                bench.write("layout", layout(SECTOR_READ, SECTOR_LEN).as_bytes());
                command.args(["-l", "layout", "-i", "part", "-r", "dump.bin"]);
            }
            Task::Write(change) => {
                let change = change(chip);
                expected = change.applied_to(chip);
                bench.write("image.bin", &expected);
                if change.bytes.len() < chip.len() {
                    bench.write("layout", layout(change.offset, change.bytes.len()).as_bytes());
                    command.args(["-l", "layout", "-i", "part", "--noverify-all"]);
                }
                command.args(["-w", "image.bin"]);
            }
            Task::Start | Task::ReadAgain | Task::WriteAgain(_) => unreachable!("it knows no such job"),
        }
        let (time, _) = timed(command);
        assert_same(&node.contents(), &expected, "the chip after flashrom");
        let wires = node.wires();
        let traffic = wires.traffic;
        let lateness = wires.lateness().map(Late::from);
        let (messages, bytes) = (traffic.messages, traffic.bytes);
        Run { time, messages, bytes, processor: None, peak_memory: None, lateness }
    }
}

impl fmt::Display for Flashrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = &self.version;
        match self.chip {
            CHIP => write!(f, "flashrom {version}"),
            other => write!(f, "flashrom {version} (does not know the chip: -c '{other}')"),
        }
    }
}

/// A layout file with the sectors that have a byte of a range.
fn layout(offset: usize, len: usize) -> String {
    let start = offset / SECTOR_LEN * SECTOR_LEN;
    let end = (offset + len).next_multiple_of(SECTOR_LEN);
    format!("{start:08x}:{:08x} part\n", end - 1)
}
