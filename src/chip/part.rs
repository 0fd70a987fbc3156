//! What a part is: size, erase types, times. From the table of known parts, else from SFDP.
//!
//! Not for what a part is doing: registers and protection are in [`super::status`].

use std::fmt;
use std::time::Duration;

use super::opcode;

/// The three bytes that a chip answers to [`opcode::READ_JEDEC_ID`]: manufacturer, type, capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JedecId(pub [u8; 3]);

impl JedecId {
    /// Whether the answer is that of a line nobody drives: all FF, or all 00.
    pub fn is_nobody(self) -> bool {
        self.0 == [0xFF; 3] || self.0 == [0x00; 3]
    }
}

impl fmt::Display for JedecId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [manufacturer, kind, capacity] = self.0;
        write!(formatter, "{manufacturer:02x}{kind:02x}{capacity:02x}")
    }
}

/// What tells one chip from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifiers {
    /// Which part it is.
    pub jedec_id: JedecId,
    /// Which one of its kind it is, where the part has a unique id.
    pub unique_id: Option<Vec<u8>>,
}

impl fmt::Display for Identifiers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.jedec_id)?;
        match &self.unique_id {
            None => write!(formatter, " without a unique id"),
            Some(id) => {
                write!(formatter, " with the unique id ")?;
                id.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
            }
        }
    }
}

/// An erase command: how much it erases and how long it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EraseType {
    /// What one command erases, in bytes; a power of two.
    pub len: u32,
    /// Its opcode.
    pub opcode: u8,
    /// How long it usually takes.
    pub typical: Duration,
    /// How long it may take.
    pub maximum: Duration,
}

/// How long programming takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramTime {
    /// How long a page usually takes.
    pub typical: Duration,
    /// How long a page may take.
    pub maximum: Duration,
}

/// Where the facts about a part come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// norfuse's table of parts.
    Table,
    /// The chip's own SFDP.
    Sfdp,
}

/// A part as norfuse drives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The maker's name for it, or "unknown part (SFDP)".
    pub name: String,
    /// Capacity in bytes, at most 16 MiB (three address bytes).
    pub size: u32,
    /// What one program command can write, in bytes; a power of two.
    pub page_len: u32,
    /// Erase commands, smallest first, each a multiple of the one before.
    pub erase_types: Vec<EraseType>,
    /// How long a page program takes.
    pub page_program: ProgramTime,
    /// Who says so.
    pub source: Source,
}

/// The largest chip that three address bytes reach.
pub const LARGEST_SIZE: u32 = 16 << 20;

/// The size of a page in bytes on every part in the table.
pub const PAGE_LEN: u32 = 256;

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

struct Entry {
    id: JedecId,
    name: &'static str,
    size: u32,
}

/// Parts known by their id alone, with [`PAGE_LEN`], [`ERASE_TYPES`] and [`PAGE_PROGRAM`].
const TABLE: &[Entry] = &[Entry { id: JedecId([0xA1, 0x40, 0x18]), name: "FM25Q128A", size: 16 << 20 }];

impl Part {
    /// The part that the table has under `id`.
    pub fn from_table(id: JedecId) -> Option<Self> {
        let entry = TABLE.iter().find(|entry| entry.id == id)?;
        Some(Self {
            name: entry.name.to_owned(),
            size: entry.size,
            page_len: PAGE_LEN,
            erase_types: ERASE_TYPES.to_vec(),
            page_program: PAGE_PROGRAM,
            source: Source::Table,
        })
    }

    /// The erase command for exactly `len` bytes.
    pub fn erase_type(&self, len: u32) -> Option<&EraseType> {
        self.erase_types.iter().find(|erase| erase.len == len)
    }

    /// The largest erase unit in bytes.
    pub fn largest_erase_len(&self) -> u32 {
        self.erase_types.last().map_or(self.size, |erase| erase.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_prints_as_six_lower_case_digits() {
        assert_eq!(JedecId([0xA1, 0x40, 0x18]).to_string(), "a14018");
    }

    #[test]
    fn the_table_has_the_fm25q128a_with_its_three_erase_sizes() {
        let part = Part::from_table(JedecId([0xA1, 0x40, 0x18])).unwrap();
        assert_eq!(part.size, 16_777_216);
        let lens: Vec<_> = part.erase_types.iter().map(|erase| erase.len).collect();
        assert_eq!(lens, [4096, 32768, 65536]);
    }

    #[test]
    fn an_id_that_no_part_has_is_not_in_the_table() {
        assert_eq!(Part::from_table(JedecId([0x12, 0x34, 0x56])), None);
    }
}
