//! `info.json`: what is known about the chip and what norfuse has done with it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::partition_table::PartitionTable;
use super::partitions::{Partition, Source};
use super::survey::Survey;
use crate::facts::{BusFacts, ChipFacts, ProtectionFacts, ReadFacts};
use crate::image::{Description, Image, Presence, Report, SECTOR_LEN};

/// What `info.json` is made of.
pub(super) struct InfoFile {
    pub(super) image: Arc<Image>,
    /// The device's name.
    pub(super) device: String,
    pub(super) table: Arc<PartitionTable>,
    pub(super) survey: Arc<Survey>,
}

impl InfoFile {
    /// What it holds now.
    pub(super) fn text(&self) -> Vec<u8> {
        let partitions = Partitions {
            source: match self.table.placed().map(|placed| placed.source) {
                None => "none",
                Some(Source::Layout) => "layout",
                Some(Source::Mtdparts) => "mtdparts",
                Some(Source::Fmap) => "FMAP",
            },
            list: self.table.list().iter().map(PartitionEntry::of).collect(),
            suggestion: self.survey.suggestion(),
        };
        render(&self.device, self.image.description(), &self.image.report(), partitions)
    }
}

#[derive(Serialize)]
struct Info<'a> {
    norfuse: &'static str,
    chip: ChipFacts<'a>,
    partitions: Partitions<'a>,
    protection: ProtectionFacts<'a>,
    bus: Bus<'a>,
    read: ReadFacts,
    times: Times,
    cache: Cache,
    scrub: Scrub,
    pending: Pending,
    counters: Counters<'a>,
}

#[derive(Serialize)]
struct Partitions<'a> {
    source: &'static str,
    list: Vec<PartitionEntry<'a>>,
    suggestion: Option<String>,
}

#[derive(Serialize)]
struct PartitionEntry<'a> {
    name: &'a str,
    address: String,
    size: usize,
    read_only: bool,
}

impl<'a> PartitionEntry<'a> {
    fn of(partition: &'a Partition) -> Self {
        Self {
            name: &partition.name,
            address: format!("{:#08x}", partition.range.start),
            size: partition.range.len(),
            read_only: partition.read_only,
        }
    }
}

#[derive(Serialize)]
struct Bus<'a> {
    #[serde(flatten)]
    facts: BusFacts<'a>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    simulated_time: Option<SimulatedTime>,
}

/// How accurately the simulated chip has kept real time.
#[derive(Serialize)]
struct SimulatedTime {
    waits: u64,
    median_late_us: u128,
    p99_late_us: u128,
    max_late_us: u128,
    spun_us: u128,
}

/// How long the chip stays busy: moving averages, or what is typical of the part until something was observed.
#[derive(Serialize)]
struct Times {
    page_program_us: u64,
    page_programs_observed: u64,
    erase_us: BTreeMap<u32, u64>,
    erases_observed: BTreeMap<u32, u64>,
}

#[derive(Serialize)]
struct Cache {
    cached_sectors: usize,
    verified_sectors: usize,
    sectors: u32,
}

#[derive(Serialize)]
struct Scrub {
    messages: u64,
    bytes_read: u64,
}

#[derive(Serialize)]
struct Pending {
    bytes: u64,
    committed_bytes: u64,
    bytes_per_second: Option<u64>,
    failed: Vec<Failed>,
}

#[derive(Serialize)]
struct Failed {
    address: String,
    error: String,
}

#[derive(Serialize)]
struct Counters<'a> {
    messages: u64,
    bytes_read: u64,
    bytes_written: u64,
    pages_programmed: u64,
    erases: &'a BTreeMap<u32, u64>,
    verify_failures: u64,
    mismatches: u64,
}

/// The text of `info.json` for a chip on `device`.
fn render(device: &str, description: &Description, report: &Report, partitions: Partitions<'_>) -> Vec<u8> {
    let counts = &report.counts;
    let info = Info {
        norfuse: env!("CARGO_PKG_VERSION"),
        chip: description.into(),
        partitions,
        protection: description.into(),
        bus: Bus {
            facts: BusFacts::new(device, counts.clock_hz, counts.calibration),
            state: match counts.presence {
                Presence::Gone => "chip gone",
                Presence::Here if report.failed.is_empty() => "ok",
                Presence::Here => "writes failed",
            },
            simulated_time: report.totals.lateness.map(|lateness| SimulatedTime {
                waits: lateness.waits,
                median_late_us: lateness.median.as_micros(),
                p99_late_us: lateness.p99.as_micros(),
                max_late_us: lateness.max.as_micros(),
                spun_us: lateness.spun.as_micros(),
            }),
        },
        read: counts.read_command.into(),
        times: times(report),
        cache: Cache {
            cached_sectors: report.cached_sectors,
            verified_sectors: report.verified_sectors,
            sectors: description.size / SECTOR_LEN,
        },
        scrub: Scrub { messages: counts.scrub.messages, bytes_read: counts.scrub.bytes_read },
        pending: Pending {
            bytes: report.pending_bytes,
            committed_bytes: report.committed_bytes(),
            bytes_per_second: report.commit_rate(),
            failed: report
                .failed
                .iter()
                .map(|(address, error)| Failed {
                    address: format!("{address:#08x}"),
                    error: error.to_string(),
                })
                .collect(),
        },
        counters: Counters {
            messages: report.totals.messages - counts.scrub.messages - counts.aside.messages,
            bytes_read: report.totals.bytes_read - counts.scrub.bytes_read - counts.aside.bytes_read,
            bytes_written: report.totals.bytes_written
                - counts.scrub.bytes_written
                - counts.aside.bytes_written,
            pages_programmed: report.totals.pages_programmed,
            erases: &report.totals.erases,
            verify_failures: counts.verify_failures,
            mismatches: counts.mismatches,
        },
    };
    let mut text = serde_json::to_vec_pretty(&info).unwrap_or_default();
    text.push(b'\n');
    text
}

fn times(report: &Report) -> Times {
    let times = &report.times;
    let erases = || times.erases.iter();
    Times {
        page_program_us: microseconds(times.page_program.average()),
        page_programs_observed: times.page_program.observed(),
        erase_us: erases().map(|(&len, time)| (len, microseconds(time.average()))).collect(),
        erases_observed: erases().map(|(&len, time)| (len, time.observed())).collect(),
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
