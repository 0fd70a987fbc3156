//! From what is cached and pending to a [`Draft`]: what is missing is read, and what an erase would take along is made sure of.

use std::ops::Range;
use std::time::Duration;

use super::BusThread;
use crate::image::SECTOR_LEN;
use crate::image::cache::Trust;
use crate::image::draft::{Draft, sectors_of};
use crate::image::error::Error;
use crate::image::plan::{Costs, EraseCost, Region, Sector, plan, sectors_worth_reading};

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
        let times = self.chip.times();
        Costs {
            page_len: self.chip.part().page_len,
            page_program: times.page_program.average(),
            per_byte: Duration::from_nanos(8_000_000_000 / u64::from(self.chip.clock().max(1))),
            erases: times.erases.iter().map(|(&len, time)| EraseCost { len, time: time.average() }).collect(),
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
            self.note_mismatch(address);
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
