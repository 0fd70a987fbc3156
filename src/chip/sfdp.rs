//! Serial Flash Discoverable Parameters: reading what a chip says of itself (JESD216).
//!
//! Everything in here comes from the wire and is doubted: offsets, lengths and sizes are checked before
//! they are used, and a table that contradicts itself is no table.

mod four_byte;

use std::time::Duration;

use super::addressing::Addressing;
use super::part::{
    EraseType, LARGEST_SIZE, PAGE_LEN, Part, ProgramTime, READ_CLOCK_LIMIT, Registers, Source,
    THREE_BYTE_SIZE,
};
use super::parts::PAGE_PROGRAM;

/// "SFDP", the first four bytes of the space.
pub const SIGNATURE: [u8; 4] = *b"SFDP";

/// The header of the space and one parameter header, in bytes.
pub const HEADER_LEN: usize = 8;

/// Tables beyond this are not read. JESD216 has 24-bit pointers; the tables known end far below.
pub const LONGEST: usize = 4096;

/// The basic flash parameter table of the first JESD216 has nine dwords.
const BASIC_DWORDS: usize = 9;

const BASIC_TABLE_ID: u16 = 0xFF00;

/// Why an SFDP space is not usable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The space does not begin with "SFDP".
    #[error("no SFDP signature")]
    NoSignature,
    /// A header or table lies outside of what could be read.
    #[error("a table at {pointer:#x} of {len} bytes lies outside of the {available} bytes read")]
    OutOfBounds {
        /// Where the table should begin, in bytes.
        pointer: usize,
        /// Its length in bytes.
        len: usize,
        /// How much there is.
        available: usize,
    },
    /// There is no basic flash parameter table of at least nine dwords.
    #[error("no basic flash parameter table")]
    NoBasicTable,
    /// The density is none that norfuse can drive.
    #[error("a density of {bits} bits is not a power of two from 64 KiB to 256 MiB")]
    Density {
        /// The density in bits.
        bits: u64,
    },
    /// It has more than 16 MiB, and tells no way to address them that norfuse knows.
    #[error("it has more than 16 MiB, and does not tell how it takes addresses with four bytes")]
    Addressing,
    /// No erase type is usable.
    #[error("no usable erase type")]
    NoEraseType,
}

/// How many bytes from the start of the space hold its headers and tables, at most [`LONGEST`].
///
/// `headers` is as much of the start as has been read so far; a longer answer means: read on and ask again.
///
/// # Errors
/// [`Error::NoSignature`].
pub fn extent(headers: &[u8]) -> Result<usize, Error> {
    let count = parameter_header_count(headers)?;
    let mut extent = HEADER_LEN * (1 + count);
    for header in headers.get(HEADER_LEN..).unwrap_or_default().chunks_exact(HEADER_LEN).take(count) {
        extent = extent.max(pointer(header) + table_len(header));
    }
    Ok(extent.min(LONGEST))
}

/// The part that the basic flash parameter table describes.
///
/// # Errors
/// When there is no such table, or one that contradicts itself or norfuse cannot drive.
pub fn parse(space: &[u8]) -> Result<Part, Error> {
    let table = basic_table(space)?;
    let size = size(&table)?;
    let erases = erase_types(&table, size);
    let (addressing, erase_types) = if size > THREE_BYTE_SIZE {
        four_byte::addressing(space, &table, &erases).ok_or(Error::Addressing)?
    } else {
        (Addressing::ThreeBytes, erases.into_iter().flatten().collect())
    };
    let erase_types = in_order(erase_types);
    if erase_types.is_empty() {
        return Err(Error::NoEraseType);
    }
    let (page_len, page_program) = page(&table);
    Ok(Part {
        name: "unknown part (SFDP)".to_owned(),
        size,
        addressing,
        page_len,
        erase_types,
        page_program,
        read_clock_limit: READ_CLOCK_LIMIT,
        registers: registers(&table),
        source: Source::Sfdp,
    })
}

fn parameter_header_count(headers: &[u8]) -> Result<usize, Error> {
    match headers.get(..HEADER_LEN) {
        Some(header) if header.starts_with(&SIGNATURE) => Ok(1 + usize::from(header[6])),
        _ => Err(Error::NoSignature),
    }
}

fn pointer(header: &[u8]) -> usize {
    usize::from(header[4]) | usize::from(header[5]) << 8 | usize::from(header[6]) << 16
}

fn table_len(header: &[u8]) -> usize {
    4 * usize::from(header[3])
}

fn table_id(header: &[u8]) -> u16 {
    u16::from_be_bytes([header[7], header[0]])
}

fn basic_table(space: &[u8]) -> Result<Vec<u32>, Error> {
    table(space, BASIC_TABLE_ID, BASIC_DWORDS)
}

