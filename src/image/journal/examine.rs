//! What is in a journal's file, whoever wrote it.

use std::collections::BTreeMap;

use super::Record;
use super::error::Error;
use super::file::JournalFile;
use super::format::{
    BEGUN_LEN, ChipIdentity, FREE, Header, Layout, PAGE_LEN, RECORD_HEADER_LEN, begun_places, decode_begun,
    decode_header, decode_record, encode_header, record_len,
};

/// The slots of a file that are not free.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// The last batch of several records that has begun.
    pub(super) begun: u64,
    /// The latest record of each region, by the region's address: no more bytes than the chip has.
    pub(super) records: BTreeMap<u32, Record>,
    /// Slots whose record a later one of the same region has replaced.
    pub(super) superseded: Vec<u32>,
    /// Slots with something that is not a record, or not all of one.
    pub(super) torn: Vec<u32>,
}

/// What the file holds for `chip`. None if it is not a journal of that chip, and nothing is lost by making it one.
pub(super) fn examine(
    file: &JournalFile,
    chip: &ChipIdentity,
    layout: Layout,
) -> Result<Option<Scan>, Error> {
    let page = file.read_at(0, PAGE_LEN as usize)?;
    let path = || file.path().to_owned();
    match decode_header(&page) {
        Header::Layout(_) if page == encode_header(chip, layout) => scan(file, layout).map(Some),
        Header::Layout(other) => match scan(file, other)?.records.len() {
            0 => Ok(None),
            records => Err(Error::OtherChip { path: path(), records }),
        },
        Header::OtherVersion(version) => Err(Error::OtherVersion { path: path(), version }),
        // The header is on the disk before any record is; so this is a beginning cut short, unless there are records.
        Header::Unreadable => match scan(file, layout)?.records.len() {
            0 => Ok(None),
            records => Err(Error::Damaged { path: path(), records }),
        },
    }
}

fn scan(file: &JournalFile, layout: Layout) -> Result<Scan, Error> {
    let mut scan = Scan { begun: last_begun(file)?, ..Scan::default() };
    for number in 0..layout.max_slots() {
        let offset = layout.slot_offset(number);
        let header = file.read_at(offset, RECORD_HEADER_LEN)?;
        if header.iter().take(FREE.len()).all(|&byte| byte == 0) {
            continue;
        }
        let record = match record_len(&header, layout) {
            Some(len) => decode_record(&file.read_at(offset, len)?, number, scan.begun, layout),
            None => None,
        };
        match record {
            Some(record) => scan.add(record),
            None => scan.torn.push(number),
        }
    }
    Ok(scan)
}

fn last_begun(file: &JournalFile) -> Result<u64, Error> {
    let mut begun = 0;
    for place in begun_places() {
        begun = begun.max(decode_begun(&file.read_at(place, BEGUN_LEN)?).unwrap_or(0));
    }
    Ok(begun)
}

impl Scan {
    fn add(&mut self, record: Record) {
        let older = match self.records.get(&record.region) {
            Some(known) if known.sequence > record.sequence => Some(record),
            _ => self.records.insert(record.region, record),
        };
        self.superseded.extend(older.map(|older| older.slot.number));
    }
}
