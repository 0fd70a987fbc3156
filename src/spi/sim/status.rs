//! The status registers: which bits a map has, what they protect, and how volatile and
//! non-volatile values differ. BUSY and WEL are the model's; here they are only places in SR1.

use std::ops::Range;

use super::storage::CHIP_SIZE;

/// SR1: an operation is in progress.
pub const BUSY: u8 = 0x01;
/// SR1: write enable latch.
pub const WEL: u8 = 0x02;
/// SR3: 4-byte mode, on parts of more than 16 MiB.
pub const ADS: u8 = 0x01;
/// SR2 of map A: the one-time lock of the security registers.
pub const LB: u8 = 0x04;
/// SR2 of map A: with SRP0 clear, locks the status registers until power is cycled; with SRP0
/// set, for ever. W25Q128 class, unconfirmed for this part.
pub const SRP1: u8 = 0x01;

const SRP0: u8 = 0x80;
const SUS: u8 = 0x80;
const BIT6: u8 = 0x40;
const TB: u8 = 0x20;

/// BP2 to BP0 of SR1, in both layouts.
const BP: u8 = 0b111 << 2;

/// Which of the two published layouts the status registers have. Both go by the id A1 40 18.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RegisterMap {
    /// SR1 `SRP0 SEC TB BP2 BP1 BP0 WEL BUSY`, SR2 `SUS CMP - - WPS LB QE SRP1`, no SR3.
    #[default]
    A,
    /// SR1 `SRP CMP TB BP2 BP1 BP0 WEL BUSY`, SR2 `DC1 DC0 - - - - QE -`, SR3 with WPS in bit 2.
    B,
}

impl RegisterMap {
    /// Bits of each register that a status write can change.
    fn writable(self) -> [u8; 3] {
        match self {
            Self::A => [0xfc, 0x4f, 0x00],
            Self::B => [0xfc, 0xc2, 0x04],
        }
    }

    /// Bits of each register that must be written as they are read.
    fn reserved(self) -> [u8; 3] {
        match self {
            Self::A => [0x00, 0x30, 0x00],
            Self::B => [0x00, 0x3d, 0xfb],
        }
    }

    /// Bits of each register that are set once and never cleared.
    fn one_time(self) -> [u8; 3] {
        match self {
            Self::A => [0, LB, 0],
            Self::B => [0; 3],
        }
    }
}

/// The three status registers without BUSY and WEL.
#[derive(Debug, Clone)]
pub(super) struct Registers {
    map: RegisterMap,
    live: [u8; 3],
    non_volatile: [u8; 3],
}

impl Registers {
    /// Registers as they come up with these non-volatile values.
    pub(super) fn new(map: RegisterMap, non_volatile: [u8; 3]) -> Self {
        let mut masked = non_volatile;
        for (value, writable) in masked.iter_mut().zip(map.writable()) {
            *value &= writable;
        }
        Self { map, live: masked, non_volatile: masked }
    }

    /// Sets BP2 to BP0, by whatever way that was done before the chip came here.
    pub(super) fn protect_blocks(&mut self, bits: u8) {
        self.non_volatile[0] = self.non_volatile[0] & !BP | (bits << BP.trailing_zeros()) & BP;
        self.live[0] = self.live[0] & !BP | self.non_volatile[0] & BP;
    }

    /// Forgets volatile values, as a power cycle or a reset does.
    pub(super) fn reload(&mut self) {
        self.live = self.non_volatile;
    }

    /// Ends a lock that lasts until the next power-up.
    pub(super) fn power_up(&mut self) {
        if self.map == RegisterMap::A && self.non_volatile[0] & SRP0 == 0 {
            self.non_volatile[1] &= !SRP1;
        }
        self.reload();
    }

    /// The bit of SR2 that shows a suspended erase, where the map has one.
    pub(super) fn suspended_bit(&self) -> u8 {
        if self.map == RegisterMap::A { SUS } else { 0 }
    }

    /// The values in force.
    pub(super) fn live(&self) -> [u8; 3] {
        self.live
    }

    /// Whether the map has this register, counted from 0.
    pub(super) fn has(&self, index: usize) -> bool {
        index < 2 || self.map == RegisterMap::B
    }

    /// Whether SRP1 refuses every status write. The WP# pin is taken to be high, so SRP0 alone refuses none.
    pub(super) fn locked(&self) -> bool {
        self.map == RegisterMap::A && self.live[1] & SRP1 != 0
    }

    /// Writes register `index`, and says whether `value` left reserved and one-time bits as they were.
    ///
    /// A one-time bit is only ever set, and only by a non-volatile write.
    pub(super) fn write(&mut self, index: usize, value: u8, volatile: bool) -> bool {
        let one_time = self.map.one_time()[index];
        let untouched = self.map.reserved()[index] | one_time;
        let clean = (value ^ self.live[index]) & untouched == 0;

        let plain = self.map.writable()[index] & !one_time;
        let merge = |old: u8| old & !plain | value & plain;
        self.live[index] = merge(self.live[index]);
        if !volatile {
            self.non_volatile[index] = merge(self.non_volatile[index]);
            for register in [&mut self.live[index], &mut self.non_volatile[index]] {
                *register |= value & one_time;
            }
        }
        clean
    }

    /// Whether the security registers are locked for good.
    pub(super) fn security_locked(&self) -> bool {
        self.map == RegisterMap::A && self.live[1] & LB != 0
    }

    /// Whether individual block locks take the place of the BP bits.
    pub(super) fn individual_locks(&self) -> bool {
        match self.map {
            RegisterMap::A => self.live[1] & 0x08 != 0,
            RegisterMap::B => self.live[2] & 0x04 != 0,
        }
    }

