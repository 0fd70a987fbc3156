//! The simulated chip at byte level: a strict model of the FM25Q128A as its pins see it.
//!
//! Bytes go in and out between two edges of chip select, and time is whatever the caller says. The
//! model never waits and knows no programmer; [`Simulated`](super::Simulated) adds both. It refuses
//! what the chip refuses, and counts it. Dual and quad transfers and QPI are not modelled.
//!
//! What is not published of the FM25Q128A follows the W25Q128 class. A map of registers that a
//! particular chip has, and its oddities, are chosen by a [`Configuration`]; and so is how a larger one takes addresses, as on the
//! W25Q256 class.

mod answer;
mod execute;
mod frame;
mod suspend;

#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::command::{Command, Payload};
use super::faults::Faults;
use super::injector::Injector;
use super::sfdp;
use super::status::{ADS, BUSY, RegisterMap, Registers, WEL};
use super::storage::Storage;
use super::tally::{Counters, Violation, Violations};
use super::timing::{CLOCK_LIMIT_HZ, READ_CLOCK_LIMIT_HZ, Times};
use frame::Frame;
use suspend::Erase;

/// What reads as when nothing drives the line, or of cells that are erased.
const HIGH: u8 = 0xff;

/// How a chip takes addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Addressing {
    /// Three bytes.
    #[default]
    ThreeBytes,
    /// Three bytes, or four by opcodes of their own.
    Opcodes,
    /// Three bytes, or four after `B7h` and before `E9h`; with register map B bit 0 of SR3 shows that.
    Mode,
    /// The same, but `B7h` and `E9h` are ignored without WEL, which they leave as it is.
    ModeByWriteEnable,
}

/// What distinguishes one FM25Q128A from another.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// The answer to `9Fh`. Its first byte is also the manufacturer that `90h` answers.
    pub jedec_id: [u8; 3],
    /// The device id of `90h` and `ABh`.
    pub device_id: u8,
    /// The layout of the status registers.
    pub register_map: RegisterMap,
    /// Non-volatile values of SR1 to SR3 as the chip is delivered.
    pub status_registers: [u8; 3],
    /// Dummy bytes of fast read `0Bh`.
    pub fast_read_dummies: u8,
    /// The unique id, or none: `4Bh` then reads FF.
    pub unique_id: Option<[u8; 8]>,
    /// The SFDP area; behind it, or when it is empty, `5Ah` reads FF.
    pub sfdp: Vec<u8>,
    /// How it takes addresses.
    pub addressing: Addressing,
    /// Whether it knows `75h` and `7Ah`.
    pub suspends: bool,
    /// How long operations take.
    pub times: Times,
}

impl Default for Configuration {
    /// Register map A, nothing protected, a synthetic SFDP area and unique id, typical times.
    fn default() -> Self {
        Self {
            jedec_id: [0xa1, 0x40, 0x18],
            device_id: 0x17,
            register_map: RegisterMap::A,
            status_registers: [0; 3],
            fast_read_dummies: 1,
            unique_id: Some([0x4e, 0x4f, 0x52, 0x46, 0x55, 0x53, 0x45, 0x01]),
            sfdp: sfdp::area(),
            addressing: Addressing::ThreeBytes,
            suspends: true,
            times: Times::default(),
        }
    }
}

/// A simulated FM25Q128A.
#[derive(Debug)]
pub struct Model {
    configuration: Configuration,
    storage: Storage,
    security_registers: [[u8; 256]; 3],
    registers: Registers,
    write_enabled: bool,
    prepared: Prepared,
    /// The individual block locks. No command that sets one alone is modelled, so they are all alike.
    blocks_locked: bool,
    is_in_four_byte_mode: bool,
    activity: Activity,
    erase: Option<Erase>,
    frame: Option<Frame>,
    time: Duration,
    counters: Counters,
    violations: Violations,
    injector: Injector,
}

/// What the chip is occupied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activity {
    Ready,
    /// An erase, program or status write; BUSY is set.
    Busy {
        until: Duration,
    },
    /// Reset or release from power-down; not even status reads are answered.
    Waking {
        until: Duration,
    },
    PoweredDown,
    /// Without power.
    Dead,
}

/// What the last frame allows the next one to do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Prepared {
    /// `99h`, by `66h`.
    reset: bool,
    /// A volatile status write, by `50h`. Whether other frames may come between is not published.
    volatile_write: bool,
}

impl Model {
    /// A chip that has just been powered up.
    pub fn new(storage: Storage, configuration: Configuration) -> Self {
        Self {
            registers: Registers::new(configuration.register_map, configuration.status_registers),
            configuration,
            storage,
            security_registers: [[HIGH; 256]; 3],
            write_enabled: false,
            prepared: Prepared::default(),
            blocks_locked: true,
            is_in_four_byte_mode: false,
            activity: Activity::Ready,
            erase: None,
            frame: None,
            time: Duration::ZERO,
            counters: Counters::default(),
            violations: Violations::default(),
            injector: Injector::new(Faults::default()),
        }
    }

