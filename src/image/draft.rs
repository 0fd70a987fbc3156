//! What a commit will do to one region, and from what it knows that.

use std::ops::Range;

use super::SECTOR_LEN;
use super::plan::{Operation, Plan};

/// A region as the chip holds it and as it should be, and the way from the one to the other.
pub(super) struct Draft {
    /// The region's addresses.
    pub(super) range: Range<u32>,
    pub(super) current: Vec<u8>,
    pub(super) wanted: Vec<u8>,
    pub(super) plan: Plan,
    /// Which sectors of the region have been read.
    pub(super) known: Vec<bool>,
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

/// The numbers of the sectors that `range` touches.
pub(super) fn sectors_of(range: Range<u32>) -> Range<u32> {
    range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN)
}
