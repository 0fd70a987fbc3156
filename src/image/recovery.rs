//! Finishing what an earlier process began: the journal on the one hand, the chip at hand on the other.
//!
//! The journal knows of files and records; this knows which bytes belong into them, and whether the chip is the one that they are about.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use super::SECTOR_LEN;
use super::cache::Trust;
use super::draft::Draft;
use super::error::Error;
use super::journal::{Fingerprint, Journal, Record};
use super::journal_thread::{Begun, JournalThread};
use super::state::State;
use crate::chip::Chip;

/// A chip without a unique id is recognised by this many sectors outside of what a record is about.
const FINGERPRINTS: usize = 8;

/// The journal of the chip in use, if there is one.
pub(super) struct Recovery {
    journal: Option<JournalThread>,
    /// The regions that may have a record, by address in bytes.
    recorded: BTreeSet<u32>,
}

impl Recovery {
    /// For a journal with these records in it.
    pub(super) fn new(journal: Option<Journal>, records: &[Record]) -> Result<Self, Error> {
        let recorded = records.iter().map(|record| record.region).collect();
        Ok(Self { journal: journal.map(JournalThread::start).transpose()?, recorded })
    }

    pub(super) fn is_active(&self) -> bool {
        self.journal.is_some()
    }

    /// Has what the drafts will make of the chip put on the host's disk. A draft is made from what the chip holds now, so it
    /// contains whatever an earlier attempt at its region has left undone, and its record takes the place of that one's.
    pub(super) fn begin(&mut self, drafts: Vec<Arc<Draft>>, fingerprints: Vec<Fingerprint>) -> Begun {
        let Some(journal) = &self.journal else {
            return Begun::AT_ONCE;
        };
        self.recorded.extend(drafts.iter().map(|draft| draft.range.start));
        journal.begin(drafts, fingerprints)
    }

    /// What the regions at these addresses should hold is on the chip.
    pub(super) fn finish(&mut self, regions: &[u32]) {
        let Some(journal) = &self.journal else {
            return;
        };
        let recorded: Vec<u32> =
            regions.iter().copied().filter(|region| self.recorded.remove(region)).collect();
        if !recorded.is_empty() {
            journal.finish(recorded);
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
pub(super) fn fingerprints(drafts: &[Arc<Draft>], state: &State) -> Vec<Fingerprint> {
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
