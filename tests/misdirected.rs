//! An erase or program whose address loses a bit on the way: its own place is written in a second attempt, and the place that it
//! went to instead is put right.

mod model_chip;

use std::time::Duration;

use model_chip::mixed_contents;
use norfuse::chip::opcode::{PAGE_PROGRAM, SECTOR_ERASE_4K};
use norfuse::chip::{Chip, Speed};
use norfuse::image::{Image, Options};
use norfuse::spi::sim::model::{Configuration, Model};
use norfuse::spi::sim::storage::Storage;
use norfuse::spi::sim::{Pace, Simulated};
use norfuse::spi::{Bus, Data, Error, Transaction};

/// Flips a bit in the second address byte, once: a command goes 64 KiB astray.
const FLIPPED: u8 = 0x01;

/// Sends the first command with `opcode` astray.
struct Misdirecting {
    bus: Simulated,
    opcode: Option<u8>,
}

impl Bus for Misdirecting {
    fn transfer(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        let astray = transactions.iter().position(|one| self.opcode == one.command.first().copied());
        let Some(index) = astray.filter(|_| self.opcode.is_some()) else {
            return self.bus.transfer(transactions);
        };
        self.opcode = None;
        let mut command = transactions[index].command.to_vec();
        command[1] ^= FLIPPED;
        let mut changed: Vec<Transaction<'_>> = transactions
            .iter_mut()
            .map(|one| Transaction {
                command: one.command,
                delay: one.delay,
                data: match &mut one.data {
                    Data::None => Data::None,
                    Data::Write(bytes) => Data::Write(bytes),
                    Data::Read(bytes) => Data::Read(bytes),
                },
            })
            .collect();
        changed[index].command = &command;
        self.bus.transfer(&mut changed)
    }

    fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        self.bus.set_clock(hz)
    }

    fn clock(&self) -> u32 {
        self.bus.clock()
    }

    fn max_data_len(&self) -> usize {
        self.bus.max_data_len()
    }

    fn now(&self) -> Duration {
        self.bus.now()
    }

    fn sleep(&mut self, duration: Duration) {
        self.bus.sleep(duration);
    }
}

/// Writes `data` at `address` to a chip whose contents are known, with the first command of `opcode` going astray.
fn write_astray(opcode: u8, address: u32, data: &[u8]) {
    let old = mixed_contents();
    let model = Model::new(Storage::memory(old.clone()), Configuration::default());
    let bus = Simulated::from_model(model, Pace::Virtual);
    let chip = bus.share();
    let bus = Misdirecting { bus, opcode: Some(opcode) };
    let chip_at_hand = Chip::identify(Box::new(bus), Speed::Fixed(model_chip::SPEED_HZ)).unwrap();
    let options = Options { read_repeat: 1, scrub: false, journal: None, unlock: None, replay_always: false };
    let image = Image::start(chip_at_hand, options).unwrap();
    model_chip::read(&image, 0..image.size()).unwrap();
    image.write(address, address, data, Box::new(|result| result.unwrap()));
    model_chip::commit(&image).unwrap();
    image.stop().unwrap();
    let mut wanted = old;
    wanted[address as usize..address as usize + data.len()].copy_from_slice(data);
    let found = chip.lock().contents().unwrap();
    let differing = found.iter().zip(&wanted).position(|(found, wanted)| found != wanted);
    assert_eq!(differing.map(|address| format!("{address:#x}")), None);
    assert_eq!(image.report().counts.verify_failures, 1);
}

#[test]
fn a_misdirected_erase_is_repeated_and_what_it_erased_put_back() {
    let old = mixed_contents();
    let address =
        (0..old.len()).step_by(4096).find(|&at| old[at] != 0xFF && old[at + (1 << 16)] != 0xFF).unwrap();
    write_astray(SECTOR_ERASE_4K, u32::try_from(address).unwrap(), &[0xFF]);
}

#[test]
fn a_misdirected_program_is_repeated_and_what_it_overwrote_put_back() {
    let old = mixed_contents();
    let address =
        (0..old.len()).step_by(256).find(|&at| old[at] == 0xFF && old[at + (1 << 16)] != 0x00).unwrap();
    write_astray(PAGE_PROGRAM, u32::try_from(address).unwrap(), &[0x00]);
}
