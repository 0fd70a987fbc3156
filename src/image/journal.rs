//! The journal: on the host's disk, what regions of the chip have to hold, from before the first erase until they do hold it.
//!
//! One file per chip: a header page, then slots of fixed length, each free or with one region's record. What [`Journal::begin`]
//! has returned for survives a power cut, and so does what [`Journal::retire`] has removed. Integers are little-endian.
//!
//! A record replaces the older one of its region, so there are at most as many as there are regions. The danger is the
//! opposite of a lost record: one that comes back after newer bytes are on the chip would put old ones over them. So a slot
//! of which it is not known that the disk has it as free is *doubtful*, and nothing else is begun or retired before it is.
//!
//! Not for what is to be done with a record: planning, replaying and comparing fingerprints are the caller's.

mod error;
mod examine;
mod file;
mod format;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

pub use error::Error;
pub use format::{ChipIdentity, Fingerprint, MAX_FINGERPRINTS, NewRecord, RecordedRange};

use examine::{Scan, examine};
use file::JournalFile;
use format::{ALONE, FREE, Layout, encode_begun, encode_header, encode_record};

/// An open journal. Nobody else can open it meanwhile.
#[derive(Debug)]
pub struct Journal {
    file: JournalFile,
    layout: Layout,
    /// By slot number.
    live: BTreeMap<u32, Live>,
    /// Slots that are to be free, but may hold a record on the disk.
    doubtful: BTreeSet<u32>,
    next_sequence: u64,
    /// The number of the last batch of several records.
    last_batch: u64,
}

#[derive(Debug, Clone, Copy)]
struct Live {
    sequence: u64,
    /// The region's address in bytes.
    region: u32,
}

/// A record in the journal, as [`Journal::begin`] and [`Journal::open`] name it. Names nothing once that is retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    number: u32,
    sequence: u64,
}

/// What one region has to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// To retire it by.
    pub slot: Slot,
    /// Higher in records that began later.
    pub sequence: u64,
    /// The region's address in bytes.
    pub region: u32,
    /// Bytes that are to be on the chip: ascending, apart from each other, within the region.
    pub ranges: Vec<RecordedRange>,
    /// What was elsewhere on the chip when the record began.
    pub fingerprints: Vec<Fingerprint>,
}

/// What [`Journal::open`] found.
#[derive(Debug)]
pub struct Opened {
    /// The journal; its records stay live until they are retired.
    pub journal: Journal,
    /// One per region at most, in the order in which they began.
    pub records: Vec<Record>,
    /// Records that were not wholly on the disk and have been dropped. What they were for had not begun.
    pub torn: usize,
}

impl Journal {
    /// Opens the journal of a chip in `directory`, creating either where missing, for regions of `region_len` bytes.
    ///
    /// # Errors
    /// [`Error::Locked`] when it is open already; [`Error::OtherVersion`], [`Error::OtherChip`] or [`Error::Damaged`] when the
    /// file is not this chip's to use but may hold what a chip lacks; else what the system refuses.
    pub fn open(directory: &Path, chip: &ChipIdentity, region_len: u32) -> Result<Opened, Error> {
        let layout = Layout::new(chip.size, region_len)?;
        let mut file = JournalFile::create(directory, &chip.file_name())?;
        let scan = match examine(&file, chip, layout)? {
            Some(scan) => scan,
            None => {
                file.replace(&encode_header(chip, layout))?;
                Scan::default()
            }
        };
        // What a killed process wrote can be read although it never reached the disk.
        file.sync_all()?;
        file.sync_directory()?;

        let mut records: Vec<Record> = scan.records.into_values().collect();
        records.sort_by_key(|record| record.sequence);
        let live = records
            .iter()
            .map(|record| (record.slot.number, Live { sequence: record.sequence, region: record.region }))
            .collect();
        let next_sequence = records.last().map_or(1, |record| record.sequence + 1);
        let last_batch = scan.begun;
        let torn = scan.torn.len();
        let doubtful = scan.torn.into_iter().chain(scan.superseded).collect();
        let mut journal = Self { file, layout, live, doubtful, next_sequence, last_batch };
        journal.clear_doubtful()?;
        Ok(Opened { journal, records, torn })
    }

    /// Opens the journal of a chip without a look at what is in it: every record is gone.
    ///
    /// # Errors
    /// [`Error::Locked`] when it is open already, else what the system refuses.
    pub fn open_discarding(directory: &Path, chip: &ChipIdentity, region_len: u32) -> Result<Self, Error> {
        let layout = Layout::new(chip.size, region_len)?;
        let mut file = JournalFile::create(directory, &chip.file_name())?;
        file.replace(&encode_header(chip, layout))?;
        file.sync_directory()?;
        Ok(Self {
            file,
            layout,
            live: BTreeMap::new(),
            doubtful: BTreeSet::new(),
            next_sequence: 1,
            last_batch: 0,
        })
    }

