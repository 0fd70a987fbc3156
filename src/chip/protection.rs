//! Explaining why a chip refuses erases and programs, and unlocking it, no more lastingly than asked for.
//!
//! Whether something is protected shows only by effect. The registers explain it, under all maps that are published for the part,
//! and unlocking clears what would protect under any of them. A part without such a map is not unlocked. Everything in here runs at a slow clock: a bit misread here could be
//! written for good. LB, QE, SRP0, SRP1 and the dummy cycles are never changed for good.

use std::ops::Range;
use std::time::Duration;

use super::error::Error;
use super::opcode;
use super::part::{Part, Registers};
use super::status::{
    BP, MAP_A_SR2_WPS, Protection, SR1_BIT_6, SR2_BIT_6, SR3_WPS, SRP0, StatusRegisters, TB, WEL, WIP,
};
use super::times::BusyTime;
use super::writing::Operation;
use super::{Chip, identify};
use crate::spi::Transaction;

/// What unlocking clears in SR1. Under either map no BP means nothing protected, as long as there is no CMP in SR2.
const SR1_PROTECTION: u8 = BP | TB | SR1_BIT_6;

/// The registers must read the same so often in a row before anything is written that depends on them.
const AGREEING_READINGS: u32 = 3;
const MOST_READINGS: u32 = 12;

/// A non-volatile status register write; W25Q128 class, unconfirmed for the FM25Q128A.
const STATUS_WRITE_TYPICAL: Duration = Duration::from_millis(15);
const STATUS_WRITE_MAXIMUM: Duration = Duration::from_millis(30);

/// How far unlocking may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// What is cleared comes back at power-up.
    Volatile,
    /// BP, TB and SR1 bit 6 are cleared for good.
    Permanent,
}

/// What one step of unlocking has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlocked {
    /// Cleared BP, TB and bit 6 in SR1.
    StatusRegister1,
    /// Opened the individual locks of all blocks. Only an erase or program shows whether that worked.
    BlockLocks,
    /// Cleared bit 6 of SR2 until power-up.
    Complement,
}

/// Whether the registers account for a range that cannot be erased or programmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Some of it is protected under all maps.
    Protected,
    /// It depends on the map, or on locks that the registers do not show.
    Maybe,
    /// There is no map for the part.
    Unknown,
    /// Under no map.
    NotByRegisters,
}

/// What the registers say of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectionState {
    /// Whether they account for its protection.
    pub verdict: Verdict,
    /// The registers.
    pub registers: StatusRegisters,
    /// Which bits are set and what they protect, for people.
    pub text: String,
}

/// What unlocking has changed that is to be put back.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Bits of SR1 that were set.
    sr1: u8,
    /// Bits of SR2 that were set.
    sr2: u8,
    /// Whether the individual locks were opened.
    locks: bool,
    /// The same, since the chip was last known to have power.
    pub(super) locks_opened: bool,
}

impl Chip {
    /// Explains, from the registers as they are now, why `range` cannot be erased or programmed.
    ///
    /// # Errors
    /// [`Error::UnstableStatus`], [`Error::Spi`].
    pub fn explain(&mut self, range: Range<u32>) -> Result<ProtectionState, Error> {
        let registers = self.at_slow_clock(Self::agreed_status)?;
        Ok(explain(registers, &range, &self.part))
    }

