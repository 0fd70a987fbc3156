//! What the chip does when chip select is released.

use std::io;
use std::ops::Range;
use std::time::Duration;

use super::answer::security_register;
use super::frame::in_page;
use super::suspend::Erase;
use super::{Activity, Addressing, Frame, HIGH, Model, Prepared};
use crate::spi::sim::command::{Command, PAGE_SIZE, Payload, Unit};
use crate::spi::sim::faults::Cell;
use crate::spi::sim::tally::Violation;

/// Bytes of a half done erase that are made up at once.
const REMAINS_CHUNK: u32 = 4096;

impl Model {
    /// Carries out the command of a frame that has just ended.
    pub(super) fn execute(&mut self, command: Command, frame: &Frame, prepared: Prepared) -> io::Result<()> {
        if let Some(violation) = malformed(command, frame) {
            self.violations.add(violation);
            return Ok(());
        }
        let volatile = prepared.volatile_write && matches!(command, Command::WriteStatus(_));
        if command.needs_write_enable() && !self.write_enabled && !volatile {
            self.violations.add(Violation::WriteDisabled);
            return Ok(());
        }
        match command {
            Command::WriteEnable => self.write_enabled = true,
            Command::WriteDisable => self.write_enabled = false,
            Command::VolatileWriteEnable => self.prepared.volatile_write = true,
            Command::EnableReset => self.prepared.reset = true,
            Command::Reset if prepared.reset => self.reset(),
            Command::Reset => self.violations.add(Violation::ResetNotEnabled),
            Command::PowerDown => self.activity = Activity::PoweredDown,
            Command::ReleasePowerDown => self.wake(),
            Command::Suspend => self.suspend(),
            Command::Resume => self.resume(),
            Command::EnterFourByteMode | Command::ExitFourByteMode => {
                let needs_write_enable = self.configuration.addressing == Addressing::ModeByWriteEnable;
                if needs_write_enable && !self.write_enabled {
                    self.violations.add(Violation::WriteDisabled);
                } else {
                    self.is_in_four_byte_mode = command == Command::EnterFourByteMode;
                }
            }
            Command::GlobalLock => self.lock_blocks(true),
            Command::GlobalUnlock => self.lock_blocks(false),
            Command::WriteStatus(index) => self.write_status(index, frame, volatile),
            Command::PageProgram => return self.program(frame),
            Command::Erase(unit) => return self.erase(unit, frame.address),
            Command::ProgramSecurity => self.program_security(frame),
            Command::EraseSecurity => self.erase_security(frame.address),
            Command::Read | Command::FastRead => {
                if u64::from(frame.address) + frame.payload_len() > self.storage.size().into() {
                    self.violations.add(Violation::BeyondChip);
                }
                let start = u64::from(frame.address);
                self.note_read(start..start + frame.payload_len());
            }
            Command::ReadSecurity => {
                if security_register(frame.address).is_none() {
                    self.violations.add(Violation::BeyondChip);
                }
            }
            Command::ReadStatus(_)
            | Command::JedecId
            | Command::ManufacturerDevice
            | Command::UniqueId
            | Command::Sfdp => {}
        }
        Ok(())
    }

    fn reset(&mut self) {
        self.registers.reload();
        self.write_enabled = false;
        self.blocks_locked = true;
        self.is_in_four_byte_mode = false;
        self.erase = None;
        self.wake_after(self.configuration.times.reset);
    }

    fn wake(&mut self) {
        if self.activity == Activity::PoweredDown {
            self.wake_after(self.configuration.times.release_power_down);
        }
    }

    fn wake_after(&mut self, time: Duration) {
        self.activity = Activity::Waking { until: self.time + time };
        self.settle(self.time);
    }

    /// Whether WEL outlives this is not published; clearing it is the stricter guess.
    fn lock_blocks(&mut self, locked: bool) {
        self.blocks_locked = locked;
        self.write_enabled = false;
    }

    fn write_status(&mut self, index: usize, frame: &Frame, volatile: bool) {
        if self.registers.locked() {
            return self.refuse(Violation::Protected);
        }
        for (register, (_, value)) in (index..).zip(frame.payload()) {
            if !self.registers.write(register, value, volatile) {
                self.violations.add(Violation::ReservedBits);
            }
        }
        self.counters.status_writes += 1;
        if !volatile {
            self.start(self.configuration.times.status_write);
        }
    }

    fn program(&mut self, frame: &Frame) -> io::Result<()> {
        let start = frame.address & !0xff;
        let range = start..start + 0x100;
        if self.is_protected(&range) {
            self.refuse(Violation::Protected);
            return Ok(());
        }
        let mut old = [0; PAGE_SIZE];
        self.storage.read(start, &mut old)?;
        let mut new = self.merge_into_page(frame, &old);

        let power_fails = self.injector.power_fails();
        if power_fails {
            let mut random = [0; PAGE_SIZE];
            self.injector.half_done(&mut random);
            for ((new, old), random) in new.iter_mut().zip(old).zip(random) {
                *new |= old & random;
            }
        }
        for (address, mask) in cells_in(&self.injector.faults().weak_program, &range) {
            let index = in_page(address.into());
            new[index] |= old[index] & mask;
        }
        self.storage.write(start, &new)?;
        self.counters.pages_programmed += 1;
        self.start_unless(power_fails, self.configuration.times.page_program);
        Ok(())
    }

