//! Putting what is pending in one region on the chip: plan, erase, program, read back, compare.
//!
//! From the first erase on, what the erase takes along exists only in memory; so before anything is erased, all of it
//! becomes pending, and pending it stays until it has been read back from the chip.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::SECTOR_LEN;
use super::bus_thread::BusThread;
use super::error::Error;
use super::plan::{Costs, EraseCost, Operation, Plan, Region, Sector, plan, sectors_worth_reading};
use super::state::tell;
use crate::chip;

/// A region is written this often before it is given up.
const ATTEMPTS: u32 = 3;

/// A sector that an erase takes along is read this often until two readings in a row agree.
const PRESERVED_READS: u32 = 8;

/// The sectors of a region with pending bytes when its commit began, and their generations.
type Snapshot = Vec<(u32, u64)>;

impl BusThread {
    /// Commits what is pending in `region` and tells everybody who waits for it.
    pub(super) fn commit(&mut self, region: u32) {
        let sequence = self.shared.state.lock().next_sequence();
        let result = self.try_commit(region);
        let mut state = self.shared.state.lock();
        if let Err(error) = &result {
            state.counts.failed_commits += 1;
            log::error!("{}", crate::error_text(error));
        }
        let finished = state.finish_commit(region, sequence, &result);
        state.answer_ready_reads();
        drop(state);
        tell(finished);
    }

