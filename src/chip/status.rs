//! Status registers, and which part of a chip they say is protected.
//!
//! Two register maps are published for the one id A1 40 18 and nothing on the chip tells them apart, so
//! protection is decoded under both and only ever used to explain, never to decide. What other makers' registers protect is
//! only known where they are those of the W25Q128.

use std::fmt;
use std::ops::Range;

use super::part::Registers;

/// Status register 1: an erase, program or register write is under way (WIP, also called BUSY).
pub const WIP: u8 = 1 << 0;
/// Status register 1: the write enable latch.
pub const WEL: u8 = 1 << 1;

pub(super) const BP: u8 = 0b111 << 2;
pub(super) const TB: u8 = 1 << 5;
/// SEC under map A and on the W25Q128, CMP under map B.
pub(super) const SR1_BIT_6: u8 = 1 << 6;
/// With WP# low, the status registers cannot be written.
pub(super) const SRP0: u8 = 1 << 7;
/// CMP under map A and on the W25Q128, the dummy-cycle setting DC0 under map B.
pub(super) const SR2_BIT_6: u8 = 1 << 6;
pub(super) const MAP_A_SR2_WPS: u8 = 1 << 3;
/// Under map B and on the W25Q128.
pub(super) const SR3_WPS: u8 = 1 << 2;
/// SR2 bit 7: SUS under map A, set while an erase is suspended; the dummy-cycle setting DC1 under map B.
const SR2_BIT_7: u8 = 1 << 7;
/// SR2 bit 1: QE, under all maps.
const SR2_QE: u8 = 1 << 1;
/// What a register that the chip does not have reads as, or would.
pub(super) const ABSENT: u8 = 0xFF;

/// The three status registers as read. One that a chip does not have reads FF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRegisters(pub [u8; 3]);

impl fmt::Display for StatusRegisters {
    /// `SR1 = 1c`, and SR2 and SR3 where the chip has them.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SR1 = {:02x}", self.0[0])?;
        for (number, value) in [(2, self.0[1]), (3, self.0[2])] {
            if value != ABSENT {
                write!(formatter, ", SR{number} = {value:02x}")?;
            }
        }
        Ok(())
    }
}

/// A published meaning of the registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegisterMap {
    /// SR1 bit 6 SEC, SR2 bit 6 CMP and bit 2 WPS, no SR3: boards with the FM25Q128A.
    A,
    /// SR1 bit 6 CMP, SR3 bit 2 WPS: the newer FM25Q128 datasheet.
    B,
    /// SR1 bit 6 SEC, SR2 bit 6 CMP, SR3 bit 2 WPS: the W25Q128's datasheet.
    W25q,
}

/// What the registers say cannot be erased or programmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Protection {
    /// Nothing.
    None,
    /// These addresses.
    Range(Range<u32>),
    /// Each block has a lock of its own, all closed at power-up (WPS).
    IndividualLocks,
}

impl StatusRegisters {
    /// What is protected on a chip of `size` bytes, read under `map`.
    pub fn protection(self, map: RegisterMap, size: u32) -> Protection {
        let [sr1, sr2, sr3] = self.present();
        let (sector_grain, complement, individual) = match map {
            RegisterMap::A => (sr1 & SR1_BIT_6 != 0, sr2 & SR2_BIT_6 != 0, sr2 & MAP_A_SR2_WPS != 0),
            RegisterMap::B => (false, sr1 & SR1_BIT_6 != 0, sr3 & SR3_WPS != 0),
            RegisterMap::W25q => (sr1 & SR1_BIT_6 != 0, sr2 & SR2_BIT_6 != 0, sr3 & SR3_WPS != 0),
        };
        if individual {
            return Protection::IndividualLocks;
        }
        let bottom = sr1 & TB != 0;
        let len = protected_len(sr1, sector_grain, size);
        let range = match (bottom, complement) {
            (true, false) => 0..len,
            (false, false) => size - len..size,
            (true, true) => len..size,
            (false, true) => 0..size - len,
        };
        if range.is_empty() { Protection::None } else { Protection::Range(range) }
    }

    /// Whether WP# and HOLD# are data lines, so that their levels stop nothing; none where nothing is known of that.
    pub fn quad_enable(self, registers: Registers) -> Option<bool> {
        let is_known = !registers.maps().is_empty() && self.0[1] != ABSENT;
        is_known.then_some(self.0[1] & SR2_QE != 0)
    }