/// The dwords of the newest table of a kind, at least `least` of them: a space may have several, the last with the highest
/// revision.
fn table(space: &[u8], id: u16, least: usize) -> Result<Vec<u32>, Error> {
    let count = parameter_header_count(space)?;
    let mut found = None;
    for header in space[HEADER_LEN..].chunks_exact(HEADER_LEN).take(count) {
        if table_id(header) == id && table_len(header) >= 4 * least {
            found = Some((pointer(header), table_len(header)));
        }
    }
    let (pointer, len) = found.ok_or(Error::NoBasicTable)?;
    let bytes = space.get(pointer..pointer + len).ok_or(Error::OutOfBounds {
        pointer,
        len,
        available: space.len(),
    })?;
    Ok(bytes
        .chunks_exact(4)
        .map(|dword| u32::from_le_bytes([dword[0], dword[1], dword[2], dword[3]]))
        .collect())
}

/// Dword 2: bits less one, or, with bit 31 set, the power of two.
fn size(table: &[u32]) -> Result<u32, Error> {
    let density = table[1];
    let bits = if density >> 31 == 0 {
        u64::from(density) + 1
    } else {
        1u64.checked_shl(density & 0x7FFF_FFFF).unwrap_or(0)
    };
    let bytes = bits / 8;
    match u32::try_from(bytes) {
        Ok(size) if size.is_power_of_two() && (64 << 10..=LARGEST_SIZE).contains(&size) => Ok(size),
        _ => Err(Error::Density { bits }),
    }
}

/// Dwords 8 and 9: four erase types of a size exponent and an opcode; dword 10: their times.
fn erase_types(table: &[u32], size: u32) -> [Option<EraseType>; 4] {
    let fields = [table[7], table[7] >> 16, table[8], table[8] >> 16];
    [0, 1, 2, 3].map(|index| {
        let [exponent, opcode, ..] = fields[index].to_le_bytes();
        if !(12..=18).contains(&exponent) || 1u32 << exponent > size {
            return None;
        }
        let (typical, maximum) = match table.get(9) {
            Some(&times) => erase_time(times, index),
            None => ASSUMED_ERASE_TIME,
        };
        Some(EraseType { len: 1 << exponent, opcode, typical, maximum })
    })
}

fn in_order(mut types: Vec<EraseType>) -> Vec<EraseType> {
    types.sort_by_key(|erase| erase.len);
    types.dedup_by_key(|erase| erase.len);
    types
}

/// The first JESD216 has no times; as long as a W25Q128 class part takes for 64 KiB.
const ASSUMED_ERASE_TIME: (Duration, Duration) = (Duration::from_millis(150), Duration::from_secs(2));

/// Dword 10: five bits of count and two of unit for each type, and the factor to the maximum.
fn erase_time(times: u32, index: usize) -> (Duration, Duration) {
    let field = times >> (4 + 7 * index);
    let unit = [1, 16, 128, 1000][(field >> 5 & 3) as usize];
    let typical = Duration::from_millis(u64::from((field & 0x1F) + 1) * unit);
    (typical, typical * (2 * ((times & 0xF) + 1)))
}

/// Dword 11: page size exponent, program time and the factor to its maximum.
fn page(table: &[u32]) -> (u32, ProgramTime) {
    let Some(&field) = table.get(10) else {
        return (PAGE_LEN, PAGE_PROGRAM);
    };
    // Larger pages than 256 bytes exist, but a part that takes them also takes 256.
    let page_len = (1 << (field >> 4 & 0xF)).min(PAGE_LEN);
    let unit = if field >> 13 & 1 == 1 { 64 } else { 8 };
    let typical = Duration::from_micros(u64::from((field >> 8 & 0x1F) + 1) * unit);
    let maximum = typical * (2 * ((field & 0xF) + 1));
    (page_len.max(1), ProgramTime { typical, maximum })
}