    /// Asserts chip select at the time `now`, with the clock that the frame will have. A frame that
    /// is still open is dropped unexecuted.
    pub fn select(&mut self, now: Duration, clock_hz: u32) {
        self.time = now;
        if let Some(faults) = self.injector.changed_faults() {
            self.set_faults(faults);
        }
        let seen = !self.injector.frame_is_lost() && self.activity != Activity::Dead;
        if seen {
            self.counters.frames += 1;
        }
        self.frame = Some(Frame::new(now, clock_hz, seen));
    }

    /// Shifts `tx` into the chip and fills `rx` with what it shifts out meanwhile. Without `tx`
    /// zeros are shifted in; of two lengths the longer counts. Without chip select nothing happens
    /// but that `rx` reads FF.
    ///
    /// A frame may be split over any number of calls.
    ///
    /// # Errors
    /// When the file that stands for the chip cannot be read.
    pub fn exchange(&mut self, tx: Option<&[u8]>, rx: Option<&mut [u8]>) -> io::Result<()> {
        let rx = rx.unwrap_or_default();
        let flipped = tx.filter(|_| self.injector.flips_written()).map(|tx| {
            let mut flipped = tx.to_vec();
            self.injector.flip_written(&mut flipped);
            flipped
        });
        let tx = flipped.as_deref().or(tx).unwrap_or_default();

        let result = match self.frame.take() {
            Some(mut frame) if frame.seen => {
                let result = self.shift(&mut frame, tx, rx);
                self.frame = Some(frame);
                result
            }
            unseen => {
                rx.fill(HIGH);
                self.frame = unseen;
                Ok(())
            }
        };
        if !self.injector.faults().disconnected {
            self.injector.spoil_read(rx);
        }
        result
    }

    /// Releases chip select at the time `now`, which is when the chip carries a command out.
    ///
    /// # Errors
    /// When the file that stands for the chip cannot be read or written; the operation may then be
    /// half done.
    pub fn deselect(&mut self, now: Duration) -> io::Result<()> {
        self.time = now;
        let Some(frame) = self.frame.take().filter(|frame| frame.seen && frame.shifted > 0) else {
            return Ok(());
        };
        self.settle(now);
        let prepared = std::mem::take(&mut self.prepared);
        match frame.command {
            Some(command) => self.execute(command, &frame, prepared),
            None => Ok(()),
        }
    }

    /// Takes power away and gives it back. An open frame, volatile values and WEL are lost.
    pub fn power_cycle(&mut self) {
        self.registers.power_up();
        self.write_enabled = false;
        self.prepared = Prepared::default();
        self.blocks_locked = true;
        self.is_in_four_byte_mode = false;
        self.activity = Activity::Ready;
        self.erase = None;
        self.frame = None;
    }

    /// Replaces the faults, and revives a chip that a power cut left dead.
    pub fn set_faults(&mut self, faults: Faults) {
        if let Some(bits) = faults.protect {
            self.registers.protect_blocks(bits);
        }
        self.injector.set(faults);
        if self.activity == Activity::Dead {
            self.power_cycle();
        }
    }

    /// Lets operations that begin from now on take other times.
    pub fn set_times(&mut self, times: Times) {
        self.configuration.times = times;
    }

    /// Takes the faults from the text file at `path` from now on, whenever it changes. A missing
    /// file is an empty one; words that cannot be understood are logged and ignored.
    pub fn follow_faults(&mut self, path: impl Into<PathBuf>) {
        self.injector.follow(path.into());
    }

    /// The work done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// What was asked wrongly so far.
    pub fn violations(&self) -> Violations {
        self.violations
    }

    /// The latest time that the model was told.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Whether a power cut left the chip without power.
    pub fn is_dead(&self) -> bool {
        self.activity == Activity::Dead
    }

    /// SR1 to SR3 as they would be read at the latest time that the model was told; a register that the map lacks is FF.
    pub fn status_registers(&self) -> [u8; 3] {
        [0, 1, 2].map(|index| self.status(index))
    }

    /// All bytes of the chip, without regard to the bus.
    ///
    /// # Errors
    /// When the file that stands for the chip cannot be read.
    pub fn contents(&self) -> io::Result<Vec<u8>> {
        let mut contents = vec![0; self.storage.size() as usize];
        self.storage.read(0, &mut contents)?;
        Ok(contents)
    }

    /// Fills `out` with the chip's bytes from `address` on, without regard to the bus.
    ///
    /// # Errors
    /// When they are not all on the chip, or the file that stands for it cannot be read.
    pub fn peek(&self, address: u32, out: &mut [u8]) -> io::Result<()> {
        self.storage.read(address, out)
    }

    /// Replaces the chip's bytes from `address` on, without regard to the bus or to what cells allow.
    ///
    /// # Errors
    /// When they are not all on the chip, or the file that stands for it cannot be written.
    pub fn poke(&mut self, address: u32, bytes: &[u8]) -> io::Result<()> {
        self.storage.write(address, bytes)
    }

