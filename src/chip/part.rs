//! What a part is: size, erase types, times, registers. Which parts there are is in [`super::parts`] and [`super::sfdp`].
//!
//! Not for what a part is doing: what its registers say is in [`super::status`].

use std::fmt;
use std::time::Duration;

use super::addressing::Addressing;
use super::status::RegisterMap;

/// The three bytes that a chip answers to [`READ_JEDEC_ID`](super::opcode::READ_JEDEC_ID): manufacturer, type, capacity.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgramTime {
    /// How long a page usually takes.
    pub typical: Duration,
    /// How long a page may take.
    pub maximum: Duration,
}

/// Where the facts about a part come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The table of [`super::parts`], by the chip's id.
    Table,
    /// The chip's own SFDP.
    Sfdp,
    /// The user, who has named a part of the table.
    User,
}

/// Which status registers there are beside the first, and what protects in them. Of the first, all parts have WIP and WEL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Registers {
    /// None that norfuse knows. On some of these parts 35h is no register but a switch to four data lanes, in which nothing
    /// else that norfuse says is understood.
    First,
    /// Three, by 05h, 35h and 15h; what protects in them is not known here.
    Three,
    /// Three, as on the W25Q128.
    W25q,
    /// Three, with the two meanings that are published for the FM25Q128A; unconfirmed for its smaller siblings.
    Fm25q,
}

impl Registers {
    /// Whether 35h and 15h read registers.
    pub fn are_three(self) -> bool {
        self != Self::First
    }

    /// The meanings that what protects may have; none where nothing is known of it.
    pub fn maps(self) -> &'static [RegisterMap] {
        match self {
            Self::First | Self::Three => &[],
            Self::W25q => &[RegisterMap::W25q],
            Self::Fm25q => &[RegisterMap::A, RegisterMap::B],
        }
    }
}

/// A part as norfuse drives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The maker's name for it, or "unknown part (SFDP)".
    pub name: String,
    /// Capacity in bytes, at most [`LARGEST_SIZE`].
    pub size: u32,
    /// How it takes addresses.
    pub addressing: Addressing,
    /// What one program command can write, in bytes; a power of two.
    pub page_len: u32,
    /// Erase commands, smallest first, each a multiple of the one before.
    pub erase_types: Vec<EraseType>,
    /// How long a page program takes.
    pub page_program: ProgramTime,
    /// The fastest clock for 03h, in Hz.
    pub read_clock_limit: u32,
    /// Its status registers.
    pub registers: Registers,
    /// Who says so.
    pub source: Source,
}

/// What three address bytes reach, in bytes.
pub const THREE_BYTE_SIZE: u32 = 16 << 20;

/// The largest chip that norfuse drives, in bytes. Four address bytes would reach further; but all of a chip may come to be in
/// memory.
pub const LARGEST_SIZE: u32 = 256 << 20;

/// The size of a page in bytes on every part in the table.
pub const PAGE_LEN: u32 = 256;

/// The fastest clock for 03h, in Hz: confirmed for the FM25Q128A; W25Q128 class, unconfirmed for others.
pub const READ_CLOCK_LIMIT: u32 = 50_000_000;

impl Part {
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
}
