//! Reading again, while the bus is idle, what has been read only once.
//!
//! A single flipped bit in a firmware image looks like firmware. Copying twice and comparing would not show it, because the second
//! copy comes from the cache; so the cache is compared with the chip instead, one transfer at a time and behind everybody else.

use std::ops::Range;

use super::BusThread;
use super::reading::differing_sectors;
use crate::image::SECTOR_LEN;
use crate::image::cache::Trust;

impl BusThread {
    pub(super) fn scrub(&mut self, range: Range<u32>) {
        self.scrub.go_on_from(range.end / SECTOR_LEN);
        let mut again = vec![0; range.len()];
        let (result, traffic) = self.read_apart(range.start, &mut again);
        let mut state = self.shared.state.lock();
        state.counts.scrub.add(traffic);
        if result.is_err() {
            // Whoever asks for these bytes is told; nobody has.
            self.scrub.rest();
            return;
        }
        let doubtful = differing_sectors(range.start, state.cache.bytes(range.clone()), &again);
        for sector in range.start / SECTOR_LEN..range.end / SECTOR_LEN {
            if !doubtful.contains(&sector) {
                state.cache.verify(sector);
            }
        }
        drop(state);
        for sector in doubtful {
            let offset = (sector * SECTOR_LEN - range.start) as usize;
            self.settle(sector, again[offset..offset + SECTOR_LEN as usize].to_vec());
        }
    }

    /// Decides by majority what a sector holds whose cached bytes are not those that it has just read as, and corrects the cache
    /// and the kernel's copies.
    fn settle(&mut self, sector: u32, again: Vec<u8>) {
        let address = sector * SECTOR_LEN;
        let range = address..address + SECTOR_LEN;
        let cached = self.shared.state.lock().cache.bytes(range.clone()).to_vec();
        self.note_mismatch(address);
        let agreed = match self.read_by_majority(sector, vec![cached.clone(), again]) {
            Ok(agreed) => agreed,
            Err(error) => {
                log::error!("{}", crate::error_text(&error));
                self.shared.state.lock().cache.forget(sector);
                return;
            }
        };
        let mut state = self.shared.state.lock();
        state.cache.fill(address, &agreed, Trust::Verified);
        drop(state);
        if agreed != cached {
            log::warn!("the sector at {address:#08x} had been read wrongly, and is corrected");
            if let Some(corrected) = &*self.shared.on_correction.lock() {
                corrected(range);
            }
        }
    }
}
