//! Suspending an erase, so that what is elsewhere on the chip can be read meanwhile.
//!
//! The W25Q128 class can (75h and 7Ah); unconfirmed for the FM25Q128A. So the chip at hand has to show it, during an erase that is
//! needed anyway: it is no longer busy when told to suspend, returns what is known elsewhere, is busy again when told to resume, and what
//! was erased reads back as it should. Whatever is odd about that, and it is never done again.
//!
//! A chip that ignores the one command or the other looks ready when it is not done: so no erase that may have been suspended
//! counts as over before the chip, told to resume, has stayed ready.

use std::time::Duration;

use super::error::Error;
use super::opcode;
use super::writing::{Erase, Look, Operation};
use super::{BusyTime, Chip};

/// tSUS of the W25Q128 class is 20 us at most, unconfirmed for the FM25Q128A.
const SUSPEND_TIME: Duration = Duration::from_micros(40);

/// How long an erase must run before it is suspended, first or again: else it would get nowhere.
const LEAST_PROGRESS: Duration = Duration::from_millis(2);

/// An erase that is over this soon is waited for instead.
const SOON: Duration = Duration::from_millis(4);

/// How far it is known that the chip can suspend an erase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Suspending {
    /// Not at all.
    #[default]
    Untried,
    /// It has done so and gone on. Whether the erase was a good one shows when it is read back.
    Shown,
    /// It can.
    Proven,
    /// It cannot, or there was something odd.
    Never,
}

impl Chip {
    /// How far it is known that the chip can suspend an erase.
    pub fn suspending(&self) -> Suspending {
        self.suspending
    }

    /// Whether it is worth suspending `erase` now, be it to try. Where the second register is not known it would not be seen at the
    /// next start that a killed process has left an erase suspended.
    pub fn may_suspend(&self, erase: &Erase) -> bool {
        let running = self.wire.now().saturating_sub(erase.running_since);
        let done = self.wire.now().saturating_sub(erase.operation.began);
        matches!(self.suspending, Suspending::Untried | Suspending::Proven)
            && self.part.registers.are_three()
            // While an erase is suspended, the chip need not hear what has to come before each command in 4-byte mode.
            && self.part.addressing.preparation().is_empty()
            && erase.times.observed() > 0
            && running >= LEAST_PROGRESS
            && erase.suspended <= erase.times.average()
            && done + SOON < erase.times.earliest()
    }

    /// Suspends `erase`; false if the chip does not let itself be suspended. What the erase is about must not be read meanwhile.
    ///
    /// # Errors
    /// [`Error::Spi`].
    pub fn suspend(&mut self, erase: &mut Erase) -> Result<bool, Error> {
        self.may_be_suspended = true;
        let suspended_at = self.wire.now();
        match self.look_after(Some(opcode::SUSPEND), SUSPEND_TIME)? {
            Look::Ready { .. } => {
                erase.suspended_at = suspended_at;
                Ok(true)
            }
            Look::Busy { .. } => {
                self.never_suspend("it stays busy when told to suspend an erase");
                Ok(false)
            }
        }
    }

    /// Lets a suspended erase go on.
    ///
    /// # Errors
    /// [`Error::Spi`].
    pub fn resume(&mut self, erase: &mut Erase) -> Result<(), Error> {
        if let Look::Ready { .. } = self.look_after(Some(opcode::RESUME), Duration::ZERO)? {
            self.never_suspend("it is not busy when told to resume an erase");
        } else if self.suspending == Suspending::Untried {
            self.suspending = Suspending::Shown;
        }
        erase.running_since = self.wire.now();
        let paused = erase.running_since.saturating_sub(erase.suspended_at);
        erase.suspended += paused;
        erase.operation.began += paused;
        Ok(())
    }

    /// What was read during a suspended erase is not what is there.
    pub fn never_suspend(&mut self, reason: &str) {
        log::warn!("this chip's erases are not suspended for readers any more: {reason}");
        self.suspending = Suspending::Never;
    }

    /// Whether everything that was erased and programmed since the last such call reads back as it should.
    pub fn note_verified(&mut self, is_good: bool) {
        match (self.suspending, is_good) {
            (Suspending::Shown, true) => {
                log::info!("the chip has shown that it can suspend an erase for readers");
                self.suspending = Suspending::Proven;
            }
            (Suspending::Shown | Suspending::Proven, false) => {
                self.never_suspend("something did not read back")
            }
            _ => {}
        }
    }

