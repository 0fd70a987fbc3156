//! Parts that are known by their JEDEC id alone: many older ones do not describe themselves by SFDP.
//!
//! Ids, sizes and erase opcodes are confirmed in public sources: the tables of Linux (drivers/mtd/spi-nor) and of flashrom.
//! Several parts may share an id; then only what all of them understand stands here. Times and clock limits are those of a
//! class of parts, and unconfirmed for the single part. No parts of 1.8 V, which 3.3 V destroys.
//!
//! Of the parts of more than 16 MiB it is confirmed in the same places which of them have opcodes of their own for four address
//! bytes. Where parts with and without share an id, the mode is entered that both have; SFDP may tell better.

use std::time::Duration;

use super::addressing::{Addressing, ModeBit};
use super::opcode;
use super::part::{EraseType, JedecId, PAGE_LEN, Part, ProgramTime, READ_CLOCK_LIMIT, Registers, Source};

/// W25Q128 class, unconfirmed for the FM25Q128A: typically 0.4 to 0.7 ms.
pub const PAGE_PROGRAM: ProgramTime =
    ProgramTime { typical: Duration::from_micros(600), maximum: Duration::from_millis(3) };

/// Opcodes: confirmed for the FM25Q128A. Times: W25Q128 class, unconfirmed for this part.
pub const ERASE_TYPES: [EraseType; 3] = [
    EraseType {
        len: 4 << 10,
        opcode: opcode::SECTOR_ERASE_4K,
        typical: Duration::from_millis(45),
        maximum: Duration::from_millis(400),
    },
    EraseType {
        len: 32 << 10,
        opcode: opcode::BLOCK_ERASE_32K,
        typical: Duration::from_millis(120),
        maximum: Duration::from_millis(1600),
    },
    EraseType {
        len: 64 << 10,
        opcode: opcode::BLOCK_ERASE_64K,
        typical: Duration::from_millis(150),
        maximum: Duration::from_millis(2000),
    },
];

const ERASE_TYPES_WITHOUT_32K: [EraseType; 2] = {
    let [small, _, large] = ERASE_TYPES;
    [small, large]
};

/// The class of the N25Q128A and MX25L12805D, slower and without a command for 32 KiB. Unconfirmed for the single part.
const SLOW_ERASE_TYPES: [EraseType; 2] = [
    EraseType {
        len: 4 << 10,
        opcode: opcode::SECTOR_ERASE_4K,
        typical: Duration::from_millis(150),
        maximum: Duration::from_millis(800),
    },
    EraseType {
        len: 64 << 10,
        opcode: opcode::BLOCK_ERASE_64K,
        typical: Duration::from_millis(700),
        maximum: LONGEST_ERASE,
    },
];

const SLOW_PAGE_PROGRAM: ProgramTime =
    ProgramTime { typical: Duration::from_millis(1), maximum: Duration::from_millis(5) };

/// The longest time that an erase takes on a part in the table.
pub(super) const LONGEST_ERASE: Duration = Duration::from_secs(3);

/// What the parts of a maker have in common.
struct Family {
    addressing: Addressing,
    /// By their usual opcodes.
    erase_types: &'static [EraseType],
    page_program: ProgramTime,
    read_clock_limit: u32,
    registers: Registers,
}

const FM25Q: Family = Family {
    addressing: Addressing::ThreeBytes,
    erase_types: &ERASE_TYPES,
    page_program: PAGE_PROGRAM,
    read_clock_limit: READ_CLOCK_LIMIT,
    registers: Registers::Fm25q,
};

const W25Q: Family = Family { registers: Registers::W25q, ..FM25Q };

/// Made like the W25Q, but what protects is arranged otherwise.
const LIKE_W25Q: Family = Family { registers: Registers::Three, ..FM25Q };

/// Here 35h is no register but a switch to four data lanes.
const IS25LP: Family = Family { registers: Registers::First, ..FM25Q };

const SLOW: Family = Family {
    addressing: Addressing::ThreeBytes,
    erase_types: &SLOW_ERASE_TYPES,
    page_program: SLOW_PAGE_PROGRAM,
    read_clock_limit: READ_CLOCK_LIMIT,
    registers: Registers::First,
};

/// The MX25L12805D reads by 03h up to 33 MHz, others under its id up to 50 MHz.
const MX25L: Family = Family { read_clock_limit: 33_000_000, ..SLOW };