    /// Whether an erase may be suspended.
    pub(super) fn may_be_suspended(self) -> bool {
        self.present()[1] & SR2_BIT_7 != 0
    }

    /// The registers with nothing set in those that the chip does not have.
    pub(super) fn present(self) -> [u8; 3] {
        let [sr1, sr2, sr3] = self.0;
        [sr1, if sr2 == ABSENT { 0 } else { sr2 }, if sr3 == ABSENT { 0 } else { sr3 }]
    }
}

/// W25Q128 class, unconfirmed for the FM25Q128A: BP 1 to 6 protect 1/64 to 1/2 of the chip, but at least 64 KiB, and 7 all of
/// it; with SEC 4 KiB to 32 KiB.
fn protected_len(sr1: u8, sector_grain: bool, size: u32) -> u32 {
    let bp = u32::from((sr1 & BP) >> 2);
    match (bp, sector_grain) {
        (0, _) => 0,
        (7, _) => size,
        (bp, true) => (4096 << (bp - 1)).min(32 << 10),
        (bp, false) => ((size / 64).max(64 << 10) << (bp - 1)).min(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u32 = 16 << 20;

    fn protection(registers: [u8; 3], map: RegisterMap) -> Protection {
        StatusRegisters(registers).protection(map, SIZE)
    }

    #[test]
    fn cleared_registers_protect_nothing_under_either_map() {
        assert_eq!(protection([0, 0, 0xFF], RegisterMap::A), Protection::None);
        assert_eq!(protection([0, 0, 0xFF], RegisterMap::B), Protection::None);
    }

    #[test]
    fn bp_counts_from_the_top_and_with_tb_from_the_bottom() {
        assert_eq!(
            protection([0b00_0100, 0, 0], RegisterMap::A),
            Protection::Range(SIZE - (256 << 10)..SIZE)
        );
        assert_eq!(protection([0b10_0100, 0, 0], RegisterMap::A), Protection::Range(0..256 << 10));
        assert_eq!(protection([0b01_1100, 0, 0], RegisterMap::A), Protection::Range(0..SIZE));
    }

    #[test]
    fn bit_six_is_a_sector_grain_under_one_map_and_a_complement_under_the_other() {
        let registers = [0b0110_0100, 0, 0xFF];
        assert_eq!(protection(registers, RegisterMap::A), Protection::Range(0..4096));
        assert_eq!(protection(registers, RegisterMap::B), Protection::Range(256 << 10..SIZE));
    }

    #[test]
    fn a_complement_of_nothing_protects_everything() {
        assert_eq!(protection([0, SR2_BIT_6, 0xFF], RegisterMap::A), Protection::Range(0..SIZE));
    }

    #[test]
    fn individual_locks_stand_in_another_register_under_each_map() {
        assert_eq!(protection([0, MAP_A_SR2_WPS, 0xFF], RegisterMap::A), Protection::IndividualLocks);
        assert_eq!(protection([0, 0, SR3_WPS], RegisterMap::B), Protection::IndividualLocks);
        assert_eq!(protection([0, 0, SR3_WPS], RegisterMap::W25q), Protection::IndividualLocks);
        assert_eq!(protection([0, 0, 0xFF], RegisterMap::B), Protection::None);
    }

    #[test]
    fn quad_enable_is_known_where_the_meaning_of_the_registers_is() {
        let quad_enable = |sr2, part| StatusRegisters([0, sr2, 0xFF]).quad_enable(part);
        assert_eq!(quad_enable(0x02, Registers::Fm25q), Some(true));
        assert_eq!(quad_enable(0xFD, Registers::W25q), Some(false));
        assert_eq!(quad_enable(ABSENT, Registers::W25q), None);
        assert_eq!(quad_enable(0x02, Registers::Three), None);
    }

    #[test]
    fn a_small_chip_is_protected_by_64_kib_and_more_at_a_time() {
        let protected = |bp: u8| StatusRegisters([bp << 2 | TB, 0, 0]).protection(RegisterMap::W25q, 1 << 20);
        assert_eq!(protected(1), Protection::Range(0..64 << 10));
        assert_eq!(protected(4), Protection::Range(0..512 << 10));
        assert_eq!(protected(6), Protection::Range(0..1 << 20));
    }
}
