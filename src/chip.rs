//! A chip: its identity, and reading, erasing and programming it by JEDEC commands.
//!
//! Everything blocks until the chip is done. No data is cached, verified or read twice in here, and nothing known of
//! files or of which programmer is used.

pub mod addressing;
mod clock;
mod counters;
mod error;
mod identify;
pub mod opcode;
pub mod part;
pub mod parts;
mod presence;
mod protection;
pub mod sfdp;
pub mod status;
mod suspending;
#[cfg(test)]
mod testing;
mod times;
mod wire;
mod writing;

use std::sync::Arc;
use std::time::Duration;

pub use clock::{Calibration, LADDER, Speed};
pub use counters::{Counters, Totals};
pub use error::Error;
use identify::SLOW_CLOCK;
use part::{JedecId, Part};
use protection::Changes;
pub use protection::{ProtectionState, Unlock, Unlocked, Verdict};
use status::StatusRegisters;
pub use suspending::Suspending;
pub use times::{BusyTime, Times};
use wire::Wire;
pub use writing::Erase;

use crate::spi::Bus;

/// How data is read, and why. Where opcodes of their own have four address bytes, 0Ch stands for 0Bh and 13h for 03h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadMode {
    /// Fast read (0Bh), seen to return the same as 03h.
    Fast,
    /// 03h, because the chip has shown no data yet on which the two could differ.
    NotComparable,
    /// 03h, because 0Bh with one dummy byte returned something else: the chip is set to another dummy count.
    FastDiffers,
}

impl ReadMode {
    /// Why it is this one, for people.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Fast => "fast read returned the same as 03h",
            Self::NotComparable => "no data seen yet on which fast read and 03h could differ",
            Self::FastDiffers => "fast read with one dummy byte returned other data than 03h",
        }
    }
}

/// How many bytes are compared between 03h and 0Bh, and at how many places spread over the chip.
const COMPARED_LEN: u32 = 64;
const COMPARED_PLACES: u32 = 16;

/// An identified chip, ready for use.
pub struct Chip {
    wire: Wire,
    id: JedecId,
    part: Part,
    sfdp: Option<Vec<u8>>,
    unique_id: Option<Vec<u8>>,
    status: StatusRegisters,
    read_mode: ReadMode,
    calibration: Calibration,
    changes: Changes,
    times: Times,
    suspending: Suspending,
    /// Whether an erase may have been suspended and not resumed.
    may_be_suspended: bool,
    /// Whether it took four address bytes when it was found.
    was_in_four_byte_mode: bool,
}

impl Chip {
    /// Identifies the chip on `bus` at a slow clock and without writing to it, then chooses the clock as `speed` says.
    ///
    /// # Errors
    /// [`Error::NoChip`], [`Error::UnstableId`], [`Error::UnknownChip`], [`Error::Contradiction`] or [`Error::Addressing`] by
    /// what it answers, [`Error::Spi`] when the programmer fails.
    pub fn identify(bus: Box<dyn Bus>, speed: Speed) -> Result<Self, Error> {
        Self::identify_as(None, bus, speed)
    }

    /// The same; but with `named`, the chip is that part whatever it tells of itself, as long as it tells something.
    ///
    /// # Errors
    /// As [`identify`](Self::identify).
    pub fn identify_as(named: Option<Part>, bus: Box<dyn Bus>, speed: Speed) -> Result<Self, Error> {
        let mut wire = Wire::new(bus);
        wire.set_clock(speed.starting_clock())?;
        let identity = identify::identify(&mut wire, named)?;
        wire.counters().list_erases(&identity.part.erase_types);
        let times = Times::typical(&identity.part);
        let mut chip = Self {
            wire,
            id: identity.id,
            part: identity.part,
            sfdp: identity.sfdp,
            unique_id: identity.unique_id,
            status: identity.status,
            read_mode: ReadMode::NotComparable,
            calibration: Calibration { auto: speed == Speed::Auto, first_failure_hz: None },
            changes: Changes::default(),
            times,
            suspending: Suspending::default(),
            may_be_suspended: identity.status.may_be_suspended(),
            was_in_four_byte_mode: identity.was_in_four_byte_mode,
        };
        // A killed process may have left it so, and what is half erased is not worth reading.
        chip.end_suspended()?;
        chip.check_addressing()?;
        chip.calibrate(speed)?;
        Ok(chip)
    }

    /// The id it answered with at start.
    pub fn id(&self) -> JedecId {
        self.id
    }

    /// What it is.
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Its SFDP space as read, where it has one.
    pub fn sfdp(&self) -> Option<&[u8]> {
        self.sfdp.as_deref()
    }

    /// Its unique id, 8 or 16 bytes, where it has one.
    pub fn unique_id(&self) -> Option<&[u8]> {
        self.unique_id.as_deref()
    }

    /// Its status registers at start.
    pub fn status(&self) -> StatusRegisters {
        self.status
    }

    /// How its data is read.
    pub fn read_mode(&self) -> ReadMode {
        self.read_mode
    }

