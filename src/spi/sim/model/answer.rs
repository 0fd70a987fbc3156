//! What the chip shifts out.

use std::io;

use super::{Frame, HIGH, Model};
use crate::spi::sim::command::Command;

impl Model {
    /// Fills `out` with the bytes that follow those which `frame` has already had.
    pub(super) fn answer(&mut self, frame: &Frame, out: &mut [u8]) -> io::Result<()> {
        let start = frame.payload_len();
        match frame.command {
            Some(Command::Read | Command::FastRead) => return self.answer_array(frame, out),
            Some(Command::ReadStatus(index)) => {
                for (place, byte) in (0..).zip(out) {
                    self.settle(frame.time_after(place));
                    *byte = self.status(index);
                }
            }
            Some(command) => {
                for (place, byte) in (start..).zip(out) {
                    *byte = self.constant(command, frame.address, place);
                }
            }
            None => out.fill(HIGH),
        }
        Ok(())
    }

    /// The memory array from the frame's address on; behind the last byte comes the first.
    fn answer_array(&self, frame: &Frame, mut out: &mut [u8]) -> io::Result<()> {
        let size = u64::from(self.storage.size());
        let mut address = (u64::from(frame.address) + frame.payload_len()) % size;
        while !out.is_empty() {
            let to_end = usize::try_from(size - address).unwrap_or(usize::MAX);
            let (chunk, rest) = out.split_at_mut(to_end.min(out.len()));
            self.storage.read(u32::try_from(address).unwrap_or(0), chunk)?;
            out = rest;
            address = 0;
        }
        Ok(())
    }

    /// Byte `place` of an answer that neither the memory array nor time changes.
    fn constant(&self, command: Command, address: u32, place: u64) -> u8 {
        let configuration = &self.configuration;
        let at = |bytes: &[u8], place: u64| {
            usize::try_from(place).ok().and_then(|place| bytes.get(place)).copied().unwrap_or(HIGH)
        };
        match command {
            Command::JedecId => at(&configuration.jedec_id, place),
            Command::ManufacturerDevice if (u64::from(address) + place) % 2 == 0 => configuration.jedec_id[0],
            Command::ManufacturerDevice | Command::ReleasePowerDown => configuration.device_id,
            Command::UniqueId => configuration.unique_id.map_or(HIGH, |id| at(&id, place)),
            Command::Sfdp => at(&configuration.sfdp, u64::from(address) + place),
            Command::ReadSecurity => match security_register(address) {
                Some(index) => at(&self.security_registers[index], (u64::from(address) + place) % 256),
                None => HIGH,
            },
            _ => HIGH,
        }
    }
}

/// Which of the three security registers `address` is in, counted from 0. They are at 1000h, 2000h
/// and 3000h in the W25Q128 class; unconfirmed for this part.
pub(super) fn security_register(address: u32) -> Option<usize> {
    match address >> 8 {
        0x10 => Some(0),
        0x20 => Some(1),
        0x30 => Some(2),
        _ => None,
    }
}