    /// Takes the next step of unlocking; for use when an erase or program was seen to change nothing. Then try again, and
    /// call this again if the chip still refuses: BP bits in SR1 come first, then the locks of blocks, then SR2 bit 6.
    ///
    /// # Errors
    /// [`Error::UnknownProtection`] when nothing is known of the part's, [`Error::NeedsPermanent`], [`Error::StatusLocked`] or [`Error::ComplementSet`] when the registers do not yield that
    /// way, [`Error::NothingToUnlock`] when nothing is left to clear, [`Error::StatusNotTaken`] when a register took
    /// another value, [`Error::UnstableStatus`], [`Error::TimedOut`], [`Error::Spi`].
    pub fn unlock(&mut self, how: Unlock) -> Result<Unlocked, Error> {
        self.at_slow_clock(|chip| {
            let registers = chip.agreed_status()?;
            if chip.part.registers.maps().is_empty() {
                return Err(Error::UnknownProtection { registers });
            }
            let [sr1, sr2, _] = registers.present();
            if how == Unlock::Permanent && sr2 & SR2_BIT_6 != 0 {
                return Err(Error::ComplementSet { registers });
            }
            if sr1 & SR1_PROTECTION != 0 {
                chip.clear_status_1(registers, how)?;
                return Ok(Unlocked::StatusRegister1);
            }
            if has_individual_locks(registers, &chip.part) && !chip.changes.locks_opened {
                chip.changes.locks = true;
                chip.changes.locks_opened = true;
                chip.write_enabled(opcode::GLOBAL_BLOCK_UNLOCK)?;
                return Ok(Unlocked::BlockLocks);
            }
            if sr2 & SR2_BIT_6 != 0 {
                chip.clear_complement(registers)?;
                return Ok(Unlocked::Complement);
            }
            Err(Error::NothingToUnlock { registers })
        })
    }

    /// Puts back what [`unlock`](Self::unlock) has changed until power-up, and closes the locks of all blocks if it opened
    /// them, as they are at power-up. What was cleared for good stays so. Nothing to put back is no error.
    ///
    /// # Errors
    /// [`Error::StatusNotTaken`], [`Error::UnstableStatus`], [`Error::TimedOut`], [`Error::Spi`]. As much as can be is put
    /// back all the same, and calling again tries the rest.
    pub fn restore(&mut self) -> Result<(), Error> {
        if self.changes.sr1 | self.changes.sr2 == 0 && !self.changes.locks {
            return Ok(());
        }
        self.at_slow_clock(|chip| {
            let status_1 = chip.restore_status_1();
            let locks = chip.restore_locks();
            let complement = chip.restore_complement();
            status_1.and(locks).and(complement)
        })
    }

    fn clear_status_1(&mut self, before: StatusRegisters, how: Unlock) -> Result<(), Error> {
        let old = settled(before.0[0]);
        let wanted = old & !SR1_PROTECTION;
        let found = self.write_status_1(wanted, before, how)?;
        if found != old && how == Unlock::Volatile {
            self.changes.sr1 |= old & SR1_PROTECTION;
        }
        match found {
            _ if found == wanted => Ok(()),
            _ if found != old => Err(Error::StatusNotTaken { register: 1, wanted, found }),
            _ if how == Unlock::Volatile => Err(Error::NeedsPermanent { registers: before }),
            _ => Err(Error::StatusLocked { registers: before }),
        }
    }

    fn clear_complement(&mut self, before: StatusRegisters) -> Result<(), Error> {
        let old = before.0[1];
        let wanted = old & !SR2_BIT_6;
        let found = self.write_status_2(wanted, Unlock::Volatile)?;
        if found == old {
            return Err(Error::StatusLocked { registers: before });
        }
        self.changes.sr2 |= SR2_BIT_6;
        if found != wanted {
            return Err(Error::StatusNotTaken { register: 2, wanted, found });
        }
        // Under map B the bit counts dummy cycles.
        self.compare_read_commands()
    }

    fn restore_status_1(&mut self) -> Result<(), Error> {
        let before = self.agreed_status()?;
        let wanted = settled(before.0[0]) | self.changes.sr1;
        if wanted != settled(before.0[0]) {
            let found = self.write_status_1(wanted, before, Unlock::Volatile)?;
            if found != wanted {
                return Err(Error::StatusNotTaken { register: 1, wanted, found });
            }
        }
        self.changes.sr1 = 0;
        Ok(())
    }