/// One public source has opcodes of their own. Unconfirmed whether one of them erases 32 KiB, and what protects.
const LARGE_FM25Q: Family =
    Family { addressing: Addressing::FourByteOpcodes, erase_types: &ERASE_TYPES_WITHOUT_32K, ..LIKE_W25Q };

/// The W25Q256FV has not all of the opcodes of their own; on the JV SFDP tells. Bit 0 of the third register, ADS, shows the mode.
const LARGE_W25Q: Family = Family { addressing: mode(false, opcode::READ_STATUS_3, 1), ..LIKE_W25Q };

const LARGE_GD25Q: Family = Family { addressing: Addressing::FourByteOpcodes, ..LIKE_W25Q };

const LARGE_IS25LP: Family = Family { addressing: Addressing::FourByteOpcodes, ..IS25LP };

/// Some of the N25Q256A have not all of the opcodes of their own. Bit 0 of the flag status register shows the mode.
const LARGE_N25Q: Family = Family { addressing: mode(true, opcode::READ_FLAG_STATUS, 1), ..SLOW };

/// The MX25L25635E has no opcodes of their own. 15h reads its configuration register here, of which bit 5 shows the mode.
const LARGE_MX25L: Family = Family { addressing: mode(false, opcode::READ_STATUS_3, 1 << 5), ..MX25L };

const fn mode(needs_write_enable: bool, opcode: u8, mask: u8) -> Addressing {
    Addressing::FourByteMode { needs_write_enable, shown_by: Some(ModeBit { opcode, mask }) }
}

struct Entry {
    id: [u8; 3],
    names: &'static [&'static str],
    mebibits: u32,
    family: &'static Family,
}

const fn entry(id: [u8; 3], names: &'static [&'static str], mebibits: u32, family: &'static Family) -> Entry {
    Entry { id, names, mebibits, family }
}

const TABLE: &[Entry] = &[
    entry([0xA1, 0x40, 0x18], &["FM25Q128A"], 128, &FM25Q),
    entry([0xA1, 0x40, 0x17], &["FM25Q64A"], 64, &FM25Q),
    entry([0xA1, 0x40, 0x16], &["FM25Q32"], 32, &FM25Q),
    entry([0xA1, 0x40, 0x15], &["FM25Q16"], 16, &FM25Q),
    entry([0xA1, 0x40, 0x14], &["FM25Q08"], 8, &FM25Q),
    entry([0xA1, 0x40, 0x13], &["FM25Q04"], 4, &FM25Q),
    entry([0xA1, 0x40, 0x19], &["FM25Q256"], 256, &LARGE_FM25Q),
    entry([0xEF, 0x40, 0x19], &["W25Q256"], 256, &LARGE_W25Q),
    entry([0xEF, 0x40, 0x18], &["W25Q128"], 128, &W25Q),
    entry([0xEF, 0x70, 0x18], &["W25Q128JV-M"], 128, &W25Q),
    entry([0xEF, 0x40, 0x17], &["W25Q64"], 64, &W25Q),
    entry([0xEF, 0x70, 0x17], &["W25Q64JV-M"], 64, &W25Q),
    entry([0xEF, 0x40, 0x16], &["W25Q32"], 32, &W25Q),
    entry([0xEF, 0x40, 0x15], &["W25Q16"], 16, &W25Q),
    entry([0xEF, 0x40, 0x14], &["W25Q80"], 8, &W25Q),
    entry([0xC8, 0x40, 0x19], &["GD25Q256"], 256, &LARGE_GD25Q),
    entry([0xC8, 0x40, 0x18], &["GD25Q128"], 128, &LIKE_W25Q),
    entry([0xC8, 0x40, 0x17], &["GD25Q64"], 64, &LIKE_W25Q),
    entry([0xC8, 0x40, 0x16], &["GD25Q32"], 32, &LIKE_W25Q),
    entry([0xC8, 0x40, 0x15], &["GD25Q16"], 16, &LIKE_W25Q),
    entry([0xC8, 0x40, 0x14], &["GD25Q80"], 8, &LIKE_W25Q),
    entry([0x0B, 0x40, 0x18], &["XT25F128B"], 128, &LIKE_W25Q),
    entry([0x0B, 0x40, 0x17], &["XT25F64B"], 64, &LIKE_W25Q),
    entry([0x68, 0x40, 0x18], &["BY25Q128AS"], 128, &LIKE_W25Q),
    entry([0x68, 0x40, 0x17], &["BY25Q64AS"], 64, &LIKE_W25Q),
    entry([0x5E, 0x40, 0x18], &["ZB25VQ128"], 128, &LIKE_W25Q),
    entry([0x5E, 0x40, 0x17], &["ZB25VQ64"], 64, &LIKE_W25Q),
    entry([0x9D, 0x60, 0x19], &["IS25LP256"], 256, &LARGE_IS25LP),
    entry([0x9D, 0x60, 0x18], &["IS25LP128"], 128, &IS25LP),
    entry([0x9D, 0x60, 0x17], &["IS25LP064"], 64, &IS25LP),
    entry([0x20, 0xBA, 0x19], &["N25Q256", "MT25QL256"], 256, &LARGE_N25Q),
    entry([0x20, 0xBA, 0x18], &["N25Q128", "MT25QL128"], 128, &SLOW),
    entry([0x20, 0xBA, 0x17], &["N25Q064", "MT25QL064"], 64, &SLOW),
    // Smaller ones are missing: under their ids 20h erases 4 KiB on some parts, and 64 KiB on others.
    entry([0xC2, 0x20, 0x19], &["MX25L256"], 256, &LARGE_MX25L),
    entry([0xC2, 0x20, 0x18], &["MX25L128"], 128, &MX25L),
    entry([0x1C, 0x70, 0x18], &["EN25QH128"], 128, &SLOW),
    entry([0x1C, 0x70, 0x17], &["EN25QH64"], 64, &SLOW),
];

