//! The least time that a job takes on a chip, whoever does it: the wire's, the messages' and the chip's.
//!
//! Pure arithmetic, and independent of norfuse's own planner. What it counts:
//! - each message: 15 us beside its bytes, at one bit a clock;
//! - a read: 5 bytes of command and the data, in the fewest messages that the bus allows;
//! - a write: reading each sector once that is written to or erased; of all covers of the changed bits by erases and page programs
//!   the quickest, each operation in one message with its write enable and one status read, and the chip's typical time for it;
//!   reading back once what was erased or programmed.
//!
//! Nothing overlaps, because bus and chip are busy in turn.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use norfuse::spi::sim::MESSAGE_OVERHEAD;
use norfuse::spi::sim::timing::{Times, wire_time};

const PAGE_LEN: usize = 256;
const SECTOR_LEN: usize = 4096;
const BLOCK_LEN: usize = 64 << 10;

/// Opcode, address and dummy byte of a read.
const READ_COMMAND_LEN: usize = 5;
/// Write enable; opcode and address of an erase or program; opcode and value of a status read.
const OPERATION_LEN: usize = 1 + 4 + 2;

/// The programmer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bus {
    pub(crate) clock_hz: u32,
    /// The longest data phase of a message, in bytes.
    pub(crate) max_data_len: usize,
}

/// A bound and what it is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bound {
    items: Vec<Item>,
}

#[derive(Debug, Clone)]
struct Item {
    what: String,
    time: Duration,
}

/// What has to be done to a part of the chip.
#[derive(Debug, Clone, Default)]
struct Cover {
    erases: Vec<Range<usize>>,
    programs: Vec<Range<usize>>,
    time: Duration,
}

impl Bus {
    fn message(self, len: usize) -> Duration {
        MESSAGE_OVERHEAD + wire_time(len as u64, self.clock_hz)
    }

    fn read(self, len: usize) -> Duration {
        let messages = u32::try_from(len.div_ceil(self.max_data_len)).expect("a chip is read in less");
        MESSAGE_OVERHEAD * messages
            + wire_time((len + READ_COMMAND_LEN * messages as usize) as u64, self.clock_hz)
    }

    fn read_all(self, ranges: &[Range<usize>]) -> Duration {
        ranges.iter().map(|range| self.read(range.len())).sum()
    }
}

impl Bound {
    /// Of reading `len` bytes.
    pub(crate) fn of_reading(bus: Bus, len: usize) -> Self {
        Self::default().and(format!("read {}", bytes(len)), bus.read(len))
    }

    /// Of writing `wanted` to the range `written` of a chip that holds `current`.
    pub(crate) fn of_writing(
        bus: Bus,
        times: &Times,
        current: &[u8],
        wanted: &[u8],
        written: Range<usize>,
    ) -> Self {
        let chip = Changes { bus, times, current, wanted };
        let cover = chip.cheapest();
        let sectors = whole_sectors(&[vec![written], cover.erases.clone()].concat());
        let touched = merged(&[cover.erases.clone(), cover.programs.clone()].concat());
        let mut bound =
            Self::default().and(format!("read {}", bytes(total_len(&sectors))), bus.read_all(&sectors));
        for (len, time) in chip.erase_sizes() {
            let count = cover.erases.iter().filter(|range| range.len() == len).count();
            let count = u32::try_from(count).expect("as many as sectors at most");
            bound = bound.and(
                format!("{count} erases of {}", bytes(len)),
                (bus.message(OPERATION_LEN) + time) * count,
            );
        }
        let programming = cover.programs.iter().map(|range| chip.program_time(range)).sum();
        bound
            .and(format!("{} pages", cover.programs.len()), programming)
            .and(format!("read back {}", bytes(total_len(&touched))), bus.read_all(&touched))
    }

    pub(crate) fn time(&self) -> Duration {
        self.items.iter().map(|item| item.time).sum()
    }

    fn and(mut self, what: String, time: Duration) -> Self {
        if !time.is_zero() {
            self.items.push(Item { what, time });
        }
        self
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let items: Vec<String> = self
            .items
            .iter()
            .map(|item| format!("{} {:.3} ms", item.what, item.time.as_secs_f64() * 1e3))
            .collect();
        f.write_str(&items.join(", "))
    }
}

/// A chip as it is and as it shall be.
struct Changes<'a> {
    bus: Bus,
    times: &'a Times,
    current: &'a [u8],
    wanted: &'a [u8],
}