    /// The opcode that reads its data.
    pub fn read_opcode(&self) -> u8 {
        match self.read_mode {
            ReadMode::Fast => self.part.addressing.fast_read(),
            ReadMode::NotComparable | ReadMode::FastDiffers => self.part.addressing.read(),
        }
    }

    /// The clock asked for, in Hz.
    pub fn clock(&self) -> u32 {
        self.wire.clock()
    }

    /// Time on its bus, since some fixed moment.
    pub fn now(&self) -> Duration {
        self.wire.now()
    }

    /// What one message can read at the most, in bytes.
    pub fn max_read_len(&self) -> usize {
        self.wire.max_data_len()
    }

    /// What has passed over the wire.
    pub fn counters(&self) -> Arc<Counters> {
        Arc::clone(self.wire.counters())
    }

    /// How long it stays busy with what, as far as it has shown.
    pub fn times(&self) -> &Times {
        &self.times
    }

    /// Sets the clock in Hz, held at what the part allows while data is read by 03h.
    ///
    /// # Errors
    /// [`Error::Spi`] when the programmer refuses it.
    pub fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        let limited = self.limited(hz);
        if limited < hz {
            log::warn!("clock held at {limited} Hz, the limit of read command 03h");
        }
        Ok(self.wire.set_clock(limited)?)
    }

    /// Reads `data.len()` bytes from `address` on. The range must lie within the chip.
    ///
    /// # Errors
    /// [`Error::Spi`]; what `data` holds then is undefined.
    pub fn read(&mut self, address: u32, data: &mut [u8]) -> Result<(), Error> {
        self.read_as_chosen(address, data)?;
        if self.read_mode == ReadMode::NotComparable {
            if let Some(offset) = varied_window(data) {
                self.at_slow_clock(|chip| chip.compare_read_commands_at(address.saturating_add(offset)))?;
            }
        }
        Ok(())
    }

    /// Runs `work` at no more than 1 MHz, and sets the clock back whatever comes of it.
    fn at_slow_clock<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        let clock_hz = self.wire.clock();
        self.wire.set_clock(clock_hz.min(SLOW_CLOCK))?;
        let result = work(self);
        let restored = self.set_clock(clock_hz);
        result.and_then(|value| restored.map(|()| value))
    }

    fn read_as_chosen(&mut self, address: u32, data: &mut [u8]) -> Result<(), Error> {
        match self.read_mode {
            ReadMode::Fast => self.read_fast(address, data),
            ReadMode::NotComparable | ReadMode::FastDiffers => self.read_plain(address, data),
        }
    }

    fn read_plain(&mut self, address: u32, data: &mut [u8]) -> Result<(), Error> {
        self.read_by(self.part.addressing.read(), 0, address, data)
    }

    fn read_fast(&mut self, address: u32, data: &mut [u8]) -> Result<(), Error> {
        self.read_by(self.part.addressing.fast_read(), 1, address, data)
    }

    fn read_by(&mut self, opcode: u8, dummies: usize, address: u32, data: &mut [u8]) -> Result<(), Error> {
        let addressing = self.part.addressing;
        Ok(self.wire.read_pieces(address, data, addressing.preparation(), |address| {
            addressing.command(opcode, address, dummies)
        })?)
    }

    /// Chooses the read mode anew: looks for data on which 03h and 0Bh could differ, and compares the two there. For use at
    /// a slow clock.
    fn compare_read_commands(&mut self) -> Result<(), Error> {
        self.read_mode = ReadMode::NotComparable;
        let stride = self.part.size / COMPARED_PLACES;
        for place in 0..COMPARED_PLACES {
            let mut data = [0; COMPARED_LEN as usize];
            self.read_plain(place * stride, &mut data)?;
            if varied_window(&data).is_some() {
                return self.compare_read_commands_at(place * stride);
            }
        }
        Ok(())
    }

    /// The dummy count of 0Bh can be changed by non-volatile bits on a newer part under the same id, so the command is
    /// used only after it has returned what 03h returns. A differing answer is asked for again: it may be noise.
    fn compare_read_commands_at(&mut self, address: u32) -> Result<(), Error> {
        let address = address.min(self.part.size.saturating_sub(COMPARED_LEN));
        let mut plain = [0; COMPARED_LEN as usize];
        let mut fast = [0; COMPARED_LEN as usize];
        for _ in 0..2 {
            self.read_plain(address, &mut plain)?;
            self.read_fast(address, &mut fast)?;
            if plain == fast {
                self.read_mode = ReadMode::Fast;
                return Ok(());
            }
        }
        self.read_mode = ReadMode::FastDiffers;
        log::warn!(
            "fast read (0Bh) with one dummy byte returns other data at {address:#08x} than 03h: the chip is set to \
             another dummy count; reading by 03h"
        );
        Ok(())
    }
}

/// Where in `data` neighbouring bytes differ, so that a shifted answer would show.
fn varied_window(data: &[u8]) -> Option<u32> {
    let offset = data.windows(2).position(|pair| pair[0] != pair[1])?;
    u32::try_from(offset).ok()
}