impl Family {
    fn erase_types(&self) -> Vec<EraseType> {
        let with_opcode = |erase: &EraseType| {
            Some(EraseType { opcode: self.addressing.erase(erase.opcode)?, ..erase.clone() })
        };
        self.erase_types.iter().filter_map(with_opcode).collect()
    }
}

impl Entry {
    fn part(&self, source: Source) -> Part {
        Part {
            name: self.names.join("/"),
            size: self.mebibits << 17,
            addressing: self.family.addressing,
            page_len: PAGE_LEN,
            erase_types: self.family.erase_types(),
            page_program: self.family.page_program,
            read_clock_limit: self.family.read_clock_limit,
            registers: self.family.registers,
            source,
        }
    }
}

/// The part with this id.
pub fn by_id(id: JedecId) -> Option<Part> {
    TABLE.iter().find(|entry| entry.id == id.0).map(|entry| entry.part(Source::Table))
}

/// The part that a user calls so, in upper or lower case.
pub fn by_name(name: &str) -> Option<Part> {
    let is_called = |entry: &&Entry| entry.names.iter().any(|known| known.eq_ignore_ascii_case(name));
    TABLE.iter().find(is_called).map(|entry| entry.part(Source::User))
}

/// What the parts are called.
pub fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().flat_map(|entry| entry.names).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::part::{LARGEST_SIZE, THREE_BYTE_SIZE};

    #[test]
    fn the_fm25q128a_is_the_first_and_has_three_erase_sizes() {
        let part = by_id(JedecId([0xA1, 0x40, 0x18])).unwrap();
        assert_eq!(names().next(), Some("FM25Q128A"));
        assert_eq!(part.size, 16_777_216);
        let lens: Vec<_> = part.erase_types.iter().map(|erase| erase.len).collect();
        assert_eq!(lens, [4096, 32768, 65536]);
    }

    #[test]
    fn an_id_that_no_part_has_is_not_in_the_table() {
        assert_eq!(by_id(JedecId([0x12, 0x34, 0x56])), None);
    }

    #[test]
    fn an_id_and_a_name_stand_for_one_part_that_can_be_driven() {
        for (index, entry) in TABLE.iter().enumerate() {
            let part = entry.part(Source::Table);
            assert_eq!(
                by_id(JedecId(entry.id)),
                Some(part.clone()),
                "two parts with the id of {}",
                part.name
            );
            for name in entry.names {
                let named = TABLE.iter().position(|other| other.names.contains(name));
                assert_eq!(named, Some(index), "two parts are called {name}");
                assert_eq!(by_name(&name.to_lowercase()).unwrap().size, part.size);
            }
            assert!(part.size.is_power_of_two() && part.size <= LARGEST_SIZE);
            assert_eq!(1 << entry.id[2], part.size, "the last byte of an id counts address bits");
            assert_eq!(part.addressing == Addressing::ThreeBytes, part.size <= THREE_BYTE_SIZE);
            assert_eq!(part.erase_types.len(), entry.family.erase_types.len());
            assert!(part.erase_types.windows(2).all(|pair| pair[1].len % pair[0].len == 0));
            assert!(part.erase_types.iter().all(|erase| erase.maximum <= LONGEST_ERASE));
        }
    }
}