    /// Records what regions have to hold; one record per region. When it returns they survive a power cut, and the work on
    /// the chip may begin. Each replaces the older record of its region, so it must hold everything there that is to change.
    ///
    /// # Errors
    /// [`Error::Unrecordable`] when a record breaks the rules of [`NewRecord`], [`Error::Full`] when there are too many at
    /// once, else what the system refuses. Nothing has begun then, and the older records are still there.
    pub fn begin(&mut self, records: &[NewRecord<'_>]) -> Result<Vec<Slot>, Error> {
        let mut regions = BTreeSet::new();
        for record in records {
            let region = record.region(self.layout)?;
            if !regions.insert(region) {
                return Err(Error::Unrecordable { address: region, reason: "two records for one region" });
            }
        }
        self.clear_doubtful()?;
        let free: Vec<u32> = (0..self.layout.max_slots())
            .filter(|number| !self.live.contains_key(number))
            .take(records.len())
            .collect();
        if free.len() < records.len() {
            return Err(Error::Full { path: self.file.path().to_owned(), slots: self.layout.max_slots() });
        }

        self.doubtful.extend(&free);
        let slots = match self.write(records, &free) {
            Ok(slots) => slots,
            Err(error) => {
                // Else the next call does it, or fails.
                let _ = self.clear_doubtful();
                return Err(error);
            }
        };
        self.doubtful.clear();
        self.drop_live(|_, live| regions.contains(&live.region));
        for (slot, record) in slots.iter().zip(records) {
            let region = record.region(self.layout)?;
            self.live.insert(slot.number, Live { sequence: slot.sequence, region });
        }
        if let Err(error) = self.clear_doubtful() {
            // The new records stand, and until the next call succeeds it does no harm that the old ones do too.
            log::warn!("{}", crate::error_text(&error));
        }
        Ok(slots)
    }

    /// Removes records: the chip holds what they were for. A slot that is no longer live is passed over. When it returns they
    /// do not come back after a power cut.
    ///
    /// # Errors
    /// What the system refuses. The records are no longer live then, but may come back if norfuse ends before a later call
    /// succeeds.
    pub fn retire(&mut self, slots: &[Slot]) -> Result<(), Error> {
        self.clear_doubtful()?;
        self.drop_live(|number, live| slots.contains(&Slot { number, sequence: live.sequence }));
        self.clear_doubtful()?;
        if self.live.is_empty() {
            self.file.shrink(self.layout.kept_len())?;
        }
        Ok(())
    }

    /// Removes every record.
    ///
    /// # Errors
    /// As [`Journal::retire`].
    pub fn discard(&mut self) -> Result<(), Error> {
        let slots: Vec<Slot> =
            self.live.iter().map(|(&number, live)| Slot { number, sequence: live.sequence }).collect();
        self.retire(&slots)
    }

    /// How many records are live.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Whether no record is live.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The live record of the region at `region`, an address in bytes.
    pub fn live_in(&self, region: u32) -> Option<Slot> {
        let (&number, live) = self.live.iter().find(|(_, live)| live.region == region)?;
        Some(Slot { number, sequence: live.sequence })
    }

    /// Where the journal is.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Writes records into free slots. Several become valid together, by a number that is written when all are on the disk: a part of
    /// a batch must never be finished.
    fn write(&mut self, records: &[NewRecord<'_>], free: &[u32]) -> Result<Vec<Slot>, Error> {
        // Alternates between the two places of the number.
        let batch = if records.len() > 1 { self.last_batch + 1 } else { ALONE };
        let mut slots = Vec::with_capacity(records.len());
        for (record, &number) in records.iter().zip(free) {
            let sequence = self.next_sequence;
            self.next_sequence += 1;
            let bytes = encode_record(record, sequence, batch, self.layout)?;
            self.file.write_at(self.layout.slot_offset(number), &bytes)?;
            slots.push(Slot { number, sequence });
        }
        self.file.sync()?;
        if batch != ALONE {
            self.last_batch = batch;
            let (place, bytes) = encode_begun(batch);
            self.file.write_at(place, &bytes)?;
            self.file.sync()?;
        }
        Ok(slots)
    }

    /// Records that are no longer wanted become doubtful.
    fn drop_live(&mut self, mut is_unwanted: impl FnMut(u32, &Live) -> bool) {
        let doubtful = &mut self.doubtful;
        self.live.retain(|&number, live| {
            let unwanted = is_unwanted(number, live);
            if unwanted {
                doubtful.insert(number);
            }
            !unwanted
        });
    }

    fn clear_doubtful(&mut self) -> Result<(), Error> {
        if self.doubtful.is_empty() {
            return Ok(());
        }
        for &number in &self.doubtful {
            let offset = self.layout.slot_offset(number);
            if offset < self.file.len() {
                self.file.write_at(offset, &FREE)?;
            }
        }
        self.file.sync()?;
        self.doubtful.clear();
        Ok(())
    }
}

/// How many records of a chip wait in `directory`. Creates and changes nothing.
///
/// # Errors
/// As [`Journal::open`].
pub fn waiting(directory: &Path, chip: &ChipIdentity, region_len: u32) -> Result<usize, Error> {
    let layout = Layout::new(chip.size, region_len)?;
    let Some(file) = JournalFile::existing(directory, &chip.file_name())? else {
        return Ok(0);
    };
    Ok(examine(&file, chip, layout)?.map_or(0, |scan| scan.records.len()))
}
