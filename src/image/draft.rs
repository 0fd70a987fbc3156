//! What a commit will do to one region, and from what it knows that.

use std::ops::Range;
use std::time::Duration;

use super::SECTOR_LEN;
use super::bus_thread::BusThread;
use super::cache::Trust;
use super::error::Error;
use super::plan::{Costs, EraseCost, Operation, Plan, Region, Sector, plan, sectors_worth_reading};

/// A region as the chip holds it and as it should be, and the way from the one to the other.
pub(super) struct Draft {
    /// The region's addresses.
    pub(super) range: Range<u32>,
    pub(super) current: Vec<u8>,
    pub(super) wanted: Vec<u8>,
    pub(super) plan: Plan,
    /// Which sectors of the region have been read.
    known: Vec<bool>,
    /// The sectors that had pending bytes, and their generations.
    pub(super) snapshot: Vec<(u32, u64)>,
}

impl Draft {
    /// The bytes that should be in `range`.
    pub(super) fn wanted(&self, range: &Range<u32>) -> &[u8] {
        &self.wanted[self.offset(range.start)..self.offset(range.end)]
    }

    /// The bytes that were in `range` before.
    pub(super) fn current(&self, range: &Range<u32>) -> &[u8] {
        &self.current[self.offset(range.start)..self.offset(range.end)]
    }

    /// Whether a sector of the region has been read, so that current and wanted bytes mean something.
    pub(super) fn is_known(&self, sector: u32) -> bool {
        self.known.get((sector - self.range.start / SECTOR_LEN) as usize).copied().unwrap_or(false)
    }

    fn offset(&self, address: u32) -> usize {
        (address - self.range.start) as usize
    }

    /// The erased units, and the programmed spans outside of them, ascending.
    pub(super) fn touched_ranges(&self) -> Vec<Range<u32>> {
        let mut touched: Vec<Range<u32>> = Vec::new();
        for operation in &self.plan.operations {
            let (Operation::Erase { address, len } | Operation::Program { address, len }) = *operation;
            match touched.last_mut() {
                // Operations ascend, so whatever begins within the last range belongs to its erase, or goes on from it.
                Some(last) if address <= last.end => last.end = last.end.max(address + len),
                _ => touched.push(address..address + len),
            }
        }
        touched
    }

    pub(super) fn touched_sectors(&self) -> impl Iterator<Item = u32> {
        self.touched_ranges().into_iter().flat_map(sectors_of)
    }

    pub(super) fn erased_sectors(&self) -> impl Iterator<Item = u32> {
        self.plan.erases().flat_map(sectors_of)
    }
}

impl BusThread {
    /// Plans a region from what is cached and pending now. When it returns, whatever the plan's erases take along has been read
    /// twice alike, and is pending.
    pub(super) fn draft(&mut self, region: u32) -> Result<Draft, Error> {
        let range = self.shared.state.lock().region_range(region);
        loop {
            let snapshot: Vec<_> = self.shared.state.lock().pending.sectors_in(range.clone()).collect();
            let written: Vec<u32> = snapshot.iter().map(|&(sector, _)| sector).collect();
            self.fill_missing(&written)?;
            let (current, wanted, known) = self.copy_region(&range);
            let sectors = sectors(&current, &wanted, &known);
            let region = Region { address: range.start, sector_len: SECTOR_LEN, sectors: &sectors };
            let costs = self.costs();
            let worth_reading: Vec<u32> =
                sectors_worth_reading(&region, &costs).iter().map(|address| address / SECTOR_LEN).collect();
            if !worth_reading.is_empty() {
                self.fill_missing(&worth_reading)?;
                continue;
            }
            let plan = plan(&region, &costs).ok_or(Error::NotErasable { address: range.start })?;
            let draft = Draft { range: range.clone(), current, wanted, plan, known, snapshot };
            let unverified = self.unverified_sectors(&draft);
            if unverified.is_empty() {
                self.make_pending(&draft);
                return Ok(draft);
            }
            for sector in unverified {
                self.verify_sector(sector)?;
            }
        }
    }

    /// Copies the region as the chip holds it and as it should be; tells which of its sectors are cached.
    fn copy_region(&self, range: &Range<u32>) -> (Vec<u8>, Vec<u8>, Vec<bool>) {
        let state = self.shared.state.lock();
        let current = state.cache.bytes(range.clone()).to_vec();
        let mut wanted = current.clone();
        state.pending.overlay(range.clone(), &mut wanted);
        let known = sectors_of(range.clone()).map(|sector| state.cache.is_cached(sector)).collect();
        (current, wanted, known)
    }

    fn costs(&self) -> Costs {
        let part = self.chip.part();
        Costs {
            page_len: part.page_len,
            page_program: part.page_program.typical,
            per_byte: Duration::from_nanos(8_000_000_000 / u64::from(self.chip.clock().max(1))),
            erases: part
                .erase_types
                .iter()
                .map(|erase| EraseCost { len: erase.len, time: erase.typical })
                .collect(),
        }
    }

    /// The sectors within the plan's erases of which the user has not written every byte, and which have been read only once.
    fn unverified_sectors(&self, draft: &Draft) -> Vec<u32> {
        let state = self.shared.state.lock();
        draft
            .erased_sectors()
            .filter(|&sector| state.cache.trust(sector) != Trust::Verified)
            .filter(|sector| !state.pending.covers(sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN))
            .collect()
    }

    /// Reads a cached sector again: it is verified if both readings agree, else by majority.
    fn verify_sector(&mut self, sector: u32) -> Result<(), Error> {
        let address = sector * SECTOR_LEN;
        let cached = self.shared.state.lock().cache.bytes(address..address + SECTOR_LEN).to_vec();
        let mut again = vec![0; SECTOR_LEN as usize];
        self.read_once(address, &mut again)?;
        if again != cached {
            again = self.read_by_majority(sector, vec![cached, again])?;
        }
        self.shared.state.lock().cache.fill(address, &again, Trust::Verified);
        self.serve_readers();
        Ok(())
    }

    /// From the first erase on, what it takes along exists only in memory: so it becomes pending, like what the user has written.
    fn make_pending(&self, draft: &Draft) {
        let mut state = self.shared.state.lock();
        for sector in draft.erased_sectors() {
            let range = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
            state.pending.complete(sector, draft.wanted(&range));
        }
    }
}

fn sectors<'a>(current: &'a [u8], wanted: &'a [u8], known: &[bool]) -> Vec<Option<Sector<'a>>> {
    let sector_len = SECTOR_LEN as usize;
    current
        .chunks_exact(sector_len)
        .zip(wanted.chunks_exact(sector_len))
        .zip(known)
        .map(|((current, wanted), known)| known.then_some(Sector { current, wanted }))
        .collect()
}

/// The numbers of the sectors that `range` touches.
pub(super) fn sectors_of(range: Range<u32>) -> Range<u32> {
    range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN)
}
