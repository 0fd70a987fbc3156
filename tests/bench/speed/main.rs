//! Measures norfuse from end to end: real mounts, real `cp` and `dd`, a simulated chip in real time; and, where it is installed,
//! flashrom on the same chip. Started by `contrib/bench`. It judges nothing: it prints what was measured beside what physics allows.

mod arguments;
mod bound;
mod carriage;
#[path = "../../common/mod.rs"]
mod common;
mod contents;
mod flashrom;
mod grid;
mod jobs;
mod machine;
mod measure;
mod mounted;
mod report;

use std::process::ExitCode;

use clap::Parser;

use arguments::Arguments;
use bound::Bus;
use flashrom::Flashrom;
use jobs::{JOBS, Job, Task};
use measure::{Run, median};
use mounted::Device;
use report::{Entry, Report, Table};

/// The clock in Hz, at which a KiB takes a quarter of a millisecond.
const CLOCK_HZ: u32 = 32_768_000;

/// What the simulated programmer takes in one message, in bytes.
const SIMULATED: Bus = Bus { clock_hz: CLOCK_HZ, max_data_len: 64 << 10 };
/// What spidev takes unless it is told otherwise.
const SPIDEV: Bus = Bus { clock_hz: CLOCK_HZ, max_data_len: 4096 };

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !arguments.run {
        println!("the speed of the whole is measured by contrib/bench; it takes minutes");
        return ExitCode::SUCCESS;
    }
    let report = measure(&arguments);
    println!("{report}");
    match std::fs::write(&arguments.json, report.to_json()) {
        Ok(()) => {
            println!("as JSON: {}", arguments.json.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("contrib/bench: cannot write {}: {error}", arguments.json.display());
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Report {
    let chip = contents::image(1);
    let jobs: Vec<&Job> = JOBS.iter().filter(|job| arguments.selects(job)).collect();
    let mut report = Report {
        machine: machine::description(),
        clock_hz: CLOCK_HZ,
        simulated: Table {
            title: "norfuse, sim: (64 KiB a message)".to_owned(),
            entries: entries("norfuse", SIMULATED, &jobs, &chip, |job| {
                mounted::run(Device::Simulated, job, &chip)
            }),
        },
        spidev: None,
        flashrom: None,
    };
    if arguments.no_spidev {
        return report;
    }
    let paced: Vec<&Job> = jobs.into_iter().filter(|job| !matches!(job.task, Task::Start)).collect();
    let longer = carriage::of_a_message(&chip, CLOCK_HZ);
    report.spidev = Some(Table {
        title: format!(
            "norfuse, spidev node (bufsiz 4096; that FUSE carries the messages makes each {} us longer)",
            longer.as_micros()
        ),
        entries: entries("norfuse on spidev", SPIDEV, &paced, &chip, |job| {
            mounted::run(Device::Spidev, job, &chip)
        }),
    });
    let Some(flashrom) = Flashrom::find() else {
        eprintln!("flashrom is not installed, so there is nothing to compare with");
        return report;
    };
    let common: Vec<&Job> = paced.into_iter().filter(|job| Flashrom::knows(job)).collect();
    report.flashrom = Some(Table {
        title: format!("the same node with norfuse and with {flashrom}"),
        entries: entries("flashrom on spidev", SPIDEV, &common, &chip, |job| flashrom.run(job, &chip)),
    });
    report
}

/// Has `run` do the jobs one after the other, short ones several times. `who` is for who waits.
fn entries(who: &str, bus: Bus, jobs: &[&Job], chip: &[u8], run: impl Fn(&Job) -> Run) -> Vec<Entry> {
    let entries = jobs.iter().map(|job| {
        eprintln!("{who}: {}", job.name);
        let bound = job.bound(bus, chip);
        let runs: Vec<Run> = (0..job.repetitions(&bound)).map(|_| run(job)).collect();
        Entry { name: job.name, mark: job.mark, bound, runs: runs.len(), run: median(runs) }
    });
    entries.collect()
}
