//! FMAP, the table of areas that coreboot and U-Boot put on a chip (flashmap, version 1.x).
//!
//! What is on a chip cannot be trusted: a table must be plausible as a whole, and an area that is not is left out.

use memchr::memmem;

use super::{Partition, check_name};

const SIGNATURE: &[u8] = b"__FMAP__";
const MAJOR_VERSION: u8 = 1;

/// Signature, version, base, size, name and the number of areas.
const HEADER_LEN: usize = 56;
/// Offset, size, name and flags.
const AREA_LEN: usize = 42;
const NAME_LEN: usize = 32;

const READ_ONLY: u16 = 1 << 2;

/// Boards have some fifty areas.
const MOST_AREAS: usize = 128;

/// The greatest length of a table in bytes.
pub const LONGEST: usize = HEADER_LEN + MOST_AREAS * AREA_LEN;

/// Signatures looked at in one search; programs that know FMAP contain it, too.
const MOST_SIGNATURES: usize = 16;

/// A table of areas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fmap {
    /// Where it is, in bytes from the beginning of what was searched.
    pub offset: usize,
    /// Its areas that can be partitions of the chip; at least one.
    pub areas: Vec<Partition>,
    /// Why other areas cannot.
    pub left_out: Vec<String>,
}

/// What a search has found: the first table, or else the last beginning of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A table.
    Table(Fmap),
    /// What may be one, from this offset on, but does not end in what was searched. It ends within [`LONGEST`] bytes.
    Beginning(usize),
    /// None.
    Nothing,
}

/// Searches `bytes` of a chip of `size` bytes for the first table.
pub fn search(bytes: &[u8], size: u32) -> Found {
    let mut found = Found::Nothing;
    for offset in memmem::find_iter(bytes, SIGNATURE).take(MOST_SIGNATURES) {
        match table(&bytes[offset..], size) {
            Table::Complete { areas, left_out } => return Found::Table(Fmap { offset, areas, left_out }),
            Table::Cut => found = Found::Beginning(offset),
            Table::Implausible => {}
        }
    }
    found
}

enum Table {
    Complete { areas: Vec<Partition>, left_out: Vec<String> },
    Cut,
    Implausible,
}

/// The table that `bytes` begin with.
fn table(bytes: &[u8], size: u32) -> Table {
    let Some((header, behind)) = bytes.split_at_checked(HEADER_LEN) else { return Table::Cut };
    let image_len = u32_at(header, 18);
    let area_count = usize::from(u16_at(header, 54));
    let is_plausible = header[8] == MAJOR_VERSION
        && (1..=size).contains(&image_len)
        && text(&header[22..54]).is_some()
        && (1..=MOST_AREAS).contains(&area_count);
    if !is_plausible {
        return Table::Implausible;
    }
    let Some(entries) = behind.get(..area_count * AREA_LEN) else { return Table::Cut };
    let mut areas: Vec<Partition> = Vec::new();
    let mut left_out = Vec::new();
    for entry in entries.chunks_exact(AREA_LEN) {
        match area(entry, image_len) {
            Ok(area) if areas.iter().any(|other| other.name == area.name) => {
                left_out.push(format!("there are two areas called '{}'", area.name));
            }
            Ok(area) => areas.push(area),
            Err(reason) => left_out.push(reason),
        }
    }
    if areas.is_empty() { Table::Implausible } else { Table::Complete { areas, left_out } }
}

/// An area of an image of `image_len` bytes, or why it is none.
fn area(entry: &[u8], image_len: u32) -> Result<Partition, String> {
    let (start, len, flags) = (u32_at(entry, 0), u32_at(entry, 4), u16_at(entry, 40));
    let name = text(&entry[8..8 + NAME_LEN])
        .ok_or_else(|| format!("the name of the area at {start:#x} is no text"))?;
    check_name(name).map_err(|error| format!("the area at {start:#x}: {error}"))?;
    let end = start.checked_add(len).filter(|&end| end <= image_len);
    match end {
        None => Err(format!("the area '{name}' does not lie within the image of {image_len:#x} bytes")),
        Some(end) if end == start => Err(format!("the area '{name}' is empty")),
        Some(end) => {
            Ok(Partition { name: name.to_owned(), range: start..end, read_only: flags & READ_ONLY != 0 })
        }
    }
}

