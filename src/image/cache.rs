//! The chip's bytes as last read or verified, in whole sectors.

use std::ops::Range;

use super::SECTOR_LEN;

/// How much is known of a sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// Nothing: it is not cached.
    Unknown,
    /// It has been read once.
    ReadOnce,
    /// Several readings agreed, or it read back as it was written.
    Verified,
}

pub(super) struct Cache {
    /// As long as the chip; the system backs a page with memory when it is first filled.
    bytes: Vec<u8>,
    trust: Vec<Trust>,
    /// When each sector was last filled, counted in fills.
    filled: Vec<u64>,
    fills: u64,
    /// Sectors that are not [`Trust::Unknown`].
    cached_count: usize,
    verified_count: usize,
}

impl Cache {
    pub(super) fn new(size: u32) -> Self {
        let sectors = (size / SECTOR_LEN) as usize;
        let trust = vec![Trust::Unknown; sectors];
        Self {
            bytes: vec![0; size as usize],
            trust,
            filled: vec![0; sectors],
            fills: 0,
            cached_count: 0,
            verified_count: 0,
        }
    }

    pub(super) fn size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn cached_count(&self) -> usize {
        self.cached_count
    }

    pub(super) fn verified_count(&self) -> usize {
        self.verified_count
    }

    pub(super) fn trust(&self, sector: u32) -> Trust {
        self.trust.get(sector as usize).copied().unwrap_or(Trust::Unknown)
    }

    pub(super) fn is_cached(&self, sector: u32) -> bool {
        self.trust(sector) != Trust::Unknown
    }

    /// How often it has been filled.
    pub(super) fn moment(&self) -> u64 {
        self.fills
    }

    /// Whether a sector is cached and has been filled after `moment`.
    pub(super) fn is_newer(&self, sector: u32, moment: u64) -> bool {
        self.is_cached(sector) && self.filled[sector as usize] > moment
    }

    /// The first sector from `from` on, around the end of the chip if need be, that has been read only once.
    pub(super) fn next_read_once(&self, from: u32) -> Option<u32> {
        if self.cached_count == self.verified_count {
            return None;
        }
        let (before, behind) = self.trust.split_at((from as usize).min(self.trust.len()));
        let is_read_once = |trust: &Trust| *trust == Trust::ReadOnce;
        let index = match behind.iter().position(is_read_once) {
            Some(index) => before.len() + index,
            None => before.iter().position(is_read_once)?,
        };
        u32::try_from(index).ok()
    }

    /// The bytes of `range`, meaningful where their sectors are cached.
    pub(super) fn bytes(&self, range: Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    /// Takes over whole sectors from the sector-aligned `address` on.
    pub(super) fn fill(&mut self, address: u32, bytes: &[u8], trust: Trust) {
        let start = address as usize;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        let first = start / SECTOR_LEN as usize;
        self.fills += 1;
        for index in first..first + bytes.len() / SECTOR_LEN as usize {
            self.set_trust(index, trust);
            self.filled[index] = self.fills;
        }
    }

    /// What is cached of a sector has read the same again.
    pub(super) fn verify(&mut self, sector: u32) {
        if self.is_cached(sector) {
            self.set_trust(sector as usize, Trust::Verified);
        }
    }

    pub(super) fn forget(&mut self, sector: u32) {
        self.set_trust(sector as usize, Trust::Unknown);
    }

    fn set_trust(&mut self, index: usize, trust: Trust) {
        if let Some(present) = self.trust.get_mut(index) {
            self.cached_count -= usize::from(*present != Trust::Unknown);
            self.verified_count -= usize::from(*present == Trust::Verified);
            *present = trust;
            self.cached_count += usize::from(trust != Trust::Unknown);
            self.verified_count += usize::from(trust == Trust::Verified);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_is_cached_until_forgotten() {
        let mut cache = Cache::new(4 * SECTOR_LEN);
        cache.fill(SECTOR_LEN, &[7; 2 * SECTOR_LEN as usize], Trust::ReadOnce);
        assert_eq!(
            (0..4).map(|sector| cache.is_cached(sector)).collect::<Vec<_>>(),
            [false, true, true, false]
        );
        assert_eq!(cache.bytes(SECTOR_LEN + 1..SECTOR_LEN + 3), [7, 7]);
        cache.forget(1);
        cache.forget(1);
        assert_eq!(cache.cached_count(), 1);
        assert!(!cache.is_cached(1));
    }

    #[test]
    fn what_is_filled_again_is_newer_and_what_is_forgotten_is_not() {
        let mut cache = Cache::new(4 * SECTOR_LEN);
        cache.fill(SECTOR_LEN, &[7; 2 * SECTOR_LEN as usize], Trust::ReadOnce);
        let newer =
            |cache: &Cache, moment| (0..5).map(|sector| cache.is_newer(sector, moment)).collect::<Vec<_>>();
        assert_eq!(newer(&cache, 0), [false, true, true, false, false]);
        let moment = cache.moment();
        assert_eq!(newer(&cache, moment), [false; 5]);
        cache.fill(SECTOR_LEN, &[8; SECTOR_LEN as usize], Trust::ReadOnce);
        assert_eq!(newer(&cache, moment), [false, true, false, false, false]);
        cache.forget(1);
        assert_eq!(newer(&cache, moment), [false; 5]);
    }

    #[test]
    fn sectors_that_were_read_once_are_found_in_turn_until_verified() {
        let mut cache = Cache::new(4 * SECTOR_LEN);
        cache.fill(0, &[7; 4 * SECTOR_LEN as usize], Trust::ReadOnce);
        cache.verify(2);
        assert_eq!(cache.next_read_once(2), Some(3));
        cache.verify(3);
        assert_eq!(cache.next_read_once(2), Some(0));
        cache.verify(0);
        cache.verify(1);
        assert_eq!(cache.next_read_once(0), None);
        assert_eq!(cache.verified_count(), 4);
    }
}
