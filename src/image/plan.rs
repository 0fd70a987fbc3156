//! Decides which erase and program operations bring a region of the chip to its wanted bytes in
//! the least chip and wire time.
//!
//! Pure arithmetic on bytes that are already in memory: it neither reads nor writes the chip, and
//! it does not decide when a region is due.
//!
//! NOR flash programs bits from 1 to 0 only; 0 to 1 takes an erase, which sets a whole unit to FF
//! and takes along every byte in it. Erase units nest (normally 4, 32 and 64 KiB), so the cheapest
//! plan of a unit is either that of its parts or one erase of the whole: the minimum found this
//! way is exact, not a heuristic.

use std::ops::{AddAssign, Range};
use std::time::Duration;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

/// The value of a byte after an erase.
const ERASED: u8 = 0xFF;

/// A plan writes back what an erase takes along, so a sector is read twice and compared before an
/// erase may take it: a bit misread on the wire would otherwise be programmed for good.
const READS_BEFORE_ERASE: u32 = 2;

/// What the chip and the wire take for each kind of operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Costs {
    /// Bytes in a page: no program operation crosses a multiple of it.
    pub page_len: u32,
    /// Time of one page program, whatever its length, without its data bytes on the wire.
    pub page_program: Duration,
    /// Time of one data byte on the wire, in either direction.
    pub per_byte: Duration,
    /// The erase units of the chip, in any order.
    ///
    /// A unit is used where a region is aligned to it, and only if its length is a multiple of the
    /// page and of the next smaller unit used: others do not nest and are ignored. Of two units of
    /// one length the quicker is used.
    pub erases: Vec<EraseCost>,
}

/// What one erase costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EraseCost {
    /// Bytes set to FF by the erase, which is aligned to as many.
    pub len: u32,
    /// Time of the erase.
    pub time: Duration,
}

/// A part of the chip which is planned on its own: as long as the largest erase unit and aligned
/// to it.
#[derive(Clone, Copy, Debug)]
pub struct Region<'a> {
    /// Chip address of the first byte, a multiple of the page.
    pub address: u32,
    /// Bytes in each sector, a multiple of the page: the grain in which the chip is read.
    pub sector_len: u32,
    /// The sectors from `address` on; `None` where the chip has not been read. Such a sector has
    /// no wanted bytes of its own: it stays as it is.
    pub sectors: &'a [Option<Sector<'a>>],
}

/// A sector that has been read.
#[derive(Clone, Copy, Debug)]
pub struct Sector<'a> {
    /// What the chip holds, `sector_len` bytes.
    pub current: &'a [u8],
    /// What it shall hold, `sector_len` bytes.
    pub wanted: &'a [u8],
}

/// One command to the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Sets a unit to FF.
    Erase {
        /// Chip address, a multiple of `len`.
        address: u32,
        /// Bytes erased: the length of one of [`Costs::erases`].
        len: u32,
    },
    /// Programs a run of wanted bytes within one page of one sector.
    Program {
        /// Chip address of the first byte.
        address: u32,
        /// Bytes to program, at least one.
        len: u32,
    },
}

/// Operations that bring a region to its wanted bytes when carried out in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Ascending by address, each erase before the programs in its unit.
    pub operations: Vec<Operation>,
    /// The estimated time of all operations.
    pub cost: Duration,
}

impl Plan {
    /// Whether the region already holds its wanted bytes.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// The chip addresses of each erased unit, ascending.
    pub fn erases(&self) -> impl Iterator<Item = Range<u32>> {
        self.operations.iter().filter_map(|operation| match *operation {
            Operation::Erase { address, len } => Some(address..address + len),
            Operation::Program { .. } => None,
        })
    }
}

/// The cheapest plan that brings `region` to its wanted bytes and leaves its unread sectors alone.
/// Among equally cheap ones that with the fewest erases, then with the fewest bytes erased.
///
/// `None` if there is no such plan: every erase unit that could set a needed bit holds an unread
/// sector (then [`sectors_worth_reading`] tells which to read), the chip has no such unit, or
/// `region` contradicts its own documentation.
pub fn plan(region: &Region<'_>, costs: &Costs) -> Option<Plan> {
    Planner::new(region, costs)?.cheapest()
}

