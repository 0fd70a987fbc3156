//! What the bytes of a journal mean. Whatever is read is checked against the chip's geometry before anybody sees it.

use std::fmt::Write as _;

use super::error::Error;
use super::{Record, Slot};
use crate::chip::part::{JedecId, LARGEST_SIZE};

/// The length of the header, and what slots are a multiple of, in bytes.
pub(super) const PAGE_LEN: u32 = 4096;

/// What a slot without a record begins with.
pub(super) const FREE: [u8; 8] = [0; 8];

/// Fingerprints in one record, at most.
pub const MAX_FINGERPRINTS: usize = 64;

/// Slots that an empty journal keeps, and that there are beyond one for each region: a batch is written before those whose
/// regions it overlaps are removed.
const SPARE_SLOTS: u32 = 32;

const FILE_MAGIC: [u8; 8] = *b"norfuse\n";
const RECORD_MAGIC: [u8; 8] = *b"norf-rec";
const VERSION: u32 = 1;

/// Magic, sequence, number of ranges, number of fingerprints, length of the data, batch, checksum.
pub(super) const RECORD_HEADER_LEN: usize = 40;
const BATCH_AT: usize = 28;
const CHECKSUM_AT: usize = RECORD_HEADER_LEN - 4;
/// Address and length.
const RANGE_LEN: usize = 8;
/// Address, length and checksum.
const FINGERPRINT_LEN: usize = 12;

/// The batch of a record that is alone in it: that it is whole says that it has begun.
pub(super) const ALONE: u64 = 0;

/// Where the number of the last batch that has begun is kept, twice, so that one is whole while the other is written.
const BEGUN_AT: [u64; 2] = [PAGE_LEN as u64, PAGE_LEN as u64 + 2048];

/// The number and its checksum.
pub(super) const BEGUN_LEN: usize = 12;

/// No journal comes this far, and so the next number always exists.
const LAST_SEQUENCE: u64 = u64::MAX / 2;

/// Which chip a journal is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChipIdentity {
    /// Manufacturer, type, capacity.
    pub jedec_id: JedecId,
    /// What only this chip answers; None where it has no such id. Chips of one type without one share a journal.
    pub unique_id: Option<Vec<u8>>,
    /// Capacity in bytes.
    pub size: u32,
}

impl ChipIdentity {
    /// The name of the chip's journal.
    pub(super) fn file_name(&self) -> String {
        let mut name = self.jedec_id.to_string();
        for (index, byte) in self.unique_id.iter().flatten().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(name, "{}{byte:02x}", if index == 0 { "-" } else { "" });
        }
        name + ".journal"
    }
}

/// Some bytes of the chip, as known again by their checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// The first byte's address.
    pub address: u32,
    /// How many bytes.
    pub len: u32,
    /// Their CRC-32 (that of Ethernet and zlib).
    pub crc32: u32,
}

impl Fingerprint {
    /// That of `bytes` at `address`; None where they go beyond what 32 bits address.
    pub fn of(address: u32, bytes: &[u8]) -> Option<Self> {
        let len = u32::try_from(bytes.len()).ok()?;
        address.checked_add(len)?;
        Some(Self { address, len, crc32: crc32fast::hash(bytes) })
    }

    /// Whether `bytes`, read from its range, are what they were.
    pub fn matches(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.len as usize && crc32fast::hash(bytes) == self.crc32
    }
}

/// Bytes that are to be on the chip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRange {
    /// The first byte's address.
    pub address: u32,
    /// What is to be there.
    pub bytes: Vec<u8>,
}

/// What one region is to hold, to be recorded.
#[derive(Debug, Clone, Default)]
pub struct NewRecord<'a> {
    /// Addresses and bytes: at least one range and at most one per 256 bytes of the region (and 16 more); none empty,
    /// ascending, without overlaps, all within one region.
    pub ranges: Vec<(u32, &'a [u8])>,
    /// At most [`MAX_FINGERPRINTS`], none empty, within the chip, none of bytes that are in `ranges`.
    pub fingerprints: Vec<Fingerprint>,
}

impl NewRecord<'_> {
    /// The region's address.
    pub(super) fn region(&self, layout: Layout) -> Result<u32, Error> {
        let address = self.ranges.first().map_or(0, |&(address, _)| address);
        let spans: Option<Vec<Span>> = self
            .ranges
            .iter()
            .map(|&(address, bytes)| Some(Span { address, len: u32::try_from(bytes.len()).ok()? }))
            .collect();
        spans
            .ok_or("a range is longer than the chip")
            .and_then(|spans| layout.check(&spans, &self.fingerprints))
            .map_err(|reason| Error::Unrecordable { address, reason })
    }
}

#[derive(Debug, Clone, Copy)]
struct Span {
    address: u32,
    len: u32,
}

impl Span {
    fn end(self) -> u64 {
        u64::from(self.address) + u64::from(self.len)
    }

