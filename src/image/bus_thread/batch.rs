//! Batches of regions: while the chip is busy with the end of one, the next is planned, and its records reach the host's disk.
//!
//! Nothing is done to a region before its record is on the disk, and to no region of a batch before the records of the one before are gone:
//! they name bytes elsewhere on the chip by which it is recognised.

use std::collections::VecDeque;
use std::sync::Arc;

use super::BusThread;
use crate::image::SECTOR_LEN;
use crate::image::draft::{Draft, sectors_of};
use crate::image::error::Error;
use crate::image::journal_thread::Begun;

/// With so many regions of a batch left, the next is prepared: by then writers have filled most of the room that the others left.
const LEFT_WHEN_PREPARING: usize = 2;

/// Regions whose records are written in one go.
pub(super) struct Batch {
    planned: VecDeque<Planned>,
    begun: Result<Begun, Error>,
}

/// A region that is about to be committed.
struct Planned {
    region: u32,
    sequence: u64,
    draft: Arc<Draft>,
}

impl BusThread {
    /// Commits what is pending in `regions`, and goes on as long as there is more that is complete or asked for.
    pub(super) fn commit(&mut self, regions: &[u32]) {
        self.counted_until = self.chip.now();
        let mut next = Some(self.prepare(regions));
        while let Some(batch) = next {
            next = self.commit_batch(batch);
        }
    }

    /// Plans `regions` and has their records written. What is there already is committed with that.
    fn prepare(&mut self, regions: &[u32]) -> Batch {
        let mut planned = VecDeque::new();
        for &region in regions {
            let sequence = self.shared.state.lock().next_sequence();
            match self.draft(region) {
                Ok(draft) if draft.plan.is_empty() => {
                    self.retire(&draft);
                    // An older record names other bytes; they must not come back once somebody has been told that these are there.
                    self.recovery.finish(&[draft.range.start]);
                    self.finish(region, sequence, &Ok(()));
                }
                Ok(draft) => planned.push_back(Planned { region, sequence, draft: Arc::new(draft) }),
                Err(error) => self.finish(region, sequence, &Err(error)),
            }
        }
        let begun = self.begin(planned.iter().map(|planned| Arc::clone(&planned.draft)).collect());
        Batch { planned, begun }
    }

    /// Carries a batch out and tells everybody who waits for it; returns the next, which has been prepared meanwhile.
    fn commit_batch(&mut self, batch: Batch) -> Option<Batch> {
        let Batch { mut planned, begun } = batch;
        let begun = begun.and_then(Begun::wait);
        let mut committed = Vec::new();
        let mut next = None;
        while let Some(Planned { region, sequence, draft }) = planned.pop_front() {
            if next.is_none() && planned.len() < LEFT_WHEN_PREPARING && begun.is_ok() {
                let busy: Vec<u32> =
                    std::iter::once(region).chain(planned.iter().map(|planned| planned.region)).collect();
                next = self.prepare_other_than(&busy);
            }
            let address = draft.range.start;
            let result = begun.clone().and_then(|()| self.carry_out(region, draft));
            if result.is_ok() {
                committed.push(address);
            }
            self.finish(region, sequence, &result);
        }
        self.recovery.finish(&committed);
        next
    }

    fn prepare_other_than(&mut self, busy: &[u32]) -> Option<Batch> {
        let regions = self.shared.state.lock().next_urgent_commit(busy);
        (!regions.is_empty()).then(|| self.prepare(&regions))
    }

    /// Whether the chip may not hold any more what a draft was made from: a command gone astray may have changed it.
    pub(super) fn is_outdated(&self, draft: &Draft) -> bool {
        let state = self.shared.state.lock();
        sectors_of(draft.range.clone()).filter(|&sector| draft.is_known(sector)).any(|sector| {
            let range = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
            !state.cache.is_cached(sector) || state.cache.bytes(range.clone()) != draft.current(&range)
        })
    }
}