/// The chip addresses of the unread sectors to read before `region` is planned, ascending.
///
/// They are those that the erases of a cheaper plan would take along if every unread sector were
/// blank, that is, cost its reading but no reprogramming. Once they are read, others may have
/// become worth reading: ask until the answer is empty.
pub fn sectors_worth_reading(region: &Region<'_>, costs: &Costs) -> Vec<u32> {
    let Some(mut planner) = Planner::new(region, costs) else {
        return Vec::new();
    };
    let without_reading = planner.cheapest();
    let read = costs.per_byte.saturating_mul(costs.page_len);
    planner.unread_page = Some(read.saturating_mul(READS_BEFORE_ERASE));
    let Some(best_case) = planner.cheapest() else {
        return Vec::new();
    };
    if without_reading.is_some_and(|plan| plan.cost <= best_case.cost) {
        return Vec::new();
    }
    (region.address..)
        .step_by(region.sector_len as usize)
        .zip(region.sectors)
        .filter(|(_, sector)| sector.is_none())
        .map(|(address, _)| address)
        .filter(|address| best_case.erases().any(|unit| unit.contains(address)))
        .collect()
}

/// A region taken apart into pages.
struct Planner<'a> {
    costs: &'a Costs,
    /// The erase units used, ascending, each a multiple of the one before.
    units: Vec<EraseCost>,
    pages: Vec<Page>,
    /// What it costs to take an unread page along in an erase; `None` forbids it.
    unread_page: Option<Duration>,
}

struct Page {
    address: u32,
    /// `None` if the page has not been read.
    programs: Option<Programs>,
}

/// What is left to program in a page.
struct Programs {
    /// As the page is now; `None` if a bit has to be set first.
    in_place: Option<Span>,
    /// Once it is erased.
    after_erase: Span,
}

/// A run of bytes by chip address; nothing if `len` is 0.
#[derive(Clone, Copy)]
struct Span {
    address: u32,
    len: u32,
}

/// Compares by time first and by wear among equals.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    time: Duration,
    erases: u32,
    erased_len: u32,
}

impl AddAssign for Cost {
    fn add_assign(&mut self, other: Self) {
        self.time = self.time.saturating_add(other.time);
        self.erases += other.erases;
        self.erased_len += other.erased_len;
    }
}

impl<'a> Planner<'a> {
    /// `None` if `region` is not made of whole pages within 32-bit addresses.
    fn new(region: &Region<'_>, costs: &'a Costs) -> Option<Self> {
        let pages_per_sector = region.sector_len.checked_div(costs.page_len)?;
        let whole_pages = pages_per_sector > 0
            && region.sector_len % costs.page_len == 0
            && region.address % costs.page_len == 0;
        let len = u32::try_from(region.sectors.len()).ok()?.checked_mul(region.sector_len)?;
        let end = region.address.checked_add(len)?;
        if !whole_pages {
            return None;
        }

        let page_len = costs.page_len as usize;
        let sector_len = region.sector_len as usize;
        let mut addresses = (region.address..end).step_by(page_len);
        let mut pages = Vec::with_capacity(addresses.len());
        for sector in region.sectors {
            let addresses = addresses.by_ref().take(pages_per_sector as usize);
            match sector {
                Some(Sector { current, wanted }) => {
                    if current.len() != sector_len || wanted.len() != sector_len {
                        return None;
                    }
                    let bytes = current.chunks_exact(page_len).zip(wanted.chunks_exact(page_len));
                    pages.extend(addresses.zip(bytes).map(|(address, (current, wanted))| Page {
                        address,
                        programs: Some(Programs::new(address..address + costs.page_len, current, wanted)),
                    }));
                }
                None => pages.extend(addresses.map(|address| Page { address, programs: None })),
            }
        }
        Some(Self { costs, units: nested_units(region.address, costs), pages, unread_page: None })
    }

    fn cheapest(&self) -> Option<Plan> {
        let mut operations = Vec::new();
        let cost = self.by_units(&self.pages, &self.units, &mut operations)?;
        Some(Plan { operations, cost: cost.time })
    }

