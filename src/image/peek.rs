//! For those who search the chip rather than use it: single reads out of order, and what is cached already.

use std::ops::Range;

use super::state::Read;
use super::{Error, Image, ReadDone, SECTOR_LEN};

/// A run of cached sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Where it begins on the chip.
    pub address: u32,
    /// What it held when it was last read or written.
    pub bytes: Vec<u8>,
}

impl Image {
    /// Reads as [`read`](Self::read) does, for somebody who will not go on behind `range`: nothing is read ahead.
    ///
    /// # Errors
    /// `done` is told [`Error::Read`] when the chip cannot be read.
    pub fn peek(&self, range: Range<u32>, done: ReadDone) {
        let mut state = self.shared.state.lock();
        if state.first_missing(range.clone(), SECTOR_LEN).is_none() {
            state.answer(range, done);
        } else if state.stopping {
            done(Err(Error::Stopped));
        } else {
            state.reads.push_back(Read { range, done });
            self.shared.work.notify_one();
        }
    }

    /// The moment, for [`cached_since`](Self::cached_since): it moves on when something gets into the cache.
    pub fn cache_moment(&self) -> u64 {
        self.shared.state.lock().cache.moment()
    }

    /// Copies what is cached of the whole sectors of `range`, if any of it has got into the cache after `moment`; else nothing.
    /// Everybody else waits meanwhile, so `range` should be short.
    pub fn cached_since(&self, range: Range<u32>, moment: u64) -> Vec<Cached> {
        let state = self.shared.state.lock();
        let sectors = range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN);
        if !sectors.clone().any(|sector| state.cache.is_newer(sector, moment)) {
            return Vec::new();
        }
        let mut runs: Vec<Cached> = Vec::new();
        let mut next = None;
        for sector in sectors.filter(|&sector| state.cache.is_cached(sector)) {
            let address = sector * SECTOR_LEN;
            if next != Some(sector) {
                runs.push(Cached { address, bytes: Vec::new() });
            }
            if let Some(run) = runs.last_mut() {
                run.bytes.extend_from_slice(state.cache.bytes(address..address + SECTOR_LEN));
            }
            next = Some(sector + 1);
        }
        runs
    }
}