    /// Makes sure that no erase is suspended, whatever has become of an earlier one.
    pub(super) fn end_suspended(&mut self) -> Result<(), Error> {
        if !self.may_be_suspended {
            return Ok(());
        }
        let maximum = self.part.erase_types.iter().map(|erase| erase.maximum).max().unwrap_or_default();
        let began = self.wire.now();
        let operation = Operation { name: "a suspended erase", address: 0, began, maximum };
        let first = self.look_after(Some(opcode::RESUME), Duration::ZERO)?;
        self.wait_from(&operation, &mut BusyTime::default(), first)?;
        self.may_be_suspended = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::Speed;
    use crate::chip::part::Registers;
    use crate::chip::testing::varied;
    use crate::spi::Bus;
    use crate::spi::sim::model::{Configuration, Model};
    use crate::spi::sim::storage::Storage;
    use crate::spi::sim::timing::{BLOCK_ERASE_64K, SUSPEND};
    use crate::spi::sim::{Pace, Simulated};

    fn simulated() -> Simulated {
        let model = Model::new(Storage::memory(varied()), Configuration::default());
        Simulated::from_model(model, Pace::Virtual)
    }

    /// Begins the second erase of a chip, and lets half of it pass.
    fn half_erased(chip: &mut Chip) -> Erase {
        let block = chip.part().erase_types[2].clone();
        chip.erase(0x20_0000, &block).unwrap();
        let erase = chip.begin_erase(0x1_0000, &block).unwrap();
        assert!(chip.rest(&erase, BLOCK_ERASE_64K / 2));
        erase
    }

    #[test]
    fn an_erase_is_suspended_and_resumed_and_counts_only_what_it_has_run() {
        let bus = simulated();
        let model = bus.share();
        let mut chip = Chip::identify(Box::new(bus), Speed::Fixed(32_000_000)).unwrap();
        let mut erase = half_erased(&mut chip);
        assert!(chip.may_suspend(&erase));
        let known = std::mem::replace(&mut chip.part.registers, Registers::First);
        assert!(!chip.may_suspend(&erase), "what is left suspended would not be seen");
        chip.part.registers = known;
        assert!(chip.suspend(&mut erase).unwrap());
        let mut found = [0; 256];
        chip.read(0x5000, &mut found).unwrap();
        assert_eq!(found, varied()[0x5000..0x5100]);
        chip.wire.sleep(BLOCK_ERASE_64K);
        chip.resume(&mut erase).unwrap();
        assert!(!chip.may_suspend(&erase), "it has hardly run since");
        let resumed = chip.wire.now();
        chip.end_erase(erase).unwrap();
        let rest = chip.wire.now() - resumed;
        assert!(rest > BLOCK_ERASE_64K / 3 && rest < BLOCK_ERASE_64K * 2 / 3, "{rest:?}");
        assert_eq!(chip.suspending(), Suspending::Shown);
        chip.note_verified(true);
        assert_eq!(chip.suspending(), Suspending::Proven);
        assert_eq!(model.lock().violations().total(), 0);
    }

    #[test]
    fn after_something_odd_no_erase_is_suspended_any_more() {
        let mut chip = Chip::identify(Box::new(simulated()), Speed::Fixed(32_000_000)).unwrap();
        let mut erase = half_erased(&mut chip);
        assert!(chip.suspend(&mut erase).unwrap());
        chip.resume(&mut erase).unwrap();
        chip.end_erase(erase).unwrap();
        chip.note_verified(false);
        let erase = half_erased(&mut chip);
        assert_eq!((chip.suspending(), chip.may_suspend(&erase)), (Suspending::Never, false));
        chip.end_erase(erase).unwrap();
    }

    #[test]
    fn an_erase_that_a_killed_process_has_left_suspended_is_finished_at_the_start() {
        let mut bus = simulated();
        let model = bus.share();
        for command in [&[0x06][..], &[0xD8, 1, 0, 0]] {
            bus.transfer(&mut [crate::spi::Transaction::command(command)]).unwrap();
        }
        bus.sleep(BLOCK_ERASE_64K / 3);
        bus.transfer(&mut [crate::spi::Transaction::command(&[opcode::SUSPEND])]).unwrap();
        bus.sleep(SUSPEND);
        assert_eq!(model.lock().status_registers()[1] & 0x80, 0x80);
        let mut chip = Chip::identify(Box::new(bus), Speed::Fixed(32_000_000)).unwrap();
        assert_eq!(model.lock().status_registers()[1] & 0x80, 0);
        let mut found = [0; 256];
        chip.read(0x1_0000, &mut found).unwrap();
        assert_eq!(found, [0xFF; 256]);
        assert_eq!(model.lock().violations().total(), 0);
    }
}