    fn restore_locks(&mut self) -> Result<(), Error> {
        if self.changes.locks {
            self.write_enabled(opcode::GLOBAL_BLOCK_LOCK)?;
            self.changes.locks = false;
            self.changes.locks_opened = false;
        }
        Ok(())
    }

    fn restore_complement(&mut self) -> Result<(), Error> {
        if self.changes.sr2 == 0 {
            return Ok(());
        }
        let before = self.agreed_status()?.0[1];
        let wanted = before | self.changes.sr2;
        if wanted != before {
            let found = self.write_status_2(wanted, Unlock::Volatile)?;
            if found != wanted {
                return Err(Error::StatusNotTaken { register: 2, wanted, found });
            }
        }
        self.changes.sr2 = 0;
        self.compare_read_commands()
    }

    /// Writes SR1 alone and returns what it reads then. Some parts clear SR2 with it; that is undone.
    fn write_status_1(&mut self, value: u8, before: StatusRegisters, how: Unlock) -> Result<u8, Error> {
        let after = self.write_status(opcode::WRITE_STATUS_1, value, how)?;
        let wanted = before.0[1];
        if after.0[1] != wanted {
            let found = self.write_status_2(wanted, how)?;
            if found != wanted {
                return Err(Error::StatusNotTaken { register: 2, wanted, found });
            }
        }
        Ok(settled(after.0[0]))
    }

    fn write_status_2(&mut self, value: u8, how: Unlock) -> Result<u8, Error> {
        Ok(self.write_status(opcode::WRITE_STATUS_2, value, how)?.0[1])
    }

    fn write_status(&mut self, opcode: u8, value: u8, how: Unlock) -> Result<StatusRegisters, Error> {
        let enable = match how {
            Unlock::Volatile => opcode::VOLATILE_STATUS_WRITE_ENABLE,
            Unlock::Permanent => opcode::WRITE_ENABLE,
        };
        self.wire.run(&mut [
            // A refused program can leave WEL set, and then a volatile write would be one for good.
            Transaction::command(&[opcode::WRITE_DISABLE]),
            Transaction::command(&[enable]),
            Transaction::write(&[opcode], &[value]),
        ])?;
        let typical = match how {
            Unlock::Volatile => Duration::ZERO,
            Unlock::Permanent => STATUS_WRITE_TYPICAL,
        };
        self.wait_for_registers("a status register write", typical)?;
        self.agreed_status()
    }

    fn write_enabled(&mut self, opcode: u8) -> Result<(), Error> {
        self.wire
            .run(&mut [Transaction::command(&[opcode::WRITE_ENABLE]), Transaction::command(&[opcode])])?;
        self.wait_for_registers("a global block lock or unlock", Duration::ZERO)
    }

    fn wait_for_registers(&mut self, name: &'static str, typical: Duration) -> Result<(), Error> {
        let began = self.wire.now();
        let operation = Operation { name, address: 0, began, maximum: STATUS_WRITE_MAXIMUM };
        self.wait(&operation, &mut BusyTime::new(typical))
    }

    fn agreed_status(&mut self) -> Result<StatusRegisters, Error> {
        let mut last = identify::read_status(&mut self.wire, self.part.registers)?;
        let mut other = last;
        let mut agreeing = 1;
        for _ in 1..MOST_READINGS {
            let reading = identify::read_status(&mut self.wire, self.part.registers)?;
            if reading == last {
                agreeing += 1;
            } else {
                other = last;
                agreeing = 1;
            }
            if agreeing == AGREEING_READINGS {
                return Ok(reading);
            }
            last = reading;
        }
        Err(Error::UnstableStatus { first: other, second: last })
    }
}

/// SR1 without what the chip itself changes.
fn settled(sr1: u8) -> u8 {
    sr1 & !(WEL | WIP)
}

/// What is protected under each of the maps of `part`.
fn protections(registers: StatusRegisters, part: &Part) -> Vec<Protection> {
    part.registers.maps().iter().map(|&map| registers.protection(map, part.size)).collect()
}