    /// Appends the cheapest operations for `pages` that erase with `units` only. If there are none,
    /// what was appended is void.
    fn by_units(&self, pages: &[Page], units: &[EraseCost], operations: &mut Vec<Operation>) -> Option<Cost> {
        let Some((largest, smaller)) = units.split_last() else {
            return self.in_place(pages, operations);
        };
        let mut total = Cost::default();
        for pages in pages.chunks((largest.len / self.costs.page_len) as usize) {
            let start = operations.len();
            let in_parts = self.by_units(pages, smaller, operations);
            let middle = operations.len();
            let erased = self.erased(pages, *largest, operations);
            total += match (in_parts, erased) {
                (in_parts, Some(erased)) if in_parts.is_none_or(|in_parts| erased < in_parts) => {
                    operations.drain(start..middle);
                    erased
                }
                (in_parts, _) => {
                    operations.truncate(middle);
                    in_parts?
                }
            };
        }
        Some(total)
    }

    /// Programs `pages` without an erase.
    fn in_place(&self, pages: &[Page], operations: &mut Vec<Operation>) -> Option<Cost> {
        let mut total = Cost::default();
        for programs in pages.iter().filter_map(|page| page.programs.as_ref()) {
            total += self.program(programs.in_place?, operations);
        }
        Some(total)
    }

    /// Erases `pages` as one unit and programs what was in them.
    fn erased(&self, pages: &[Page], unit: EraseCost, operations: &mut Vec<Operation>) -> Option<Cost> {
        // The end of a chip may cut a unit off; such a part cannot be erased.
        if pages.len() != (unit.len / self.costs.page_len) as usize {
            return None;
        }
        operations.push(Operation::Erase { address: pages.first()?.address, len: unit.len });
        let mut total = Cost { time: unit.time, erases: 1, erased_len: unit.len };
        for page in pages {
            total += match &page.programs {
                Some(programs) => self.program(programs.after_erase, operations),
                None => Cost { time: self.unread_page?, ..Cost::default() },
            };
        }
        Some(total)
    }

    fn program(&self, span: Span, operations: &mut Vec<Operation>) -> Cost {
        let Span { address, len } = span;
        if len == 0 {
            return Cost::default();
        }
        operations.push(Operation::Program { address, len });
        let data = self.costs.per_byte.saturating_mul(len);
        Cost { time: self.costs.page_program.saturating_add(data), ..Cost::default() }
    }
}

impl Programs {
    /// What is left to program in the page at `addresses`.
    fn new(addresses: Range<u32>, current: &[u8], wanted: &[u8]) -> Self {
        let bytes = current.iter().zip(wanted);
        let in_place = if current == wanted {
            Some(Span { address: addresses.start, len: 0 })
        } else if bytes.clone().all(|(current, wanted)| wanted & !current == 0) {
            Some(Span::new(addresses.clone(), bytes.map(|(current, wanted)| current != wanted)))
        } else {
            None
        };
        let after_erase = Span::new(addresses, wanted.iter().map(|wanted| *wanted != ERASED));
        Self { in_place, after_erase }
    }
}

impl Span {
    /// From the first to the last byte of `addresses` that is `needed`. Those between that are not
    /// needed do no harm: they are programmed to what they already are.
    fn new(addresses: Range<u32>, needed: impl DoubleEndedIterator<Item = bool> + ExactSizeIterator) -> Self {
        let nothing = Self { address: addresses.start, len: 0 };
        let mut needed = addresses.zip(needed).filter(|(_, needed)| *needed).map(|(address, _)| address);
        let Some(first) = needed.next() else {
            return nothing;
        };
        let last = needed.next_back().unwrap_or(first);
        Self { address: first, len: last - first + 1 }
    }
}

/// The erase units of [`Costs::erases`] that nest in each other and in a region at `address`, ascending.
fn nested_units(address: u32, costs: &Costs) -> Vec<EraseCost> {
    let mut units = costs.erases.clone();
    units.sort_by_key(|unit| unit.len);
    let mut smaller = costs.page_len;
    units.retain(|unit| {
        let nests = unit.len >= smaller && unit.len % smaller == 0 && address % unit.len == 0;
        if nests {
            smaller = unit.len;
        }
        nests
    });
    units
}
