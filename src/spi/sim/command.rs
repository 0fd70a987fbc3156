//! The simulated chip's command set: what each opcode is, and which bytes its frame has.

use std::ops::Range;
use std::time::Duration;

use super::tally::Counters;
use super::timing::Times;

/// Bytes that one program can change.
pub(super) const PAGE_SIZE: usize = 256;

/// A command that the model answers or carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    WriteEnable,
    WriteDisable,
    VolatileWriteEnable,
    /// Of SR1, SR2 or SR3, counted from 0.
    ReadStatus(usize),
    /// The same; `01h` may go on into SR2.
    WriteStatus(usize),
    Read,
    FastRead,
    PageProgram,
    Erase(Unit),
    ReadSecurity,
    ProgramSecurity,
    EraseSecurity,
    JedecId,
    ManufacturerDevice,
    UniqueId,
    Sfdp,
    PowerDown,
    ReleasePowerDown,
    EnableReset,
    Reset,
    GlobalLock,
    GlobalUnlock,
    Suspend,
    Resume,
    /// Into 4-byte mode.
    EnterFourByteMode,
    ExitFourByteMode,
}

/// What one erase clears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Sector,
    Block32K,
    Block64K,
    Chip,
}

/// What follows a frame's opcode, address and dummy bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payload {
    Nothing,
    /// As many bytes as the host clocks.
    FromChip,
    /// At least and at most so many bytes.
    ToChip {
        min: u64,
        max: u64,
    },
}

impl Command {
    pub(super) fn decode(opcode: u8) -> Option<Self> {
        Some(match opcode {
            0x01 => Self::WriteStatus(0),
            0x02 => Self::PageProgram,
            0x03 => Self::Read,
            0x04 => Self::WriteDisable,
            0x05 => Self::ReadStatus(0),
            0x06 => Self::WriteEnable,
            0x0b => Self::FastRead,
            0x11 => Self::WriteStatus(2),
            0x15 => Self::ReadStatus(2),
            0x20 => Self::Erase(Unit::Sector),
            0x31 => Self::WriteStatus(1),
            0x35 => Self::ReadStatus(1),
            0x42 => Self::ProgramSecurity,
            0x44 => Self::EraseSecurity,
            0x48 => Self::ReadSecurity,
            0x4b => Self::UniqueId,
            0x50 => Self::VolatileWriteEnable,
            0x52 => Self::Erase(Unit::Block32K),
            0x5a => Self::Sfdp,
            0x60 | 0xc7 => Self::Erase(Unit::Chip),
            0x66 => Self::EnableReset,
            0x75 => Self::Suspend,
            0x7a => Self::Resume,
            0x7e => Self::GlobalLock,
            0x90 => Self::ManufacturerDevice,
            0x98 => Self::GlobalUnlock,
            0x99 => Self::Reset,
            0x9f => Self::JedecId,
            0xab => Self::ReleasePowerDown,
            0xb7 => Self::EnterFourByteMode,
            0xb9 => Self::PowerDown,
            0xd8 => Self::Erase(Unit::Block64K),
            0xe9 => Self::ExitFourByteMode,
            _ => return None,
        })
    }

    /// What the opcodes are that have four address bytes whatever the mode, on a part that has them.
    pub(super) fn decode_four_byte(opcode: u8) -> Option<Self> {
        Some(match opcode {
            0x0c => Self::FastRead,
            0x12 => Self::PageProgram,
            0x13 => Self::Read,
            0x21 => Self::Erase(Unit::Sector),
            0x5c => Self::Erase(Unit::Block32K),
            0xdc => Self::Erase(Unit::Block64K),
            _ => return None,
        })
    }

    pub(super) fn switches_mode(self) -> bool {
        matches!(self, Self::EnterFourByteMode | Self::ExitFourByteMode)
    }

    pub(super) fn is_about_suspending(self) -> bool {
        matches!(self, Self::Suspend | Self::Resume)
    }

