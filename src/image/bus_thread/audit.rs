//! Looking for damage elsewhere after an operation that did not do its work where it should have.
//!
//! One flipped bit in the address of an erase or program sends it to another place, and nothing on the chip tells of that. But its
//! own place then does not read back; so the places that a single flipped bit leads to are compared with what is known of them, and
//! put right. What has never been read cannot be compared: its owner is warned.

use std::collections::BTreeSet;
use std::ops::Range;

use super::BusThread;
use crate::image::SECTOR_LEN;
use crate::image::cache::Trust;
use crate::image::draft::{Draft, sectors_of};
use crate::image::error::Error;
use crate::image::plan::Operation;

impl BusThread {
    /// Examines the places to which the draft's operations on the bytes at `failed`, ascending, may have gone instead.
    pub(super) fn audit(&mut self, draft: &Draft, failed: &[u32]) -> Result<(), Error> {
        let size = self.chip.part().size;
        let page_len = self.chip.part().page_len;
        let mut suspects = BTreeSet::new();
        for operation in &draft.plan.operations {
            let (Operation::Erase { address, len } | Operation::Program { address, len }) = *operation;
            if contains_any(failed, &(address..address + len)) {
                let unit = if matches!(operation, Operation::Erase { .. }) { len } else { page_len };
                suspects.extend(misdirected(address, unit, size).flat_map(sectors_of));
            }
        }
        let mut unknown = Vec::new();
        for sector in suspects {
            if !self.examine(draft, sector)? {
                unknown.push(sector);
            }
        }
        if let Some(first) = unknown.first() {
            log::warn!(
                "if a command has gone astray, it may have changed one of {} sectors that had not been read before, such as {:#08x}",
                unknown.len(),
                first * SECTOR_LEN
            );
        }
        Ok(())
    }

    /// Has what is known of a sector put right if it is not so any more; false if nothing is known of it.
    fn examine(&mut self, draft: &Draft, sector: u32) -> Result<bool, Error> {
        let range = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
        let mut state = self.shared.state.lock();
        if draft.range.contains(&range.start) {
            // The next draft of this region reads it again and puts it right; it only has to know what should be there.
            if draft.is_known(sector) {
                state.cache.forget(sector);
                state.pending.complete(sector, draft.wanted(&range));
            }
            return Ok(true);
        }
        if state.pending.covers(range.clone()) {
            // It is written anyway, but what is there now decides how.
            state.cache.forget(sector);
            return Ok(true);
        }
        if state.cache.trust(sector) == Trust::Unknown {
            return Ok(false);
        }
        let known = state.cache.bytes(range.clone()).to_vec();
        drop(state);
        let mut found = vec![0; known.len()];
        self.read_once(range.start, &mut found)?;
        if found != known {
            self.note_mismatch(range.start);
            found = self.read_by_majority(sector, vec![known.clone(), found])?;
        }
        if found != known {
            log::error!("{:#08x} was changed by a command gone astray, and is being put right", range.start);
            let mut state = self.shared.state.lock();
            state.cache.fill(range.start, &found, Trust::Verified);
            state.pending.complete(sector, &known);
        }
        Ok(true)
    }
}

/// The units that `address` with one bit flipped lies in, its own among them.
fn misdirected(address: u32, unit: u32, size: u32) -> impl Iterator<Item = Range<u32>> {
    // Bits above the chip's size are not looked at.
    (0..size.ilog2())
        .map(move |bit| address ^ 1 << bit)
        .filter(move |&other| other < size)
        .map(move |other| other / unit * unit..(other / unit + 1) * unit)
}

fn contains_any(addresses: &[u32], range: &Range<u32>) -> bool {
    let index = addresses.partition_point(|&address| address < range.start);
    addresses.get(index).is_some_and(|&address| address < range.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_address_bit_leads_to_every_unit_that_it_can() {
        let units: BTreeSet<u32> = misdirected(0x1_2000, 4096, 16 << 20).map(|unit| unit.start).collect();
        // The twelve bits below a sector stay in it.
        assert_eq!(units.len(), 13);
        assert!(units.contains(&0x1_3000) && units.contains(&0x81_2000) && units.contains(&0x1_2000));
        assert!(misdirected(0x1_2000, 4096, 1 << 20).all(|unit| unit.end <= 1 << 20));
    }

    #[test]
    fn a_failed_byte_is_found_within_an_operation() {
        assert!(contains_any(&[5, 300], &(256..512)));
        assert!(!contains_any(&[5, 512], &(256..512)));
    }
}
