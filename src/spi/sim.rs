//! The simulated chip as a programmer: a [`Model`] behind the [`Bus`] trait, with a clock.
//!
//! It serves the device `sim:` and the tests. What the chip does is in [`model`]; this module only
//! adds time, the limits of a spidev message, and ready-made chips.

mod command;
pub mod demo;
pub mod faults;
mod injector;
pub mod model;
pub mod pacing;
pub mod sfdp;
mod splitmix;
pub mod status;
pub mod storage;
pub mod tally;
pub mod timing;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use super::{Bus, Data, Error, Transaction};
use model::{Configuration, Model};
use pacing::Pacer;
use storage::Storage;
use tally::{Counters, Violations};
use timing::wire_time;

/// The clock until one is set, in Hz.
const DEFAULT_CLOCK_HZ: u32 = 16_000_000;
/// The longest data phase until one is set, in bytes.
const DEFAULT_MAX_DATA_LEN: usize = 65_536;
/// What a message costs beyond its bits: system call, driver and chip select. Of the order seen on
/// Raspberry Pis; an estimate.
pub const MESSAGE_OVERHEAD: Duration = Duration::from_micros(15);

/// How the simulated time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// It jumps: messages and sleeps advance it and return at once.
    Virtual,
    /// It is real: messages take as long as the wire would, and sleeps sleep.
    Real,
}

/// A simulated chip on a simulated programmer.
#[derive(Debug)]
pub struct Simulated {
    model: Arc<Mutex<Model>>,
    pace: Pace,
    /// Waits when time is real.
    pacer: Arc<Pacer>,
    /// The time when it is virtual.
    now: Duration,
    clock_hz: u32,
    max_data_len: usize,
}

impl Simulated {
    /// A chip in memory with the demonstration [firmware](demo::firmware).
    pub fn demonstration(pace: Pace) -> Self {
        Self::from_model(Model::new(Storage::memory(demo::firmware()), Configuration::default()), pace)
    }

    /// A chip whose contents are the file at `path`, created erased where it is missing. Its unique id is made from the path, so that
    /// each file is a chip of its own.
    ///
    /// # Errors
    /// [`Error::SimulatedSize`] when the file is not of the chip's size, [`Error::Open`] when it
    /// cannot be opened or created.
    pub fn file(path: &Path, pace: Pace) -> Result<Self, Error> {
        let configuration = Configuration { unique_id: Some(unique_id_of(path)), ..Configuration::default() };
        Ok(Self::from_model(Model::new(Storage::file(path)?, configuration), pace))
    }

    /// A programmer with this chip.
    pub fn from_model(model: Model, pace: Pace) -> Self {
        Self::shared(Arc::new(Mutex::new(model)), pace)
    }

    /// A programmer with a chip that others hold too. Virtual time goes on from the latest that the
    /// model was told; whoever else drives the chip should count time alike.
    pub fn shared(model: Arc<Mutex<Model>>, pace: Pace) -> Self {
        let now = model.lock().time();
        let pacer = Arc::default();
        Self { model, pace, pacer, now, clock_hz: DEFAULT_CLOCK_HZ, max_data_len: DEFAULT_MAX_DATA_LEN }
    }

    /// The same with messages limited like those of a spidev whose `bufsiz` is `len` bytes.
    #[must_use]
    pub fn with_max_data_len(mut self, len: usize) -> Self {
        self.max_data_len = len;
        self
    }

    /// The same with faults taken from a text file, as [`Model::follow_faults`] says.
    #[must_use]
    pub fn with_fault_file(self, path: impl Into<PathBuf>) -> Self {
        self.model().follow_faults(path);
        self
    }

    /// The chip, locked until the guard is dropped; messages wait meanwhile.
    ///
    /// A guard lives to the end of its statement, so a statement that asks for two waits for ever.
    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock()
    }

    /// The work that the chip has done so far.
    pub fn counters(&self) -> Counters {
        self.model().counters()
    }

    /// What the chip was asked wrongly so far.
    pub fn violations(&self) -> Violations {
        self.model().violations()
    }

    /// The chip, to be kept when the programmer is given away.
    pub fn share(&self) -> Arc<Mutex<Model>> {
        Arc::clone(&self.model)
    }

    /// Refuses what spidev refuses: the bytes sent and the bytes received are limited separately.
    fn check_len(&self, transactions: &[Transaction<'_>]) -> Result<(), Error> {
        let mut sent = 0usize;
        let mut received = 0usize;
        for transaction in transactions {
            sent = sent.saturating_add(transaction.command.len());
            match &transaction.data {
                Data::None => {}
                Data::Write(data) => sent = sent.saturating_add(data.len()),
                Data::Read(data) => received = received.saturating_add(data.len()),
            }
        }
        if sent.max(received) > self.max_data_len {
            return Err(Error::MessageTooLong { limit: self.max_data_len });
        }
        Ok(())
    }

    fn failed(&self, operation: &'static str, source: io::Error) -> Error {
        let device = self.model().path().unwrap_or(Path::new("sim:")).to_owned();
        Error::Transfer { device, operation, source }
    }

    fn wait_until(&mut self, moment: Duration) {
        match self.pace {
            Pace::Virtual => self.now = moment,
            Pace::Real => self.pacer.wait_until(moment),
        }
    }
}

