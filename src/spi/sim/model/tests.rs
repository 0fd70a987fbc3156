//! The model as a host sees it, byte by byte.

use std::time::Duration;

use super::{Configuration, Model};
use crate::spi::sim::faults::Faults;
use crate::spi::sim::status::RegisterMap;
use crate::spi::sim::storage::Storage;
use crate::spi::sim::tally::Violation;
use crate::spi::sim::timing::Times;

mod faults;
mod reading;
mod registers;
mod suspending;
mod writing;

/// A host that drives the model directly, in its own time.
struct Host {
    model: Model,
    now: Duration,
    clock_hz: u32,
}

impl Host {
    /// A host with an erased chip.
    fn new() -> Self {
        Self::with(Configuration::default())
    }

    fn with(configuration: Configuration) -> Self {
        Self { model: Model::new(Storage::erased(), configuration), now: Duration::ZERO, clock_hz: 8_000_000 }
    }

    /// A host whose chip has this register map and these non-volatile status registers.
    fn with_status(register_map: RegisterMap, status_registers: [u8; 3]) -> Self {
        Self::with(Configuration { register_map, status_registers, ..Configuration::default() })
    }

    fn with_faults(words: &str) -> Self {
        let mut host = Self::with(Configuration { times: Times::INSTANT, ..Configuration::default() });
        host.model.set_faults(words.parse::<Faults>().unwrap());
        host
    }

    /// One frame that only sends.
    fn send(&mut self, bytes: &[u8]) {
        self.read(bytes, 0);
    }

    /// One frame that sends and then reads `len` bytes.
    fn read(&mut self, bytes: &[u8], len: usize) -> Vec<u8> {
        let mut answer = vec![0x55; len];
        self.model.select(self.now, self.clock_hz);
        self.model.exchange(Some(bytes), None).unwrap();
        self.model.exchange(None, Some(&mut answer)).unwrap();
        self.now += Duration::from_micros((bytes.len() + len) as u64);
        self.model.deselect(self.now).unwrap();
        answer
    }

    /// Write enable, then one frame of these bytes, then all the time it can take.
    fn write(&mut self, bytes: &[u8]) {
        self.send(&[0x06]);
        self.send(bytes);
        self.wait(Duration::from_secs(60));
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
    }

    fn status(&mut self) -> u8 {
        self.read(&[0x05], 1)[0]
    }

    fn status_registers(&mut self) -> [u8; 3] {
        [0x05, 0x35, 0x15].map(|opcode| self.read(&[opcode], 1)[0])
    }

    fn peek(&self, address: u32, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.model.peek(address, &mut bytes).unwrap();
        bytes
    }

    fn poke(&mut self, address: u32, bytes: &[u8]) {
        self.model.poke(address, bytes).unwrap();
    }

    /// Asserts that these violations happened and no others.
    #[track_caller]
    fn assert_violations(&self, expected: &[Violation]) {
        let violations = self.model.violations();
        for kind in Violation::ALL {
            let times = expected.iter().filter(|&&expected| expected == kind).count();
            assert_eq!(violations.count(kind), times as u64, "{kind:?} in {violations:?}");
        }
    }
}
