//! Finishing what an earlier process began: the journal on the one hand, the chip at hand on the other.
//!
//! The journal knows of files and records; this knows which bytes belong into them, and whether the chip is the one that they are about.

use std::ops::Range;
use std::sync::Arc;

use super::SECTOR_LEN;
use super::cache::Trust;
use super::draft::Draft;
use super::error::Error;
use super::journal::{Fingerprint, Journal, NewRecord, Record, Slot};
use super::state::State;
use crate::chip::Chip;

/// A chip without a unique id is recognised by this many sectors outside of what a record is about.
const FINGERPRINTS: usize = 8;

/// The journal of the chip in use, if there is one.
pub(super) struct Recovery {
    journal: Option<Journal>,
}

impl Recovery {
    pub(super) fn new(journal: Option<Journal>) -> Self {
        Self { journal }
    }

    pub(super) fn is_active(&self) -> bool {
        self.journal.is_some()
    }

    /// Puts on the host's disk what the drafts will make of the chip. A draft is made from what the chip holds now, so it contains
    /// whatever an earlier attempt at its region has left undone, and its record takes the place of that one's.
    pub(super) fn begin(&mut self, drafts: &[&Draft], fingerprints: &[Fingerprint]) -> Result<(), Error> {
        let Some(journal) = &mut self.journal else {
            return Ok(());
        };
        let records: Vec<NewRecord<'_>> = drafts
            .iter()
            .map(|draft| NewRecord {
                ranges: draft
                    .touched_ranges()
                    .into_iter()
                    .map(|range| (range.start, draft.wanted(&range)))
                    .collect(),
                fingerprints: fingerprints.to_vec(),
            })
            .collect();
        journal.begin(&records).map(drop).map_err(|source| Error::Journal { source: Arc::new(source) })
    }

    /// What the regions at these addresses should hold is on the chip.
    pub(super) fn finish(&mut self, regions: &[u32]) {
        let Some(journal) = &mut self.journal else {
            return;
        };
        let slots: Vec<Slot> = regions.iter().filter_map(|&region| journal.live_in(region)).collect();
        if slots.is_empty() {
            return;
        }
        if let Err(error) = journal.retire(&slots) {
            // The next mount will find nothing to do for them.
            log::warn!("{}", crate::error_text(&error));
        }
    }
}

/// Makes sure that the records are about this chip. One with a unique id is the one that the journal was opened for; any other
/// must hold what it held when the records were made, outside of what they are about.
pub(super) fn recognise(chip: &mut Chip, records: &[Record]) -> Result<(), Error> {
    if chip.unique_id().is_some() {
        return Ok(());
    }
    for record in records {
        for fingerprint in &record.fingerprints {
            let mut bytes = vec![0; fingerprint.len as usize];
            chip.read(fingerprint.address, &mut bytes).map_err(|source| Error::Read {
                address: fingerprint.address,
                len: bytes.len(),
                source: Arc::new(source),
            })?;
            if !fingerprint.matches(&bytes) {
                return Err(Error::Unrecognised);
            }
        }
        if record.fingerprints.is_empty() {
            return Err(Error::Unrecognised);
        }
    }
    Ok(())
}

/// Sectors that the drafts leave alone and that tell one chip from another.
pub(super) fn fingerprints(drafts: &[&Draft], state: &State) -> Vec<Fingerprint> {
    let is_untouched = |range: &Range<u32>| {
        !state.pending.touches(range.clone()) && drafts.iter().all(|draft| !overlap(&draft.range, range))
    };
    (0..state.cache.size() / SECTOR_LEN)
        .filter(|&sector| state.cache.trust(sector) != Trust::Unknown)
        .map(|sector| sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN)
        .filter(is_untouched)
        .filter(|range| is_varied(state.cache.bytes(range.clone())))
        .take(FINGERPRINTS)
        .filter_map(|range| Fingerprint::of(range.start, state.cache.bytes(range)))
        .collect()
}

fn overlap(one: &Range<u32>, other: &Range<u32>) -> bool {
    one.start < other.end && other.start < one.end
}

/// Whether bytes are not all the same: a blank sector is like that of any other chip.
fn is_varied(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair[0] != pair[1])
}
