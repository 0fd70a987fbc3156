//! The chip's bytes as last read or verified, in whole sectors.

use std::ops::Range;

use super::SECTOR_LEN;

pub(super) struct Cache {
    /// As long as the chip; the system backs a page with memory when it is first filled.
    bytes: Vec<u8>,
    cached: Vec<bool>,
    cached_count: usize,
}

impl Cache {
    pub(super) fn new(size: u32) -> Self {
        let sectors = (size / SECTOR_LEN) as usize;
        Self { bytes: vec![0; size as usize], cached: vec![false; sectors], cached_count: 0 }
    }

    pub(super) fn size(&self) -> u32 {
        u32::try_from(self.bytes.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn cached_count(&self) -> usize {
        self.cached_count
    }

    pub(super) fn is_cached(&self, sector: u32) -> bool {
        self.cached.get(sector as usize).copied().unwrap_or(false)
    }

    /// The bytes of `range`, meaningful where their sectors are cached.
    pub(super) fn bytes(&self, range: Range<u32>) -> &[u8] {
        &self.bytes[range.start as usize..range.end as usize]
    }

    /// Takes over whole sectors from the sector-aligned `address` on.
    pub(super) fn fill(&mut self, address: u32, bytes: &[u8]) {
        let start = address as usize;
        self.bytes[start..start + bytes.len()].copy_from_slice(bytes);
        let first = start / SECTOR_LEN as usize;
        for cached in &mut self.cached[first..first + bytes.len() / SECTOR_LEN as usize] {
            self.cached_count += usize::from(!*cached);
            *cached = true;
        }
    }

    pub(super) fn forget(&mut self, sector: u32) {
        if let Some(cached) = self.cached.get_mut(sector as usize) {
            self.cached_count -= usize::from(*cached);
            *cached = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_filled_is_cached_until_forgotten() {
        let mut cache = Cache::new(4 * SECTOR_LEN);
        cache.fill(SECTOR_LEN, &[7; 2 * SECTOR_LEN as usize]);
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
}