    fn overlaps(self, other: Self) -> bool {
        u64::from(self.address) < other.end() && u64::from(other.address) < self.end()
    }
}

/// Where things are in a journal for chips of one geometry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    size: u32,
    region_len: u32,
}

impl Layout {
    pub(super) fn new(size: u32, region_len: u32) -> Result<Self, Error> {
        if region_len == 0 || region_len > size || size > LARGEST_SIZE {
            return Err(Error::Geometry { size, region_len });
        }
        Ok(Self { size, region_len })
    }

    pub(super) fn max_slots(self) -> u32 {
        self.size.div_ceil(self.region_len) + SPARE_SLOTS
    }

    pub(super) fn slot_offset(self, number: u32) -> u64 {
        2 * u64::from(PAGE_LEN) + u64::from(number) * self.slot_len() as u64
    }

    /// How long an empty journal may be.
    pub(super) fn kept_len(self) -> u64 {
        self.slot_offset(SPARE_SLOTS)
    }

    fn slot_len(self) -> usize {
        let longest = RECORD_HEADER_LEN
            + self.max_ranges() * RANGE_LEN
            + MAX_FINGERPRINTS * FINGERPRINT_LEN
            + self.region_len as usize;
        longest.next_multiple_of(PAGE_LEN as usize)
    }

    fn max_ranges(self) -> usize {
        self.region_len as usize / 256 + 16
    }

    /// The address of the one region that a record is for, or what is wrong with the record.
    fn check(self, ranges: &[Span], fingerprints: &[Fingerprint]) -> Result<u32, &'static str> {
        let first = ranges.first().ok_or("it is empty")?;
        if ranges.len() > self.max_ranges() || fingerprints.len() > MAX_FINGERPRINTS {
            return Err("it has too many parts");
        }
        let region = first.address - first.address % self.region_len;
        let region_end = (u64::from(region) + u64::from(self.region_len)).min(u64::from(self.size));
        let mut end = u64::from(region);
        for range in ranges {
            if range.len == 0 || u64::from(range.address) < end || range.end() > region_end {
                return Err("its ranges are empty, overlap, or are not within one region of the chip");
            }
            end = range.end();
        }
        for &Fingerprint { address, len, .. } in fingerprints {
            let span = Span { address, len };
            if len == 0
                || span.end() > u64::from(self.size)
                || ranges.iter().any(|range| range.overlaps(span))
            {
                return Err("a fingerprint is empty, beyond the chip, or of what is to change");
            }
        }
        Ok(region)
    }
}

/// What the first page of a file says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// It is not a header, or not all of one.
    Unreadable,
    /// Written by another version.
    OtherVersion(u32),
    /// A header for a geometry.
    Layout(Layout),
}

/// The header page: magic, version, JEDEC id, size, region length, length of the unique id, unique id; the checksum at its end.
pub(super) fn encode_header(chip: &ChipIdentity, layout: Layout) -> Vec<u8> {
    let unique_id = chip.unique_id.as_deref().unwrap_or_default();
    let mut page = FILE_MAGIC.to_vec();
    page.extend_from_slice(&VERSION.to_le_bytes());
    page.extend_from_slice(&chip.jedec_id.0);
    page.push(0);
    page.extend_from_slice(&layout.size.to_le_bytes());
    page.extend_from_slice(&layout.region_len.to_le_bytes());
    page.extend_from_slice(&(unique_id.len() as u64).to_le_bytes());
    page.extend_from_slice(unique_id);
    page.resize(PAGE_LEN as usize - 4, 0);
    page.extend_from_slice(&crc32fast::hash(&page).to_le_bytes());
    page
}

pub(super) fn decode_header(page: &[u8]) -> Header {
    if page.get(..8) != Some(&FILE_MAGIC) {
        return Header::Unreadable;
    }
    match read_u32(page, 8) {
        Some(VERSION) => {}
        Some(version) => return Header::OtherVersion(version),
        None => return Header::Unreadable,
    }
    let checked = PAGE_LEN as usize - 4;
    let is_whole = page.get(..checked).map(crc32fast::hash) == read_u32(page, checked);
    match (read_u32(page, 16), read_u32(page, 20)) {
        (Some(size), Some(region_len)) if is_whole => {
            Layout::new(size, region_len).map_or(Header::Unreadable, Header::Layout)
        }
        _ => Header::Unreadable,
    }
}