    fn erase(&mut self, unit: Unit, address: u32) -> io::Result<()> {
        let range = unit.range(address, self.storage.size());
        if unit != Unit::Chip && range.start != address {
            self.violations.add(Violation::UnalignedErase);
        }
        if self.is_protected(&range) {
            self.refuse(Violation::Protected);
            return Ok(());
        }
        let mut weak = Vec::new();
        for (address, mask) in cells_in(&self.injector.faults().weak_erase, &range) {
            let mut old = [0];
            self.storage.read(address, &mut old)?;
            weak.push((address, mask & !old[0]));
        }

        let power_fails = self.injector.power_fails();
        if power_fails {
            self.half_erase(range.clone())?;
        } else {
            self.storage.erase(range.clone())?;
        }
        for (address, programmed) in weak {
            let mut erased = [0];
            self.storage.read(address, &mut erased)?;
            self.storage.write(address, &[erased[0] & !programmed])?;
        }
        *unit.counter(&mut self.counters) += 1;
        if unit != Unit::Chip {
            self.erase = Some(Erase::new(range, self.time));
        }
        self.start_unless(power_fails, unit.time(&self.configuration.times));
        Ok(())
    }

    /// Leaves random bits in `range`.
    fn half_erase(&mut self, range: Range<u32>) -> io::Result<()> {
        let mut remains = [0; REMAINS_CHUNK as usize];
        for address in range.step_by(remains.len()) {
            self.injector.half_done(&mut remains);
            self.storage.write(address, &remains)?;
        }
        Ok(())
    }

    fn program_security(&mut self, frame: &Frame) {
        let Some(index) = self.security_register_for_writing(frame.address) else {
            return;
        };
        let old = self.security_registers[index];
        self.security_registers[index] = self.merge_into_page(frame, &old);
        self.start(self.configuration.times.page_program);
    }

    fn erase_security(&mut self, address: u32) {
        if let Some(index) = self.security_register_for_writing(address) {
            self.security_registers[index] = [HIGH; 256];
            self.start(self.configuration.times.sector_erase);
        }
    }

    fn security_register_for_writing(&mut self, address: u32) -> Option<usize> {
        let index = security_register(address);
        if index.is_none() {
            self.refuse(Violation::BeyondChip);
        } else if self.registers.security_locked() {
            self.refuse(Violation::Protected);
            return None;
        }
        index
    }

    /// What becomes of a page with the contents `old` when the frame's payload is programmed: cells
    /// only go from 1 to 0, and what runs over the page's end goes on at its start.
    fn merge_into_page(&mut self, frame: &Frame, old: &[u8; PAGE_SIZE]) -> [u8; PAGE_SIZE] {
        let offset = u64::from(frame.address & 0xff);
        if offset + frame.payload_len() > PAGE_SIZE as u64 {
            self.violations.add(Violation::PageOverrun);
        }
        let mut new = *old;
        let mut sets_bits = false;
        for (place, value) in frame.payload() {
            let index = in_page(offset + place);
            sets_bits |= value & !old[index] != 0;
            new[index] = old[index] & value;
        }
        if sets_bits {
            self.violations.add(Violation::SetsBits);
        }
        new
    }

    fn is_protected(&self, range: &Range<u32>) -> bool {
        if self.registers.individual_locks() { self.blocks_locked } else { self.registers.protects(range) }
    }

    fn refuse(&mut self, violation: Violation) {
        self.violations.add(violation);
        self.write_enabled = false;
    }

    fn start_unless(&mut self, power_fails: bool, time: Duration) {
        if power_fails {
            self.activity = Activity::Dead;
        } else {
            self.start(time);
        }
    }

    pub(super) fn start(&mut self, time: Duration) {
        self.activity = Activity::Busy { until: self.time + time };
        self.settle(self.time);
    }
}

/// What is wrong with the frame's length.
fn malformed(command: Command, frame: &Frame) -> Option<Violation> {
    if !frame.has_header() {
        // Without its dummy bytes it releases from power-down and answers no id.
        return (command != Command::ReleasePowerDown).then_some(Violation::Truncated);
    }
    let len = frame.payload_len();
    match command.payload() {
        Payload::Nothing if len > 0 => Some(Violation::Overlong),
        Payload::ToChip { max, .. } if len > max => Some(Violation::Overlong),
        Payload::ToChip { min, .. } if len < min => Some(match command {
            Command::PageProgram | Command::ProgramSecurity => Violation::ProgramWithoutData,
            _ => Violation::Truncated,
        }),
        _ => None,
    }
}

/// The cells within `range`, each as an address and a bit mask.
fn cells_in(cells: &[Cell], range: &Range<u32>) -> impl Iterator<Item = (u32, u8)> {
    cells
        .iter()
        .filter(|cell| range.contains(&cell.address))
        .map(|cell| (cell.address, 1u8.checked_shl(cell.bit.into()).unwrap_or(0)))
}