    fn try_commit(&mut self, region: u32) -> Result<(), Error> {
        let range = self.shared.state.lock().region_range(region);
        let mut confirmed = Vec::new();
        let mut failure = None;
        for attempt in 1..=ATTEMPTS {
            let (plan, snapshot) = self.plan_commit(&range, &mut confirmed)?;
            let result = self.carry_out(&plan, &range).and_then(|()| self.verify(&plan, &range, attempt));
            match result {
                Ok(()) => {
                    self.retire(&snapshot, &plan, &range);
                    return Ok(());
                }
                Err(error) => {
                    self.distrust(&plan);
                    if !matches!(error, Error::Verify { .. }) {
                        return Err(error);
                    }
                    failure = Some(error);
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Plans the region from what is cached and pending now. When it returns, whatever the plan's erases take along has
    /// been read twice alike and is pending.
    fn plan_commit(
        &mut self,
        range: &Range<u32>,
        confirmed: &mut Vec<u32>,
    ) -> Result<(Plan, Snapshot), Error> {
        loop {
            let snapshot: Snapshot = self.shared.state.lock().pending.sectors_in(range.clone()).collect();
            let numbers: Vec<u32> = snapshot.iter().map(|&(sector, _)| sector).collect();
            self.fill_missing(&numbers)?;
            let known = self.draft(range);
            let region =
                Region { address: range.start, sector_len: SECTOR_LEN, sectors: &self.sectors(&known) };
            let costs = self.costs();
            let worth_reading: Vec<u32> =
                sectors_worth_reading(&region, &costs).iter().map(|address| address / SECTOR_LEN).collect();
            if !worth_reading.is_empty() {
                self.fill_missing(&worth_reading)?;
                continue;
            }
            let plan = plan(&region, &costs).ok_or(Error::NotErasable { address: range.start })?;
            let unconfirmed: Vec<u32> = self
                .preserved_sectors(&plan)
                .into_iter()
                .filter(|sector| !confirmed.contains(sector))
                .collect();
            if unconfirmed.is_empty() {
                self.make_pending(&plan, range);
                return Ok((plan, snapshot));
            }
            for sector in unconfirmed {
                self.confirm(sector)?;
                confirmed.push(sector);
            }
        }
    }

    /// Copies the region as the chip holds it and as it should be; tells which of its sectors are cached.
    fn draft(&mut self, range: &Range<u32>) -> Vec<bool> {
        let state = self.shared.state.lock();
        self.current.copy_from_slice(state.cache.bytes(range.clone()));
        self.wanted.copy_from_slice(&self.current);
        state.pending.overlay(range.clone(), &mut self.wanted);
        (range.start / SECTOR_LEN..range.end / SECTOR_LEN)
            .map(|sector| state.cache.is_cached(sector))
            .collect()
    }

    fn sectors(&self, known: &[bool]) -> Vec<Option<Sector<'_>>> {
        let sector_len = SECTOR_LEN as usize;
        self.current
            .chunks_exact(sector_len)
            .zip(self.wanted.chunks_exact(sector_len))
            .zip(known)
            .map(|((current, wanted), known)| known.then_some(Sector { current, wanted }))
            .collect()
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

    /// The sectors within the plan's erases of which the user has not written every byte.
    fn preserved_sectors(&self, plan: &Plan) -> Vec<u32> {
        let state = self.shared.state.lock();
        plan.erases()
            .flat_map(sectors_of)
            .filter(|sector| !state.pending.covers(sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN))
            .collect()
    }

    /// Reads a sector again until two readings in a row agree, the cached one being the first.
    fn confirm(&mut self, sector: u32) -> Result<(), Error> {
        let address = sector * SECTOR_LEN;
        let range = address..address + SECTOR_LEN;
        let mut last = self.shared.state.lock().cache.bytes(range).to_vec();
        for _ in 0..PRESERVED_READS {
            let mut again = vec![0; SECTOR_LEN as usize];
            self.read_chip(address, &mut again)?;
            let mut state = self.shared.state.lock();
            if again == last {
                state.cache.fill(address, &again);
                drop(state);
                self.serve_readers();
                return Ok(());
            }
            state.counts.mismatches += 1;
            state.cache.forget(sector);
            log::warn!("the sector at {address:#08x} reads differently when read again");
            last = again;
        }
        Err(Error::Unstable { address })
    }

    fn make_pending(&self, plan: &Plan, range: &Range<u32>) {
        let mut state = self.shared.state.lock();
        for sector in plan.erases().flat_map(sectors_of) {
            let offset = (sector * SECTOR_LEN - range.start) as usize;
            state.pending.complete(sector, &self.wanted[offset..offset + SECTOR_LEN as usize]);
        }
    }

    fn carry_out(&mut self, plan: &Plan, range: &Range<u32>) -> Result<(), Error> {
        for operation in &plan.operations {
            match *operation {
                Operation::Erase { address, len } => self.erase(address, len)?,
                Operation::Program { address, len } => {
                    let offset = (address - range.start) as usize;
                    self.chip
                        .program(address, &self.wanted[offset..offset + len as usize])
                        .map_err(|source| write_error("program", address, source))?;
                }
            }
            self.serve_readers();
        }
        Ok(())
    }

    fn erase(&mut self, address: u32, len: u32) -> Result<(), Error> {
        let erase = self.chip.part().erase_type(len).cloned().ok_or(Error::NotErasable { address })?;
        self.chip.erase(address, &erase).map_err(|source| write_error("erase", address, source))
    }

    /// Reads back, from the chip, whatever the plan has touched.
    fn verify(&mut self, plan: &Plan, range: &Range<u32>, attempts: u32) -> Result<(), Error> {
        for touched in touched_ranges(plan) {
            let mut found = vec![0; touched.len()];
            self.read_chip(touched.start, &mut found)?;
            let offset = (touched.start - range.start) as usize;
            let wanted = &self.wanted[offset..offset + found.len()];
            if let Some(index) = found.iter().zip(wanted).position(|(found, wanted)| found != wanted) {
                let address = touched.start + u32::try_from(index).unwrap_or(0);
                let error = Error::Verify { address, wanted: wanted[index], found: found[index], attempts };
                self.shared.state.lock().counts.verify_failures += 1;
                log::warn!("{address:#08x} reads back {:02x} instead of {:02x}", found[index], wanted[index]);
                return Err(error);
            }
            self.serve_readers();
        }
        Ok(())
    }

    /// What is on the chip goes from pending to the cache.
    fn retire(&self, snapshot: &[(u32, u64)], plan: &Plan, range: &Range<u32>) {
        let mut state = self.shared.state.lock();
        for sector in touched_ranges(plan).into_iter().flat_map(sectors_of) {
            let offset = (sector * SECTOR_LEN - range.start) as usize;
            state.cache.fill(sector * SECTOR_LEN, &self.wanted[offset..offset + SECTOR_LEN as usize]);
        }
        for &(sector, generation) in snapshot {
            state.pending.retire(sector, generation);
        }
        for sector in plan.erases().flat_map(sectors_of) {
            // A neighbour that became pending for the erase alone has never been written into.
            state.pending.retire(sector, 0);
        }
    }

    /// After a failure nothing that the plan touched is known any more.
    fn distrust(&self, plan: &Plan) {
        let mut state = self.shared.state.lock();
        for sector in touched_ranges(plan).into_iter().flat_map(sectors_of) {
            state.cache.forget(sector);
        }
    }
}

fn sectors_of(range: Range<u32>) -> Range<u32> {
    range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN)
}

/// The erased units, and the programmed spans outside of them.
fn touched_ranges(plan: &Plan) -> Vec<Range<u32>> {
    let mut touched: Vec<Range<u32>> = Vec::new();
    for operation in &plan.operations {
        let (Operation::Erase { address, len } | Operation::Program { address, len }) = *operation;
        match touched.last_mut() {
            // Operations ascend, so whatever begins within the last range belongs to its erase, or goes on from it.
            Some(last) if address <= last.end => last.end = last.end.max(address + len),
            _ => touched.push(address..address + len),
        }
    }
    touched
}

fn write_error(operation: &'static str, address: u32, source: chip::Error) -> Error {
    Error::Write { operation, address, source: Arc::new(source) }
}