impl Drop for Simulated {
    fn drop(&mut self) {
        if self.pace == Pace::Real {
            log::info!("simulated chip: {}", self.pacer.lateness());
        }
    }
}

fn unique_id_of(path: &Path) -> [u8; 8] {
    let path = path.canonicalize().or_else(|_| std::path::absolute(path)).unwrap_or_else(|_| path.to_owned());
    let mut id = *b"SIM\0\0\0\0\0";
    id[4..].copy_from_slice(&crc32fast::hash(path.as_os_str().as_encoded_bytes()).to_be_bytes());
    id
}

impl Bus for Simulated {
    fn transfer(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        self.check_len(transactions)?;
        let mut moment = self.now() + MESSAGE_OVERHEAD;
        let mut model = self.model.lock();
        let result = transactions
            .iter_mut()
            .try_for_each(|transaction| run(&mut model, transaction, self.clock_hz, &mut moment));
        drop(model);
        self.wait_until(moment);
        result.map_err(|source| self.failed("the transfer", source))
    }

    fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        if hz == 0 {
            return Err(self.failed("setting the clock", io::ErrorKind::InvalidInput.into()));
        }
        self.clock_hz = hz;
        Ok(())
    }

    fn clock(&self) -> u32 {
        self.clock_hz
    }

    fn max_data_len(&self) -> usize {
        self.max_data_len
    }

    fn now(&self) -> Duration {
        match self.pace {
            Pace::Virtual => self.now,
            Pace::Real => pacing::now(),
        }
    }

    fn sleep(&mut self, duration: Duration) {
        self.wait_until(self.now() + duration);
    }

    fn pacer(&self) -> Option<Arc<Pacer>> {
        (self.pace == Pace::Real).then(|| Arc::clone(&self.pacer))
    }
}

