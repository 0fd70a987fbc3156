//! The jobs: what is done, and how quick norfuse is meant to be at it.

use std::fmt;
use std::time::Duration;

use norfuse::spi::sim::timing::Times;

use super::bound::{Bound, Bus};
use super::common::{CHIP_LEN, SECTOR_LEN};
use super::contents::{self, Change};

/// A job whose bound is shorter is measured several times, and the median is taken.
const REPEATED_BELOW: Duration = Duration::from_secs(1);
const REPETITIONS: usize = 5;

pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) task: Task,
    pub(crate) mark: Mark,
    /// Whether it takes a minute even at the bound.
    pub(crate) is_long: bool,
}

/// What is timed.
#[derive(Clone, Copy)]
pub(crate) enum Task {
    /// `norfuse`, `cp` of the whole chip to a file, `umount`.
    Dump,
    /// `norfuse` until the mount can be used, on a chip that takes no time.
    Start,
    /// `dd` of a sector from a chip that has just been mounted.
    ReadSector,
    /// `dd` of the whole chip, once it has been read.
    ReadAgain,
    /// `cp` of an image, or `dd` of a part, to a chip that has just been mounted.
    Write(fn(&[u8]) -> Change),
    /// The same once more.
    WriteAgain(fn(&[u8]) -> Change),
}

/// What is aimed at.
#[derive(Clone, Copy)]
pub(crate) enum Mark {
    /// At most so many times the bound.
    Times(f64),
    /// No message, and at least so many bytes a second.
    NoMessage { bytes_per_second: u64 },
    /// At most so long.
    Within(Duration),
}

/// Where a sector is read, in bytes.
pub(crate) const SECTOR_READ: usize = 0x56_7000;

/// In the order of the table.
pub(crate) const JOBS: [Job; 11] = [
    job("full read, cold, with mount and unmount", Task::Dump, Mark::Times(1.02)),
    job("full read again", Task::ReadAgain, Mark::NoMessage { bytes_per_second: 1_000_000_000 }),
    job("4 KiB read, mounted, cold", Task::ReadSector, Mark::Times(2.0)),
    job("start to mounted, unpaced", Task::Start, Mark::Within(Duration::from_millis(30))),
    job("write the same image, cold", Task::Write(contents::the_same), Mark::Times(1.02)),
    job(
        "write the same image, warm",
        Task::WriteAgain(contents::the_same),
        Mark::NoMessage { bytes_per_second: 0 },
    ),
    job("clear one bit, cold", Task::Write(contents::one_bit_less), Mark::Times(3.0)),
    job("set one bit, cold", Task::Write(contents::one_bit_more), Mark::Times(1.06)),
    job("64 KiB partition (161 pages), cold", Task::Write(contents::small_partition), Mark::Times(1.05)),
    job("2 MiB kernel through raw.bin, cold", Task::Write(contents::kernel), Mark::Times(1.04)),
    Job {
        is_long: true,
        ..job("wholly different image, cold", Task::Write(contents::another), Mark::Times(1.03))
    },
];

const fn job(name: &'static str, task: Task, mark: Mark) -> Job {
    Job { name, task, mark, is_long: false }
}

impl Job {
    /// The least time on a `chip` with this content.
    pub(crate) fn bound(&self, bus: Bus, chip: &[u8]) -> Bound {
        match self.task {
            Task::Dump => Bound::of_reading(bus, CHIP_LEN),
            Task::ReadSector => Bound::of_reading(bus, SECTOR_LEN),
            Task::Start | Task::ReadAgain | Task::WriteAgain(_) => Bound::default(),
            Task::Write(change) => {
                let change = change(chip);
                let written = change.offset..change.offset + change.bytes.len();
                Bound::of_writing(bus, &Times::default(), chip, &change.applied_to(chip), written)
            }
        }
    }

    /// How often it is measured.
    pub(crate) fn repetitions(&self, bound: &Bound) -> usize {
        let is_costly =
            matches!(self.task, Task::ReadAgain | Task::WriteAgain(_)) || bound.time() >= REPEATED_BELOW;
        if is_costly { 1 } else { REPETITIONS }
    }
}

impl Mark {
    /// Whether a job that took `time` and sent `messages`, with this bound, has reached it.
    pub(crate) fn is_reached(self, time: Duration, bound: Duration, messages: u64) -> bool {
        match self {
            Self::Times(times) => time <= bound.mul_f64(times),
            Self::NoMessage { bytes_per_second } => {
                messages == 0 && CHIP_LEN as f64 >= bytes_per_second as f64 * time.as_secs_f64()
            }
            Self::Within(limit) => time <= limit,
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "<= {times:.2}"),
            Self::NoMessage { bytes_per_second: 0 } => f.write_str("no bus"),
            Self::NoMessage { bytes_per_second } => {
                write!(f, "no bus, {} GB/s", bytes_per_second / 1_000_000_000)
            }
            Self::Within(limit) => write!(f, "<= {} ms", limit.as_millis()),
        }
    }
}