    /// Dummy bytes that fast read needs beyond the chip's own. Map B's DC bits are taken to count
    /// them; their true encoding is not public.
    pub(super) fn extra_dummies(&self) -> u8 {
        match self.map {
            RegisterMap::A => 0,
            RegisterMap::B => self.live[1] >> 6,
        }
    }

    /// Whether the BP bits protect any byte of `range`.
    pub(super) fn protects(&self, range: &Range<u32>) -> bool {
        let block = self.block_protected();
        if self.complement() {
            block.is_empty() || range.start < block.start || range.end > block.end
        } else {
            !block.is_empty() && range.start < block.end && block.start < range.end
        }
    }

    fn complement(&self) -> bool {
        match self.map {
            RegisterMap::A => self.live[1] & BIT6 != 0,
            RegisterMap::B => self.live[0] & BIT6 != 0,
        }
    }

    /// The range that BP, TB and SEC name, before CMP. W25Q128 style.
    fn block_protected(&self) -> Range<u32> {
        let status = self.live[0];
        let sectors = self.map == RegisterMap::A && status & BIT6 != 0;
        let len = match (status >> 2) & 7 {
            0 => 0,
            7 => CHIP_SIZE,
            level if sectors => (0x1000 << (level - 1)).min(0x8000),
            level => 0x4_0000 << (level - 1),
        };
        if status & TB != 0 { 0..len } else { CHIP_SIZE - len..CHIP_SIZE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start and end of each protected range of a chip with these registers.
    fn protected(map: RegisterMap, non_volatile: [u8; 3]) -> Vec<(u32, u32)> {
        let registers = Registers::new(map, non_volatile);
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for sector in (0..CHIP_SIZE).step_by(4096) {
            if !registers.protects(&(sector..sector + 4096)) {
                continue;
            }
            match ranges.last_mut() {
                Some((_, end)) if *end == sector => *end = sector + 4096,
                _ => ranges.push((sector, sector + 4096)),
            }
        }
        ranges
    }

    #[test]
    fn bp_bits_protect_from_the_top_or_bottom_in_both_maps() {
        for map in [RegisterMap::A, RegisterMap::B] {
            assert_eq!(protected(map, [0x00, 0, 0]), []);
            assert_eq!(protected(map, [0x04, 0, 0]), [(0xfc0000, CHIP_SIZE)]);
            assert_eq!(protected(map, [0x18, 0, 0]), [(0x800000, CHIP_SIZE)]);
            assert_eq!(protected(map, [0x1c, 0, 0]), [(0, CHIP_SIZE)]);
            assert_eq!(protected(map, [0x24, 0, 0]), [(0, 0x040000)]);
            assert_eq!(protected(map, [0x38, 0, 0]), [(0, 0x800000)]);
        }
    }

    #[test]
    fn sec_protects_sectors_up_to_32k_in_map_a() {
        assert_eq!(protected(RegisterMap::A, [0x44, 0, 0]), [(0xfff000, CHIP_SIZE)]);
        assert_eq!(protected(RegisterMap::A, [0x68, 0, 0]), [(0, 0x2000)]);
        assert_eq!(protected(RegisterMap::A, [0x70, 0, 0]), [(0, 0x8000)]);
        assert_eq!(protected(RegisterMap::A, [0x74, 0, 0]), [(0, 0x8000)]);
        assert_eq!(protected(RegisterMap::A, [0x5c, 0, 0]), [(0, CHIP_SIZE)]);
    }

    #[test]
    fn cmp_protects_the_complement_where_each_map_has_it() {
        assert_eq!(protected(RegisterMap::A, [0x04, 0x40, 0]), [(0, 0xfc0000)]);
        assert_eq!(protected(RegisterMap::A, [0x00, 0x40, 0]), [(0, CHIP_SIZE)]);
        assert_eq!(protected(RegisterMap::A, [0x1c, 0x40, 0]), []);
        assert_eq!(protected(RegisterMap::B, [0x64, 0, 0]), [(0x040000, CHIP_SIZE)]);
        assert_eq!(protected(RegisterMap::B, [0x04, 0x40, 0]), [(0xfc0000, CHIP_SIZE)]);
    }

    #[test]
    fn a_volatile_value_is_lost_and_a_non_volatile_one_kept() {
        let mut registers = Registers::new(RegisterMap::A, [0; 3]);
        assert!(registers.write(0, 0x04, true));
        assert_eq!(registers.live()[0], 0x04);
        registers.reload();
        assert_eq!(registers.live()[0], 0);
        assert!(registers.write(0, 0x08, false));
        registers.reload();
        assert_eq!(registers.live()[0], 0x08);
    }

    #[test]
    fn lb_is_set_for_good_and_only_by_a_non_volatile_write() {
        let mut registers = Registers::new(RegisterMap::A, [0; 3]);
        assert!(!registers.write(1, LB, true));
        assert!(!registers.security_locked());
        assert!(!registers.write(1, LB, false));
        assert!(registers.security_locked());
        assert!(!registers.write(1, 0, false));
        registers.power_up();
        assert!(registers.security_locked());
    }

    #[test]
    fn reserved_bits_are_not_stored_and_not_clean() {
        let mut registers = Registers::new(RegisterMap::B, [0; 3]);
        assert!(!registers.write(2, 0xff, false));
        assert_eq!(registers.live()[2], 0x04);
        assert!(registers.write(2, 0x00, false));
    }

    #[test]
    fn srp1_alone_locks_until_power_up_and_with_srp0_for_ever() {
        let mut registers = Registers::new(RegisterMap::A, [0x00, SRP1, 0]);
        assert!(registers.locked());
        registers.power_up();
        assert!(!registers.locked());
        let mut registers = Registers::new(RegisterMap::A, [SRP0, SRP1, 0]);
        registers.power_up();
        assert!(registers.locked());
    }
}