/// A record's bytes: header, ranges, fingerprints, data.
pub(super) fn encode_record(
    record: &NewRecord<'_>,
    sequence: u64,
    batch: u64,
    layout: Layout,
) -> Result<Vec<u8>, Error> {
    record.region(layout)?;
    let data_len: usize = record.ranges.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut bytes = Vec::with_capacity(layout.slot_len());
    bytes.extend_from_slice(&RECORD_MAGIC);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    for count in [record.ranges.len(), record.fingerprints.len(), data_len] {
        bytes.extend_from_slice(&len_u32(count).to_le_bytes());
    }
    bytes.extend_from_slice(&batch.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    for (address, data) in &record.ranges {
        bytes.extend_from_slice(&address.to_le_bytes());
        bytes.extend_from_slice(&len_u32(data.len()).to_le_bytes());
    }
    for fingerprint in &record.fingerprints {
        for number in [fingerprint.address, fingerprint.len, fingerprint.crc32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
    }
    for (_, data) in &record.ranges {
        bytes.extend_from_slice(data);
    }
    let checksum = record_checksum(&bytes).to_le_bytes();
    bytes[CHECKSUM_AT..RECORD_HEADER_LEN].copy_from_slice(&checksum);
    Ok(bytes)
}

/// The length of the record that begins with `header`; None if that is not the beginning of one.
pub(super) fn record_len(header: &[u8], layout: Layout) -> Option<usize> {
    if header.get(..8)? != RECORD_MAGIC {
        return None;
    }
    let ranges = read_u32(header, 16)? as usize;
    let fingerprints = read_u32(header, 20)? as usize;
    let data = read_u32(header, 24)? as usize;
    let is_possible = ranges <= layout.max_ranges()
        && fingerprints <= MAX_FINGERPRINTS
        && data <= layout.region_len as usize;
    // Other counts may be more than 32 bits can be multiplied in.
    is_possible.then(|| RECORD_HEADER_LEN + ranges * RANGE_LEN + fingerprints * FINGERPRINT_LEN + data)
}

/// The record that `bytes` are, all of them; None if they are not, or if its batch is later than the last that has `begun`.
pub(super) fn decode_record(bytes: &[u8], number: u32, begun: u64, layout: Layout) -> Option<Record> {
    if record_len(bytes, layout)? != bytes.len() || record_checksum(bytes) != read_u32(bytes, CHECKSUM_AT)? {
        return None;
    }
    let sequence = read_u64(bytes, 8)?;
    let batch = read_u64(bytes, BATCH_AT)?;
    if sequence > LAST_SEQUENCE || batch > begun {
        return None;
    }
    let range_table_len = read_u32(bytes, 16)? as usize * RANGE_LEN;
    let fingerprint_table_len = read_u32(bytes, 20)? as usize * FINGERPRINT_LEN;
    let (range_table, rest) = bytes.get(RECORD_HEADER_LEN..)?.split_at_checked(range_table_len)?;
    let (fingerprint_table, mut data) = rest.split_at_checked(fingerprint_table_len)?;

    let spans = range_table
        .chunks_exact(RANGE_LEN)
        .map(|entry| Some(Span { address: read_u32(entry, 0)?, len: read_u32(entry, 4)? }))
        .collect::<Option<Vec<_>>>()?;
    let fingerprints = fingerprint_table
        .chunks_exact(FINGERPRINT_LEN)
        .map(|entry| {
            Some(Fingerprint {
                address: read_u32(entry, 0)?,
                len: read_u32(entry, 4)?,
                crc32: read_u32(entry, 8)?,
            })
        })
        .collect::<Option<Vec<_>>>()?;
    let region = layout.check(&spans, &fingerprints).ok()?;

    let mut ranges = Vec::with_capacity(spans.len());
    for Span { address, len } in spans {
        let (bytes, rest) = data.split_at_checked(len as usize)?;
        ranges.push(RecordedRange { address, bytes: bytes.to_vec() });
        data = rest;
    }
    let slot = Slot { number, sequence };
    data.is_empty().then_some(Record { slot, sequence, region, ranges, fingerprints })
}

/// That of everything but itself.
fn record_checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(..CHECKSUM_AT).unwrap_or_default());
    hasher.update(bytes.get(RECORD_HEADER_LEN..).unwrap_or_default());
    hasher.finalize()
}

/// Where the number of the batch after `begun` is to be written, and how.
pub(super) fn encode_begun(batch: u64) -> (u64, [u8; BEGUN_LEN]) {
    let mut bytes = [0; BEGUN_LEN];
    bytes[..8].copy_from_slice(&batch.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..8]).to_le_bytes();
    bytes[8..].copy_from_slice(&checksum);
    (BEGUN_AT[usize::from(batch % 2 == 1)], bytes)
}

/// The places of the number of the last batch that has begun.
pub(super) fn begun_places() -> [u64; 2] {
    BEGUN_AT
}

/// The number of a batch that has begun; None where there is none, or not all of it.
pub(super) fn decode_begun(bytes: &[u8]) -> Option<u64> {
    let batch = read_u64(bytes, 0)?;
    (read_u32(bytes, 8)? == crc32fast::hash(bytes.get(..8)?) && batch <= LAST_SEQUENCE).then_some(batch)
}

fn read_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

fn read_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// A length within a record that has been checked against the chip's size, which 32 bits hold.
fn len_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}