/// Dword 15, bits 22:20: the ways to switch four data lanes on that are made with a second status register, which 35h reads;
/// bit 6: that 35h is itself such a way. What protects, SFDP does not tell.
fn registers(table: &[u32]) -> Registers {
    let Some(&field) = table.get(14) else {
        return Registers::First;
    };
    let is_switch = field >> 6 & 1 == 1;
    match field >> 20 & 7 {
        1 | 4 | 5 | 6 if !is_switch => Registers::Three,
        _ => Registers::First,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, proptest};

    use super::*;

    pub(super) fn space(dwords: &[u32]) -> Vec<u8> {
        let mut space = vec![0x53, 0x46, 0x44, 0x50, 6, 1, 0, 0xFF];
        let len = u8::try_from(dwords.len()).unwrap();
        space.extend([0x00, 6, 1, len, 0x10, 0, 0, 0xFF]);
        space.extend(dwords.iter().flat_map(|dword| dword.to_le_bytes()));
        space
    }

    const SIXTEEN_MEBIBYTES: u32 = (128 << 20) - 1;

    pub(super) fn dwords() -> Vec<u32> {
        let mut dwords = vec![0xFFF1_20E5, SIXTEEN_MEBIBYTES, 0, 0, 0, 0, 0, 0x520F_200C, 0x0000_D810];
        // Count 2 of 16 ms: 48 ms, the maximum 8 times that; the others alike.
        dwords.push(3 | (0x22 << 4) | (0x27 << 11) | (0x29 << 18));
        dwords.push(2 | 8 << 4 | (0x20 | 9) << 8);
        dwords
    }

    #[test]
    fn a_basic_table_gives_size_erase_types_and_times() {
        let part = parse(&space(&dwords())).unwrap();
        assert_eq!(part.size, 16 << 20);
        assert_eq!(part.page_len, 256);
        let erases: Vec<_> = part.erase_types.iter().map(|erase| (erase.len, erase.opcode)).collect();
        assert_eq!(erases, [(4096, 0x20), (32768, 0x52), (65536, 0xD8)]);
        assert_eq!(part.erase_types[0].typical, Duration::from_millis(48));
        assert_eq!(part.erase_types[0].maximum, Duration::from_millis(384));
        assert_eq!(part.page_program.typical, Duration::from_micros(640));
        assert_eq!(part.page_program.maximum, Duration::from_micros(640 * 6));
    }

    #[test]
    fn the_first_revision_without_times_still_describes_a_part() {
        let part = parse(&space(&dwords()[..9])).unwrap();
        assert_eq!(part.erase_types[2].maximum, Duration::from_secs(2));
    }

    #[test]
    fn a_chip_that_claims_four_gibibytes_is_refused() {
        let mut dwords = dwords();
        dwords[1] = 0x8000_0023;
        assert_eq!(parse(&space(&dwords)), Err(Error::Density { bits: 1 << 35 }));
    }

    #[test]
    fn erase_types_of_no_size_are_left_out_and_none_at_all_is_refused() {
        let mut dwords = dwords();
        dwords[7] = 0x2000_2000;
        assert_eq!(parse(&space(&dwords)).unwrap().erase_types.len(), 1);
        dwords[8] = 0;
        assert_eq!(parse(&space(&dwords)), Err(Error::NoEraseType));
    }

    #[test]
    fn a_second_status_register_is_only_read_where_35h_reads_one() {
        let mut dwords = dwords();
        assert_eq!(parse(&space(&dwords)).unwrap().registers, Registers::First);
        dwords.resize(15, 0);
        // By bits 22:20: no second register; one that 35h reads; and the same, but 35h is a switch, too.
        for (field, registers) in
            [(2 << 20, Registers::First), (5 << 20, Registers::Three), (5 << 20 | 1 << 6, Registers::First)]
        {
            dwords[14] = field;
            assert_eq!(parse(&space(&dwords)).unwrap().registers, registers, "{field:#x}");
        }
    }

    #[test]
    fn a_pointer_past_the_end_is_refused() {
        let mut space = space(&dwords());
        space[13] = 0x40;
        assert!(matches!(parse(&space), Err(Error::OutOfBounds { pointer: 0x4010, .. })));
    }

    #[test]
    fn a_blank_space_has_no_signature() {
        assert_eq!(parse(&[0xFF; 256]), Err(Error::NoSignature));
        assert_eq!(extent(&[]), Err(Error::NoSignature));
    }

    proptest! {
        // A bounded fuzz run: the chip's answers are anybody's.
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_chip_answers_is_a_part_that_can_be_driven_or_an_error(
            tail in proptest::collection::vec(any::<u8>(), 0..300),
            signed in any::<bool>(),
        ) {
            let mut space = tail;
            if signed && space.len() >= 4 {
                space[..4].copy_from_slice(&SIGNATURE);
            }
            if let Ok(extent) = extent(&space) {
                assert!(extent <= LONGEST);
            }
            check(&space);
        }

        #[test]
        fn whatever_a_basic_table_holds_is_a_part_that_can_be_driven_or_an_error(
            dwords in proptest::collection::vec(any::<u32>(), 9..20),
            density in any::<bool>(),
        ) {
            let mut dwords = dwords;
            if density {
                dwords[1] = SIXTEEN_MEBIBYTES;
            }
            check(&space(&dwords));
        }
    }

    fn check(space: &[u8]) {
        if let Ok(part) = parse(space) {
            assert!(part.size.is_power_of_two() && part.size <= LARGEST_SIZE);
            assert_eq!(part.addressing == Addressing::ThreeBytes, part.size <= THREE_BYTE_SIZE);
            assert!(part.page_len.is_power_of_two() && part.page_len <= PAGE_LEN);
            assert!(part.erase_types.iter().all(|erase| part.size % erase.len == 0 && erase.len >= 4096));
            assert!(
                part.erase_types
                    .windows(2)
                    .all(|pair| pair[1].len % pair[0].len == 0 && pair[1].len > pair[0].len)
            );
        }
    }
}
