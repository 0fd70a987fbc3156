//! Erasing, with readers let in between where the chip can suspend an erase.

use std::ops::Range;
use std::time::Duration;

use super::{BusThread, write_error};
use crate::chip::part::EraseType;
use crate::chip::{self, Erase, Suspending};
use crate::image::SECTOR_LEN;
use crate::image::cache::Trust;
use crate::image::error::Error;

/// How often to look whether a reader has come.
const SLICE: Duration = Duration::from_millis(1);

impl BusThread {
    /// Erases `len` bytes at `address` in a region that is being committed.
    pub(super) fn erase(&mut self, address: u32, len: u32, region: &Range<u32>) -> Result<(), Error> {
        let erase = self.chip.part().erase_type(len).cloned().ok_or(Error::NotErasable { address })?;
        self.erase_and_serve(address, &erase, region).map_err(|source| write_error("erase", address, source))
    }

    fn erase_and_serve(
        &mut self,
        address: u32,
        erase: &EraseType,
        region: &Range<u32>,
    ) -> Result<(), chip::Error> {
        let mut erase = self.chip.begin_erase(address, erase)?;
        while self.chip.rest(&erase, SLICE) {
            if self.chip.may_suspend(&erase) && self.has_readers() {
                self.let_readers_in(&mut erase, region)?;
            }
        }
        self.chip.end_erase(erase)
    }

    fn has_readers(&self) -> bool {
        !self.shared.state.lock().reads.is_empty()
    }

    /// Suspends an erase in `region` for those who wait for bytes elsewhere. Of what is being erased nobody does: it is pending.
    fn let_readers_in(&mut self, erase: &mut Erase, region: &Range<u32>) -> Result<(), chip::Error> {
        let is_proven = self.chip.suspending() == Suspending::Proven;
        let known = if is_proven { None } else { self.known_sector_outside(region) };
        if (!is_proven && known.is_none()) || !self.chip.suspend(erase)? {
            return Ok(());
        }
        let result = match known {
            Some((address, bytes)) => self.compare_known(address, &bytes),
            None => {
                self.serve_readers();
                Ok(())
            }
        };
        // Whatever has come of it, the erase must go on.
        self.chip.resume(erase).and(result)
    }

    /// Bytes that are known for sure, that a floating line does not read as, and that nothing is being done to.
    fn known_sector_outside(&self, region: &Range<u32>) -> Option<(u32, Vec<u8>)> {
        let state = self.shared.state.lock();
        (0..state.cache.size() / SECTOR_LEN)
            .filter(|&sector| state.cache.trust(sector) == Trust::Verified)
            .map(|sector| sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN)
            .filter(|range| !region.contains(&range.start))
            .map(|range| (range.start, state.cache.bytes(range)))
            .find(|(_, bytes)| bytes.windows(2).any(|pair| pair[0] != pair[1]))
            .map(|(address, bytes)| (address, bytes.to_vec()))
    }

    fn compare_known(&mut self, address: u32, known: &[u8]) -> Result<(), chip::Error> {
        let mut found = vec![0; known.len()];
        self.chip.read(address, &mut found)?;
        if found != known {
            self.chip
                .never_suspend("it returns other bytes than are elsewhere on it while an erase is suspended");
        }
        Ok(())
    }
}
