//! Bytes that users have written and the chip does not hold yet, byte by byte, in front of the cache.

use std::collections::BTreeMap;
use std::ops::Range;

use super::SECTOR_LEN;

const LEN: usize = SECTOR_LEN as usize;

/// The sectors with pending bytes, by sector number.
#[derive(Default)]
pub(super) struct Pending {
    sectors: BTreeMap<u32, Sector>,
    generation: u64,
}

struct Sector {
    bytes: Box<[u8; LEN]>,
    /// Which bytes are pending: a bit each.
    mask: [u64; LEN / 64],
    /// Changes with every write into the sector, so that what was written during a commit is not taken for committed.
    generation: u64,
}

impl Pending {
    /// The memory that pending bytes take, in bytes of whole sectors.
    pub(super) fn held_len(&self) -> usize {
        self.sectors.len() * LEN
    }

    /// How many bytes are pending.
    pub(super) fn byte_count(&self) -> u64 {
        self.sectors.values().map(|sector| u64::from(sector.count())).sum()
    }

    pub(super) fn write(&mut self, address: u32, data: &[u8]) {
        self.generation += 1;
        let mut address = address;
        let mut rest = data;
        while !rest.is_empty() {
            let within = (address % SECTOR_LEN) as usize;
            let (piece, behind) = rest.split_at(rest.len().min(LEN - within));
            let sector = self.sectors.entry(address / SECTOR_LEN).or_insert_with(Sector::empty);
            sector.bytes[within..within + piece.len()].copy_from_slice(piece);
            sector.mark(within..within + piece.len());
            sector.generation = self.generation;
            address = (address - address % SECTOR_LEN).saturating_add(SECTOR_LEN);
            rest = behind;
        }
    }

    /// Puts the pending bytes of `range` over `bytes`, which is as long as `range`.
    pub(super) fn overlay(&self, range: Range<u32>, bytes: &mut [u8]) {
        let first = range.start / SECTOR_LEN;
        for (&number, sector) in self.sectors.range(first..range.end.div_ceil(SECTOR_LEN)) {
            let base = number * SECTOR_LEN;
            let from = range.start.max(base);
            let to = range.end.min(base + SECTOR_LEN);
            let target = &mut bytes[(from - range.start) as usize..(to - range.start) as usize];
            sector.overlay((from - base) as usize, target);
        }
    }

    /// Whether any byte of `range` may be pending.
    pub(super) fn touches(&self, range: Range<u32>) -> bool {
        let sectors = range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN);
        self.sectors.range(sectors).next().is_some()
    }

    /// Whether every byte of `range`, which lies within one sector, is pending.
    pub(super) fn covers(&self, range: Range<u32>) -> bool {
        let number = range.start / SECTOR_LEN;
        let base = number * SECTOR_LEN;
        self.sectors
            .get(&number)
            .is_some_and(|sector| sector.covers((range.start - base) as usize..(range.end - base) as usize))
    }

    /// The numbers and generations of the sectors of `range` that have pending bytes.
    pub(super) fn sectors_in(&self, range: Range<u32>) -> impl Iterator<Item = (u32, u64)> {
        self.sectors
            .range(range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN))
            .map(|(&number, sector)| (number, sector.generation))
    }

    /// Makes a whole sector pending: bytes that are not get the value from `bytes`.
    pub(super) fn complete(&mut self, number: u32, bytes: &[u8]) {
        let sector = self.sectors.entry(number).or_insert_with(Sector::empty);
        let mut merged = [0; LEN];
        merged.copy_from_slice(bytes);
        sector.overlay(0, &mut merged);
        *sector.bytes = merged;
        sector.mask = [u64::MAX; LEN / 64];
    }

    /// The generation of a sector, if it has pending bytes.
    pub(super) fn generation(&self, number: u32) -> Option<u64> {
        self.sectors.get(&number).map(|sector| sector.generation)
    }

    /// Drops a sector that is on the chip, unless it has been written into since it had `generation`.
    pub(super) fn retire(&mut self, number: u32, generation: u64) {
        if self.generation(number) == Some(generation) {
            self.sectors.remove(&number);
        }
    }
}