fn has_individual_locks(registers: StatusRegisters, part: &Part) -> bool {
    protections(registers, part).contains(&Protection::IndividualLocks)
}

fn explain(registers: StatusRegisters, range: &Range<u32>, part: &Part) -> ProtectionState {
    let protections = protections(registers, part);
    let covered: Vec<_> = protections.iter().map(|protection| covers(protection, range)).collect();
    let is_always = |wanted| covered.iter().all(|&covers| covers == Some(wanted));
    let verdict = if is_always(true) {
        Verdict::Protected
    } else if is_always(false) {
        Verdict::NotByRegisters
    } else {
        Verdict::Maybe
    };
    let protects = match &protections[..] {
        [] => {
            let text = format!("{registers}; what they protect on this part is not known to norfuse");
            return ProtectionState { verdict: Verdict::Unknown, registers, text };
        }
        [only] => format!("protects {}", name(only)),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => {
            format!("protects {} under both published register maps", name(first))
        }
        [first, second, ..] => format!(
            "protects {} under one published register map, {} under the other",
            name(first),
            name(second)
        ),
    };
    let mut text = format!("{registers}: {} ({protects})", set_bits(registers, bits(part.registers)));
    if registers.0[0] & SRP0 != 0 {
        text.push_str("; SRP0 is set: these bits can only be changed while WP# is at 3.3 V");
    }
    ProtectionState { verdict, registers, text }
}

/// Whether some of `range` is protected, where the registers tell.
fn covers(protection: &Protection, range: &Range<u32>) -> Option<bool> {
    match protection {
        Protection::None => Some(false),
        Protection::Range(protected) => Some(range.start < protected.end && protected.start < range.end),
        Protection::IndividualLocks => None,
    }
}

fn name(protection: &Protection) -> String {
    match protection {
        Protection::None => "nothing".to_owned(),
        Protection::Range(range) => format!("{:#08x}-{:#08x}", range.start, range.end.saturating_sub(1)),
        Protection::IndividualLocks => "each block by a lock of its own".to_owned(),
    }
}

/// A bit that has to do with protection: index of the register, mask and name.
type Bit = (usize, u8, &'static str);

fn bits(registers: Registers) -> &'static [Bit] {
    match registers {
        Registers::First | Registers::Three => &[],
        Registers::W25q => &W25Q_BITS,
        Registers::Fm25q => &FM25Q_BITS,
    }
}

const W25Q_BITS: [Bit; 8] = [
    (0, SRP0, "SRP0"),
    (0, SR1_BIT_6, "SEC"),
    (0, TB, "TB"),
    (0, 1 << 4, "BP2"),
    (0, 1 << 3, "BP1"),
    (0, 1 << 2, "BP0"),
    (1, SR2_BIT_6, "CMP"),
    (2, SR3_WPS, "WPS"),
];

/// In the names, `/` stands between the maps.
const FM25Q_BITS: [Bit; 9] = [
    (0, SRP0, "SRP0"),
    (0, SR1_BIT_6, "SEC/CMP"),
    (0, TB, "TB"),
    (0, 1 << 4, "BP2"),
    (0, 1 << 3, "BP1"),
    (0, 1 << 2, "BP0"),
    (1, SR2_BIT_6, "SR2 bit 6 (CMP/DC0)"),
    (1, MAP_A_SR2_WPS, "SR2 bit 3 (WPS/none)"),
    (2, SR3_WPS, "SR3 bit 2 (none/WPS)"),
];

/// `BP1 BP0 set`.
fn set_bits(registers: StatusRegisters, bits: &[Bit]) -> String {
    let values = registers.present();
    let names: Vec<&str> = bits
        .iter()
        .filter(|&&(register, mask, _)| values[register] & mask != 0)
        .map(|&(_, _, name)| name)
        .collect();
    if names.is_empty() { "no protection bit set".to_owned() } else { format!("{} set", names.join(" ")) }
}

#[cfg(test)]
mod tests;
