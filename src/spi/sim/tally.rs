//! What the simulated chip was asked to do ([`Counters`]) and what it was asked wrongly
//! ([`Violations`]). Only counts; refusing is the model's part.

use std::fmt;

/// Work that the chip has done since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Periods of asserted chip select that the chip saw.
    pub frames: u64,
    /// Frames that read a status register.
    pub status_reads: u64,
    /// Status register writes that took effect, volatile ones too.
    pub status_writes: u64,
    /// Bytes of the memory array that were shifted out.
    pub bytes_read: u64,
    /// Page programs of the memory array.
    pub pages_programmed: u64,
    /// Erases of 4 KiB.
    pub sectors_erased: u64,
    /// Erases of 32 KiB.
    pub blocks_32k_erased: u64,
    /// Erases of 64 KiB.
    pub blocks_64k_erased: u64,
    /// Erases of the whole chip.
    pub chip_erases: u64,
}

/// A way to use a chip wrongly, or an attempt that it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// An opcode other than a status read while the chip was busy, or before it was awake again
    /// after a reset or the release from power-down. Ignored.
    Busy,
    /// An opcode other than `ABh` in deep power-down. Ignored.
    PoweredDown,
    /// A command that needs WEL without it. Ignored.
    WriteDisabled,
    /// A program whose data ran over its page's end. Carried out, wrapped to the page's start.
    PageOverrun,
    /// A program without data. Ignored.
    ProgramWithoutData,
    /// An erase whose address is not its unit's first. Carried out on the unit around it.
    UnalignedErase,
    /// A read that ran over the chip's end and wrapped to 0, or the address of a security
    /// register that does not exist.
    BeyondChip,
    /// An opcode that the chip does not have, or that needs more data lanes. Ignored.
    UnknownOpcode,
    /// A frame that ended within its address, dummy or data bytes. Ignored.
    Truncated,
    /// A command with bytes behind its end. Ignored.
    Overlong,
    /// A clock above the opcode's limit. Carried out, since the model knows no signal integrity.
    TooFast,
    /// An erase, program or status write of something that is protected. Ignored, WEL is cleared.
    Protected,
    /// A program that would have had to turn a 0 into a 1. The bit stays 0.
    SetsBits,
    /// A status write that would change a reserved bit, or that touches the one-time bit LB.
    ReservedBits,
    /// A reset `99h` that did not directly follow `66h`. Ignored.
    ResetNotEnabled,
    /// While an erase was suspended, an opcode that the chip hears only when none is. Ignored.
    Suspended,
    /// A read of what is suspended half way through its erase.
    SuspendedRead,
    /// A suspend too soon after the erase began or went on. Ignored.
    SuspendTooSoon,
}

impl Violation {
    /// Every kind, in the order of its discriminant.
    pub const ALL: [Self; 18] = [
        Self::Busy,
        Self::PoweredDown,
        Self::WriteDisabled,
        Self::PageOverrun,
        Self::ProgramWithoutData,
        Self::UnalignedErase,
        Self::BeyondChip,
        Self::UnknownOpcode,
        Self::Truncated,
        Self::Overlong,
        Self::TooFast,
        Self::Protected,
        Self::SetsBits,
        Self::ReservedBits,
        Self::ResetNotEnabled,
        Self::Suspended,
        Self::SuspendedRead,
        Self::SuspendTooSoon,
    ];
}

/// How often each kind of [`Violation`] happened. Its `Debug` form shows only what did.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Violations([u64; Violation::ALL.len()]);

impl Violations {
    /// How often `violation` happened.
    pub fn count(&self, violation: Violation) -> u64 {
        self.0[violation as usize]
    }

    /// How many happened, of all kinds.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    pub(super) fn add(&mut self, violation: Violation) {
        self.0[violation as usize] += 1;
    }
}

impl fmt::Debug for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let happened = Violation::ALL.into_iter().filter(|&kind| self.count(kind) > 0);
        f.debug_map().entries(happened.map(|kind| (kind, self.count(kind)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_count_of_its_own() {
        let mut violations = Violations::default();
        for (index, kind) in Violation::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            violations.add(kind);
            assert_eq!(violations.count(kind), 1);
        }
        assert_eq!(violations.total(), 18);
    }

    #[test]
    fn debug_shows_only_what_happened() {
        let mut violations = Violations::default();
        assert_eq!(format!("{violations:?}"), "{}");
        violations.add(Violation::Busy);
        assert_eq!(format!("{violations:?}"), "{Busy: 1}");
    }
}
