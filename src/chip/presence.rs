//! Whether the chip from the start is still there, or there again. Not for what to do about it.

use super::Chip;
use super::error::Error;
use super::identify;
use super::part::Identifiers;

/// How often an id may be misread before its chip counts as gone, or as another.
const ATTEMPTS: usize = 3;

impl Chip {
    /// Asks for the JEDEC id again, and twice more while it is not the one from the start: that may be noise.
    ///
    /// # Errors
    /// [`Error::Gone`] when the chip does not answer with its id, [`Error::Spi`].
    pub fn check_present(&mut self) -> Result<(), Error> {
        let mut found = self.wire.jedec_id()?;
        for _ in 1..ATTEMPTS {
            if found == self.id {
                return Ok(());
            }
            found = self.wire.jedec_id()?;
        }
        if found == self.id { Ok(()) } else { Err(Error::Gone { expected: self.id, found }) }
    }

    /// Whether the chip is there again after it was gone, awake and readable: at a slow clock, by its JEDEC id and, where
    /// it has one, its unique id. How it must be read is found out anew. It may have lost power: what was unlocked may be
    /// locked again.
    ///
    /// # Errors
    /// [`Error::Gone`] or [`Error::UnstableId`] when it is not there, [`Error::OtherChip`] when another one is,
    /// [`Error::Addressing`], [`Error::Spi`].
    pub fn check_returned(&mut self) -> Result<(), Error> {
        self.at_slow_clock(|chip| {
            chip.check_identifiers()?;
            chip.changes.locks_opened = false;
            chip.check_addressing()?;
            chip.compare_read_commands()
        })
    }

    fn check_identifiers(&mut self) -> Result<(), Error> {
        let mut jedec_id = identify::stable_id(&mut self.wire)?;
        if jedec_id.is_nobody() {
            // It may still be at what it was doing when it went.
            identify::wait_while_busy(&mut self.wire)?;
            identify::release_power_down(&mut self.wire)?;
            jedec_id = identify::stable_id(&mut self.wire)?;
        }
        if jedec_id.is_nobody() {
            return Err(Error::Gone { expected: self.id, found: jedec_id });
        }
        let expected = Identifiers { jedec_id: self.id, unique_id: self.unique_id.clone() };
        let mut found = Identifiers { jedec_id, unique_id: None };
        if self.unique_id.is_some() {
            for _ in 0..ATTEMPTS {
                found.unique_id = identify::read_unique_id(&mut self.wire, self.part.addressing)?;
                if found.unique_id == expected.unique_id {
                    break;
                }
            }
        }
        if found == expected { Ok(()) } else { Err(Error::OtherChip { expected, found }) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;
    use crate::chip::testing::{Tampered, varied};
    use crate::chip::{ReadMode, Speed};
    use crate::spi::sim::model::{Configuration, Model};
    use crate::spi::sim::storage::Storage;
    use crate::spi::sim::{Pace, Simulated};

    fn chip() -> (Chip, Arc<Mutex<Model>>) {
        let bus = Simulated::from_model(model(Configuration::default()), Pace::Virtual);
        let model = bus.share();
        (Chip::identify(Box::new(bus), Speed::Auto).unwrap(), model)
    }

    fn model(configuration: Configuration) -> Model {
        Model::new(Storage::memory(varied()), configuration)
    }

    fn assert_reads_contents(chip: &mut Chip) {
        let mut data = [0; 512];
        chip.read(0xA000, &mut data).unwrap();
        assert_eq!(data, varied()[0xA000..0xA000 + 512]);
    }

    #[test]
    fn a_chip_is_gone_while_disconnected_and_readable_when_it_returns() {
        let (mut chip, model) = chip();
        let clock = chip.clock();
        model.lock().set_faults("disconnected".parse().unwrap());
        assert!(matches!(chip.check_present(), Err(Error::Gone { .. })));
        assert!(matches!(chip.check_returned(), Err(Error::Gone { .. })));
        model.lock().set_faults("stuck-low".parse().unwrap());
        assert!(matches!(chip.check_returned(), Err(Error::Gone { .. })));
        model.lock().set_faults("".parse().unwrap());
        model.lock().power_cycle();
        chip.check_present().unwrap();
        chip.check_returned().unwrap();
        assert_eq!(chip.clock(), clock);
        assert_reads_contents(&mut chip);
    }

    #[test]
    fn a_chip_that_returns_powered_down_is_woken() {
        let (mut chip, _model) = chip();
        chip.wire.command(0xB9).unwrap();
        assert!(matches!(chip.check_present(), Err(Error::Gone { .. })));
        chip.check_returned().unwrap();
        chip.check_present().unwrap();
        assert_reads_contents(&mut chip);
    }

    #[test]
    fn one_misread_id_is_noise() {
        let misreads = Arc::new(Mutex::new(0));
        let shared = Arc::clone(&misreads);
        let bus = Simulated::from_model(model(Configuration::default()), Pace::Virtual);
        let bus = Tampered::new(bus).with_reads(move |_, data| {
            let mut left = shared.lock();
            if *left > 0 && data.len() == 3 {
                *left -= 1;
                data[1] ^= 1;
            }
        });
        let mut chip = Chip::identify(Box::new(bus), Speed::Auto).unwrap();
        *misreads.lock() = 1;
        chip.check_present().unwrap();
        assert_eq!(*misreads.lock(), 0);
        *misreads.lock() = ATTEMPTS;
        assert!(matches!(chip.check_present(), Err(Error::Gone { .. })));
    }

    #[test]
    fn another_chip_of_the_same_kind_or_of_another_is_refused() {
        let others = [
            Configuration { unique_id: Some(*b"another1"), ..Configuration::default() },
            Configuration { unique_id: None, ..Configuration::default() },
            Configuration { jedec_id: [0xEF, 0x40, 0x18], ..Configuration::default() },
        ];
        for configuration in others {
            let (mut chip, shared) = chip();
            *shared.lock() = model(configuration);
            let error = chip.check_returned().unwrap_err();
            assert!(matches!(error, Error::OtherChip { .. }), "{error}");
        }
    }

    #[test]
    fn a_chip_without_a_unique_id_is_known_by_its_jedec_id() {
        let configuration = Configuration { unique_id: None, ..Configuration::default() };
        let bus = Simulated::from_model(model(configuration), Pace::Virtual);
        let mut chip = Chip::identify(Box::new(bus), Speed::Auto).unwrap();
        chip.check_returned().unwrap();
    }

    #[test]
    fn a_chip_that_returns_with_another_dummy_count_is_read_correctly() {
        let (mut chip, shared) = chip();
        *shared.lock() = model(Configuration { fast_read_dummies: 3, ..Configuration::default() });
        chip.check_returned().unwrap();
        assert_eq!(chip.read_mode(), ReadMode::FastDiffers);
        assert_reads_contents(&mut chip);
    }
}