    /// The file that stands for the chip, if one does.
    pub fn path(&self) -> Option<&Path> {
        self.storage.path()
    }

    /// Moves bytes through a frame that the chip sees.
    fn shift(&mut self, frame: &mut Frame, tx: &[u8], rx: &mut [u8]) -> io::Result<()> {
        let len = tx.len().max(rx.len());
        let mut done = 0;
        while done < len && frame.in_header() {
            let byte = tx.get(done).copied().unwrap_or(0);
            if frame.shifted == 0 {
                self.take_opcode(frame, byte);
            } else {
                frame.take_header(byte, self.storage.size());
            }
            frame.shifted += 1;
            done += 1;
        }
        let (header, answer) = rx.split_at_mut(done.min(rx.len()));
        header.fill(HIGH);

        let rest = len - done;
        let payload = frame.command.map_or(Payload::Nothing, Command::payload);
        if payload == Payload::FromChip {
            self.answer(frame, answer)?;
            if matches!(frame.command, Some(Command::Read | Command::FastRead)) {
                self.counters.bytes_read += rest as u64;
            }
        } else {
            answer.fill(HIGH);
            frame.take_payload(tx.get(done..).unwrap_or_default(), rest);
        }
        frame.shifted += rest as u64;
        Ok(())
    }

    /// Decides whether the chip hears the frame that begins with `opcode`.
    fn take_opcode(&mut self, frame: &mut Frame, opcode: u8) {
        self.settle(frame.time());
        let (command, has_four) = self.decode(opcode);
        let reads_status = matches!(command, Some(Command::ReadStatus(_)));
        let suspends = command == Some(Command::Suspend) && self.erase.is_some();
        let deaf = match self.activity {
            Activity::PoweredDown if command != Some(Command::ReleasePowerDown) => {
                Some(Violation::PoweredDown)
            }
            Activity::Waking { .. } => Some(Violation::Busy),
            _ if self.is_busy() && !reads_status && !suspends => Some(Violation::Busy),
            _ if self.is_suspended() && !command.is_some_and(Self::hears_while_suspended) => {
                Some(Violation::Suspended)
            }
            _ => None,
        };
        if let Some(violation) = deaf {
            self.violations.add(violation);
            return;
        }
        let command = command.filter(|&command| match command {
            Command::WriteStatus(index) => self.registers.has(index),
            _ => true,
        });
        let Some(command) = command else {
            self.violations.add(Violation::UnknownOpcode);
            return;
        };
        let limit_hz = if command == Command::Read { READ_CLOCK_LIMIT_HZ } else { CLOCK_LIMIT_HZ };
        if frame.clock_hz > limit_hz {
            self.violations.add(Violation::TooFast);
        }
        if reads_status {
            self.counters.status_reads += 1;
        }
        frame.begin(
            command,
            has_four,
            self.configuration.fast_read_dummies.saturating_add(self.registers.extra_dummies()),
        );
    }

    /// The command that an opcode is on this chip, and whether its address has four bytes.
    fn decode(&self, opcode: u8) -> (Option<Command>, bool) {
        if let (Addressing::Opcodes, Some(command)) =
            (self.configuration.addressing, Command::decode_four_byte(opcode))
        {
            return (Some(command), true);
        }
        let has_mode =
            matches!(self.configuration.addressing, Addressing::Mode | Addressing::ModeByWriteEnable);
        let command = Command::decode(opcode)
            .filter(|command| self.configuration.suspends || !command.is_about_suspending())
            .filter(|command| has_mode || !command.switches_mode());
        (command, self.is_in_four_byte_mode)
    }

    /// Whether it is in 4-byte mode.
    pub fn is_in_four_byte_mode(&self) -> bool {
        self.is_in_four_byte_mode
    }

    /// Ends what is over by the time `now`.
    fn settle(&mut self, now: Duration) {
        match self.activity {
            Activity::Busy { until } if until <= now && !self.injector.faults().stuck_busy => {
                self.activity = Activity::Ready;
                if !self.is_suspended() {
                    self.write_enabled = false;
                    self.erase = None;
                }
            }
            Activity::Waking { until } if until <= now => self.activity = Activity::Ready,
            _ => {}
        }
    }

    fn is_busy(&self) -> bool {
        matches!(self.activity, Activity::Busy { .. }) || self.injector.faults().stuck_busy
    }

    /// Status register `index`, counted from 0.
    fn status(&self, index: usize) -> u8 {
        if !self.registers.has(index) {
            return HIGH;
        }
        let mut value = self.registers.live()[index];
        if index == 0 {
            value |= if self.is_busy() { BUSY } else { 0 };
            value |= if self.write_enabled { WEL } else { 0 };
        }
        if index == 1 && self.is_suspended() {
            value |= self.registers.suspended_bit();
        }
        if index == 2 && self.is_in_four_byte_mode {
            value |= ADS;
        }
        value
    }
}