impl Changes<'_> {
    /// What can be erased at once, in bytes, and the chip's time for it, the largest first. A chip erase takes longer than its
    /// blocks, and is no quicker way to anything.
    fn erase_sizes(&self) -> [(usize, Duration); 3] {
        [
            (BLOCK_LEN, self.times.block_erase_64k),
            (32 << 10, self.times.block_erase_32k),
            (SECTOR_LEN, self.times.sector_erase),
        ]
    }

    fn cheapest(&self) -> Cover {
        let mut chip = Cover::default();
        for start in (0..self.current.len()).step_by(BLOCK_LEN) {
            let block = start..start + BLOCK_LEN;
            if self.current[block.clone()] != self.wanted[block.clone()] {
                let cover =
                    self.cheapest_of(&block, &self.erase_sizes()).expect("an erase allows everything");
                chip.append(cover);
            }
        }
        chip
    }

    /// The quickest cover of `unit` that erases in `sizes` only, of which the first is the unit's own; none without an erase that
    /// sets a bit that has to be set.
    fn cheapest_of(&self, unit: &Range<usize>, sizes: &[(usize, Duration)]) -> Option<Cover> {
        let Some(((_, time), smaller)) = sizes.split_first() else {
            return self.in_place(unit);
        };
        let erased = self.erased(unit, *time);
        let part_len = smaller.first().map_or(unit.len(), |(len, _)| *len);
        let parts = unit.clone().step_by(part_len);
        let in_parts = parts.map(|start| self.cheapest_of(&(start..start + part_len), smaller)).try_fold(
            Cover::default(),
            |mut sum, part| {
                sum.append(part?);
                Some(sum)
            },
        );
        Some(in_parts.filter(|in_parts| in_parts.time <= erased.time).unwrap_or(erased))
    }

    fn in_place(&self, unit: &Range<usize>) -> Option<Cover> {
        let mut bytes = self.current[unit.clone()].iter().zip(&self.wanted[unit.clone()]);
        let possible = bytes.all(|(current, wanted)| wanted & !current == 0);
        possible.then(|| self.programmed(unit, |at| self.current[at] != self.wanted[at]))
    }

    fn erased(&self, unit: &Range<usize>, time: Duration) -> Cover {
        let mut cover = self.programmed(unit, |at| self.wanted[at] != 0xff);
        cover.erases.push(unit.clone());
        cover.time += self.bus.message(OPERATION_LEN) + time;
        cover
    }

    /// Programs each page of `unit` from its first to its last byte that is `needed`.
    fn programmed(&self, unit: &Range<usize>, needed: impl Fn(usize) -> bool) -> Cover {
        let mut cover = Cover::default();
        for page in unit.clone().step_by(PAGE_LEN).map(|start| start..start + PAGE_LEN) {
            let mut needed = page.filter(|&at| needed(at));
            let Some(first) = needed.next() else { continue };
            let last = needed.next_back().unwrap_or(first);
            cover.programs.push(first..last + 1);
            cover.time += self.program_time(&(first..last + 1));
        }
        cover
    }

    fn program_time(&self, range: &Range<usize>) -> Duration {
        self.bus.message(OPERATION_LEN + range.len()) + self.times.page_program
    }
}

impl Cover {
    fn append(&mut self, other: Self) {
        self.erases.extend(other.erases);
        self.programs.extend(other.programs);
        self.time += other.time;
    }
}

fn total_len(ranges: &[Range<usize>]) -> usize {
    ranges.iter().map(ExactSizeIterator::len).sum()
}

/// The sectors that have a byte of `ranges`, adjacent ones as one range.
fn whole_sectors(ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let widened =
        |range: &Range<usize>| range.start / SECTOR_LEN * SECTOR_LEN..range.end.next_multiple_of(SECTOR_LEN);
    merged(&ranges.iter().map(widened).collect::<Vec<_>>())
}

/// The same bytes in the fewest ranges, ascending.
fn merged(ranges: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut ascending = ranges.to_vec();
    ascending.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<usize>> = Vec::new();
    for range in ascending {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// A number of bytes in the largest unit that divides it.
fn bytes(len: usize) -> String {
    match len {
        _ if len % (1 << 20) == 0 => format!("{} MiB", len >> 20),
        _ if len % (1 << 10) == 0 => format!("{} KiB", len >> 10),
        _ => format!("{len} bytes"),
    }
}