    /// Address bytes behind the opcode, where commands about the chip's contents have four or three of them.
    pub(super) fn address_len(self, has_four: bool) -> u64 {
        match self {
            Self::Read
            | Self::FastRead
            | Self::PageProgram
            | Self::Erase(Unit::Sector | Unit::Block32K | Unit::Block64K)
            | Self::ReadSecurity
            | Self::ProgramSecurity
            | Self::EraseSecurity => 3 + u64::from(has_four),
            Self::ManufacturerDevice | Self::Sfdp => 3,
            _ => 0,
        }
    }

    /// Dummy bytes behind the address, with `fast_read` of them for fast read. In 4-byte mode the unique id has one more.
    pub(super) fn dummy_len(self, fast_read: u8, has_four: bool) -> u64 {
        match self {
            Self::FastRead => fast_read.into(),
            Self::ReadSecurity | Self::Sfdp => 1,
            Self::ReleasePowerDown => 3,
            Self::UniqueId => 4 + u64::from(has_four),
            _ => 0,
        }
    }

    pub(super) fn payload(self) -> Payload {
        match self {
            Self::ReadStatus(_)
            | Self::Read
            | Self::FastRead
            | Self::ReadSecurity
            | Self::JedecId
            | Self::ManufacturerDevice
            | Self::UniqueId
            | Self::Sfdp
            | Self::ReleasePowerDown => Payload::FromChip,
            Self::WriteStatus(0) => Payload::ToChip { min: 1, max: 2 },
            Self::WriteStatus(_) => Payload::ToChip { min: 1, max: 1 },
            Self::PageProgram | Self::ProgramSecurity => Payload::ToChip { min: 1, max: u64::MAX },
            _ => Payload::Nothing,
        }
    }

    /// Whether it is ignored without WEL.
    ///
    /// That holds for the global block locks in the W25Q128 class; unconfirmed for this part.
    pub(super) fn needs_write_enable(self) -> bool {
        matches!(
            self,
            Self::WriteStatus(_)
                | Self::PageProgram
                | Self::Erase(_)
                | Self::ProgramSecurity
                | Self::EraseSecurity
                | Self::GlobalLock
                | Self::GlobalUnlock
        )
    }
}

impl Unit {
    /// The addresses that an erase at `address` clears of a chip of `size` bytes.
    pub(super) fn range(self, address: u32, size: u32) -> Range<u32> {
        let len = match self {
            Self::Sector => 0x1000,
            Self::Block32K => 0x8000,
            Self::Block64K => 0x1_0000,
            Self::Chip => size,
        };
        let start = address & !(len - 1) & (size - 1);
        start..start + len
    }

    pub(super) fn time(self, times: &Times) -> Duration {
        match self {
            Self::Sector => times.sector_erase,
            Self::Block32K => times.block_erase_32k,
            Self::Block64K => times.block_erase_64k,
            Self::Chip => times.chip_erase,
        }
    }

    pub(super) fn counter(self, counters: &mut Counters) -> &mut u64 {
        match self {
            Self::Sector => &mut counters.sectors_erased,
            Self::Block32K => &mut counters.blocks_32k_erased,
            Self::Block64K => &mut counters.blocks_64k_erased,
            Self::Chip => &mut counters.chip_erases,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spi::sim::storage::CHIP_SIZE;

    #[test]
    fn opcodes_that_need_more_data_lanes_or_are_not_modelled_are_unknown() {
        for opcode in [0x00, 0x32, 0x38, 0x3b, 0x6b, 0xbb, 0xd7, 0xeb, 0xff] {
            assert_eq!(Command::decode(opcode), None, "{opcode:#04x}");
        }
    }

    #[test]
    fn an_erase_masks_its_address_down_to_its_unit() {
        assert_eq!(Unit::Sector.range(0x123456, CHIP_SIZE), 0x123000..0x124000);
        assert_eq!(Unit::Block32K.range(0x12fedc, CHIP_SIZE), 0x128000..0x130000);
        assert_eq!(Unit::Block64K.range(0xffffff, CHIP_SIZE), 0xff0000..0x1000000);
        assert_eq!(Unit::Chip.range(0, CHIP_SIZE), 0..CHIP_SIZE);
    }
}