/// Runs one transaction from `moment` on, which it moves to its end.
fn run(
    model: &mut Model,
    transaction: &mut Transaction<'_>,
    clock_hz: u32,
    moment: &mut Duration,
) -> io::Result<()> {
    model.select(*moment, clock_hz);
    model.exchange(Some(transaction.command), None)?;
    let data_len = match &mut transaction.data {
        Data::None => 0,
        Data::Write(data) => {
            model.exchange(Some(data), None)?;
            data.len()
        }
        Data::Read(data) => {
            model.exchange(None, Some(data))?;
            data.len()
        }
    };
    *moment += wire_time((transaction.command.len() + data_len) as u64, clock_hz) + transaction.delay;
    model.deselect(*moment)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn simulated() -> Simulated {
        Simulated::from_model(Model::new(Storage::erased(), Configuration::default()), Pace::Virtual)
    }

    fn command(bus: &mut Simulated, command: &[u8]) {
        bus.transfer(&mut [Transaction::command(command)]).unwrap();
    }

    #[test]
    fn virtual_time_advances_by_the_wire_and_by_sleep() {
        let mut bus = simulated();
        bus.set_clock(8_000_000).unwrap();
        bus.transfer(&mut [Transaction::read(&[3, 0, 0, 0], &mut [0; 996])]).unwrap();
        assert_eq!(bus.now(), MESSAGE_OVERHEAD + Duration::from_millis(1));
        bus.sleep(Duration::from_secs(3600));
        assert_eq!(bus.now(), MESSAGE_OVERHEAD + Duration::from_millis(3_600_001));
    }

    #[test]
    fn a_delay_passes_before_chip_select_is_released() {
        let mut bus = simulated();
        command(&mut bus, &[0x06]);
        let before = bus.now();
        let (mut during, mut after) = ([0], [0]);
        bus.transfer(&mut [
            Transaction::write(&[2, 0, 0, 0], &[0]),
            Transaction::read(&[0x05], &mut during).with_delay(timing::PAGE_PROGRAM),
            Transaction::read(&[0x05], &mut after),
        ])
        .unwrap();
        assert_eq!((during, after), ([0x03], [0x00]));
        assert!(bus.now() - before > timing::PAGE_PROGRAM);
    }

    #[test]
    fn real_time_takes_as_long_as_the_wire() {
        let mut bus = Simulated::shared(simulated().share(), Pace::Real);
        bus.set_clock(1_000_000).unwrap();
        let started = Instant::now();
        bus.transfer(&mut [Transaction::read(&[3, 0, 0, 0], &mut [0; 1246])]).unwrap();
        assert!(started.elapsed() >= Duration::from_millis(10));
    }

    #[test]
    fn chip_select_is_released_between_transactions() {
        let mut bus = simulated();
        let mut id = [0; 3];
        let mut status = [0];
        bus.transfer(&mut [
            Transaction::command(&[0x06]),
            Transaction::read(&[0x9f], &mut id),
            Transaction::read(&[0x05], &mut status),
        ])
        .unwrap();
        assert_eq!((id, status), ([0xa1, 0x40, 0x18], [0x02]));
        assert_eq!(bus.counters().frames, 3);
    }

    #[test]
    fn sent_and_received_bytes_are_limited_separately() {
        let mut bus = simulated().with_max_data_len(4096);
        bus.transfer(&mut [Transaction::read(&[3, 0, 0, 0], &mut [0; 4096])]).unwrap();
        let frames = bus.counters().frames;
        let (mut half, mut more) = ([0; 2048], [0; 2049]);
        let mut both =
            [Transaction::read(&[3, 0, 0, 0], &mut half), Transaction::read(&[3, 0, 0, 0], &mut more)];
        let error = bus.transfer(&mut both).unwrap_err();
        assert!(matches!(error, Error::MessageTooLong { limit: 4096 }), "{error:?}");
        let error = bus.transfer(&mut [Transaction::write(&[2, 0, 0, 0], &[0; 4093])]).unwrap_err();
        assert!(matches!(error, Error::MessageTooLong { limit: 4096 }), "{error:?}");
        assert_eq!(bus.counters().frames, frames);
    }

    #[test]
    fn a_clock_of_nothing_is_refused() {
        let mut bus = simulated();
        bus.set_clock(1_000_000).unwrap();
        assert!(bus.set_clock(0).is_err());
        assert_eq!(bus.clock(), 1_000_000);
    }

    #[test]
    fn an_erase_is_in_the_file_before_the_transfer_returns() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chip.bin");
        std::fs::write(&path, demo::firmware()).unwrap();
        let mut bus = Simulated::file(&path, Pace::Virtual).unwrap();
        command(&mut bus, &[0x06]);
        command(&mut bus, &[0x20, 0x04, 0x00, 0x00]);
        let bytes = std::fs::read(&path).unwrap();
        assert!(bytes[0x40000..0x41000].iter().all(|&byte| byte == 0xff));
        assert_eq!(bytes[0x41000..], demo::firmware()[0x41000..]);
    }

    #[test]
    fn a_file_that_fails_is_a_transfer_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chip.bin");
        let mut bus = Simulated::file(&path, Pace::Virtual).unwrap();
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
        let error = bus.transfer(&mut [Transaction::read(&[3, 0, 0, 0], &mut [0; 16])]).unwrap_err();
        assert!(matches!(&error, Error::Transfer { device, .. } if *device == path), "{error:?}");
    }

    #[test]
    fn a_fault_file_works_on_the_bus() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("faults");
        std::fs::write(&path, "disconnected nonsense").unwrap();
        let mut bus = simulated().with_fault_file(&path);
        let mut id = [0; 3];
        bus.transfer(&mut [Transaction::read(&[0x9f], &mut id)]).unwrap();
        assert_eq!(id, [0xff; 3]);
    }

    #[test]
    fn a_shared_chip_keeps_its_virtual_time() {
        let mut first = simulated();
        command(&mut first, &[0x06]);
        command(&mut first, &[0xc7]);
        let mut second = Simulated::shared(first.share(), Pace::Virtual);
        assert_eq!(second.now(), first.now());
        let mut status = [0];
        second.transfer(&mut [Transaction::read(&[0x05], &mut status)]).unwrap();
        assert_eq!(status, [0x03]);
        second.sleep(timing::CHIP_ERASE);
        second.transfer(&mut [Transaction::read(&[0x05], &mut status)]).unwrap();
        assert_eq!(status, [0x00]);
    }
}