impl Sector {
    fn empty() -> Self {
        Self { bytes: Box::new([0; LEN]), mask: [0; LEN / 64], generation: 0 }
    }

    fn count(&self) -> u32 {
        self.mask.iter().map(|word| word.count_ones()).sum()
    }

    fn mark(&mut self, range: Range<usize>) {
        for (word, bits) in words(range) {
            self.mask[word] |= bits;
        }
    }

    fn covers(&self, range: Range<usize>) -> bool {
        words(range).all(|(word, bits)| self.mask[word] & bits == bits)
    }

    /// Puts the pending bytes from offset `from` on over `target`.
    fn overlay(&self, from: usize, target: &mut [u8]) {
        let range = from..from + target.len();
        for (word, bits) in words(range.clone()) {
            let set = self.mask[word] & bits;
            let start = (64 * word).max(range.start);
            let end = (64 * (word + 1)).min(range.end);
            if set == bits {
                target[start - from..end - from].copy_from_slice(&self.bytes[start..end]);
            } else if set != 0 {
                for offset in start..end {
                    if set >> (offset % 64) & 1 == 1 {
                        target[offset - from] = self.bytes[offset];
                    }
                }
            }
        }
    }
}

/// The words of a mask that `range` touches, with the bits that it touches in each.
fn words(range: Range<usize>) -> impl Iterator<Item = (usize, u64)> {
    (range.start / 64..range.end.div_ceil(64)).map(move |word| {
        let from = range.start.max(64 * word) - 64 * word;
        let to = range.end.min(64 * (word + 1)) - 64 * word;
        let below_end = if to == 64 { u64::MAX } else { (1 << to) - 1 };
        (word, below_end & (u64::MAX << from))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn a_write_across_sectors_reads_back_over_what_was_there() {
        let mut pending = Pending::default();
        pending.write(SECTOR_LEN - 2, &[1, 2, 3]);
        let mut bytes = [9; 5];
        pending.overlay(SECTOR_LEN - 3..SECTOR_LEN + 2, &mut bytes);
        assert_eq!(bytes, [9, 1, 2, 3, 9]);
        assert_eq!(pending.byte_count(), 3);
    }

    #[test]
    fn a_sector_written_into_during_a_commit_is_not_retired() {
        let mut pending = Pending::default();
        pending.write(0, &[1]);
        let generation = pending.generation(0).unwrap();
        pending.write(1, &[2]);
        pending.retire(0, generation);
        assert_eq!(pending.byte_count(), 2);
        pending.retire(0, pending.generation(0).unwrap());
        assert_eq!(pending.byte_count(), 0);
    }

    #[test]
    fn completing_a_sector_keeps_what_was_written_into_it() {
        let mut pending = Pending::default();
        pending.write(10, &[1, 2]);
        pending.complete(0, &[7; LEN]);
        let mut bytes = [0; 4];
        pending.overlay(9..13, &mut bytes);
        assert_eq!(bytes, [7, 1, 2, 7]);
        assert!(pending.covers(0..SECTOR_LEN));
    }

    proptest! {
        #[test]
        fn any_writes_overlay_like_a_plain_array(
            writes in proptest::collection::vec((0..3 * SECTOR_LEN - 600, 1..600usize, any::<u8>()), 1..30),
            from in 0..3 * SECTOR_LEN,
            len in 0..3 * SECTOR_LEN,
        ) {
            let mut pending = Pending::default();
            let mut plain: Vec<Option<u8>> = vec![None; 3 * LEN];
            for (address, len, value) in writes {
                pending.write(address, &vec![value; len]);
                plain[address as usize..address as usize + len].fill(Some(value));
            }
            let range = from..(from + len).min(3 * SECTOR_LEN);
            let mut bytes = vec![0xEE; range.len()];
            pending.overlay(range.clone(), &mut bytes);
            let expected: Vec<u8> =
                plain[range.start as usize..range.end as usize].iter().map(|byte| byte.unwrap_or(0xEE)).collect();
            assert_eq!(bytes, expected);
            assert_eq!(pending.byte_count(), plain.iter().flatten().count() as u64);
        }
    }
}