/// A field of printable ASCII, filled up with zeros.
fn text(field: &[u8]) -> Option<&str> {
    let len = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    let (text, filling) = field.split_at(len);
    let is_text =
        text.iter().all(|byte| matches!(byte, b' '..=b'~')) && filling.iter().all(|&byte| byte == 0);
    if is_text { std::str::from_utf8(text).ok() } else { None }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHIP_LEN: u32 = 16 << 20;

    fn field(name: &str) -> [u8; NAME_LEN] {
        let mut field = [0; NAME_LEN];
        field[..name.len()].copy_from_slice(name.as_bytes());
        field
    }

    fn fmap(areas: &[(u32, u32, &str, u16)]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([MAJOR_VERSION, 1]);
        bytes.extend(0u64.to_le_bytes());
        bytes.extend(CHIP_LEN.to_le_bytes());
        bytes.extend(field("FLASH"));
        bytes.extend(u16::try_from(areas.len()).unwrap().to_le_bytes());
        for (offset, len, name, flags) in areas {
            bytes.extend(offset.to_le_bytes());
            bytes.extend(len.to_le_bytes());
            bytes.extend(field(name));
            bytes.extend(flags.to_le_bytes());
        }
        bytes
    }

    fn table_in(bytes: &[u8]) -> Option<Fmap> {
        match search(bytes, CHIP_LEN) {
            Found::Table(fmap) => Some(fmap),
            _ => None,
        }
    }

    #[test]
    fn its_areas_are_partitions() {
        let mut bytes = vec![0xff; 777];
        bytes.extend(fmap(&[
            (0, 0x100, "RO", READ_ONLY),
            (0x80, 0x1000, "RW_A", 1),
            (0xff_fff0, 16, "END", 0),
        ]));
        bytes.extend([0; 99]);
        let found = table_in(&bytes).unwrap();
        assert_eq!(found.offset, 777);
        let partition = |name: &str, range, read_only| Partition { name: name.to_owned(), range, read_only };
        let expected = [
            partition("RO", 0..0x100, true),
            partition("RW_A", 0x80..0x1080, false),
            partition("END", 0xff_fff0..CHIP_LEN, false),
        ];
        assert_eq!(found.areas, expected);
        assert!(found.left_out.is_empty());
    }

    #[test]
    fn areas_that_cannot_be_files_of_the_chip_are_left_out() {
        let bytes = fmap(&[
            (0, 1, "good", 0),
            (0, 1, "..", 0),
            (0, 1, "a/b", 0),
            (0, 1, "", 0),
            (0, 1, "\u{1b}[2J", 0),
            (0, 0, "empty", 0),
            (CHIP_LEN, 1, "behind", 0),
            (u32::MAX, u32::MAX, "around", 0),
            (1, 1, "good", 0),
        ]);
        let found = table_in(&bytes).unwrap();
        assert_eq!(found.areas.len(), 1);
        assert_eq!(found.left_out.len(), 8);
    }

    #[test]
    fn what_is_implausible_is_no_table() {
        let good = fmap(&[(0, 1, "a", 0)]);
        assert!(table_in(&good).is_some());
        for (at, byte) in [(8, 2), (21, 2), (25, 7), (54, 0), (55, 1)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(search(&bad, CHIP_LEN), Found::Nothing, "{at}");
        }
        assert_eq!(search(&fmap(&[(0, 0, "a", 0)]), CHIP_LEN), Found::Nothing);
        assert_eq!(search(&good, CHIP_LEN / 2), Found::Nothing);
        let behind = [SIGNATURE, &[0; 60], &good].concat();
        assert_eq!(table_in(&behind).unwrap().offset, 68);
    }

    #[test]
    fn a_table_that_is_cut_off_is_only_a_beginning() {
        let bytes = fmap(&[(0, 1, "a", 0), (1, 1, "b", 0)]);
        for len in SIGNATURE.len()..bytes.len() {
            assert_eq!(search(&bytes[..len], CHIP_LEN), Found::Beginning(0), "{len}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_areas_within_the_chip_or_nothing(
            count in 0u16..4,
            image_len in 0..2 * CHIP_LEN,
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            names in proptest::collection::vec("[ab/.\u{1}]{0,2}", 4),
        ) {
            let mut table = fmap(&[]);
            table[18..22].copy_from_slice(&image_len.to_le_bytes());
            table[54..56].copy_from_slice(&count.to_le_bytes());
            table.extend(bytes);
            for (index, name) in names.iter().enumerate() {
                let at = HEADER_LEN + index * AREA_LEN + 8;
                if let Some(place) = table.get_mut(at..at + NAME_LEN) {
                    place.copy_from_slice(&field(name));
                }
            }
            if let Some(found) = table_in(&table) {
                prop_assert!(super::super::check(&found.areas, CHIP_LEN).is_ok());
                for area in found.areas {
                    prop_assert!(!area.range.is_empty());
                    prop_assert_eq!(check_name(&area.name), Ok(()));
                }
            }
        }
    }
}
