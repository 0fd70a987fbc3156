//! How a chip is told addresses, and making sure that it takes them so: parts of more than 16 MiB need four address bytes.
//!
//! A chip that takes three bytes where four are sent uses the upper three, and the fourth as data. What is written would go
//! elsewhere, and would even read back well from there. So a chip that has to be switched over is not used before it has shown that it is,
//! and is switched over again at the beginning of every message: it may have lost power in between. An opcode of its own is
//! safer: a chip that does not know it ignores it.

use super::error::Error;
use super::opcode;
use super::part::THREE_BYTE_SIZE;
use super::status::ABSENT;
use super::wire::Wire;
use super::{Chip, varied_window};
use crate::spi::Transaction;

/// How many address bytes a part's commands have, and by what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addressing {
    /// Three: all parts of up to 16 MiB.
    ThreeBytes,
    /// Four, by opcodes of their own: 13h, 0Ch, 12h and those for erases. The mode of the chip does not matter to them.
    FourByteOpcodes,
    /// Four, by the usual opcodes once B7h has switched the chip over, until E9h or a loss of power.
    FourByteMode {
        /// Whether 06h must come before.
        needs_write_enable: bool,
        /// Where it can be seen, if that is known.
        shown_by: Option<ModeBit>,
    },
}

/// A bit of a register that is set in 4-byte mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModeBit {
    /// The opcode that reads the register.
    pub opcode: u8,
    /// The bit alone.
    pub mask: u8,
}

/// An opcode with its address and dummy bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressedCommand {
    bytes: [u8; 6],
    len: usize,
}

impl AsRef<[u8]> for AddressedCommand {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Addressing {
    /// The opcode that reads without a dummy byte.
    pub fn read(self) -> u8 {
        if self == Self::FourByteOpcodes { opcode::READ_4_BYTE } else { opcode::READ }
    }

    /// The opcode that reads behind a dummy byte.
    pub fn fast_read(self) -> u8 {
        if self == Self::FourByteOpcodes { opcode::FAST_READ_4_BYTE } else { opcode::FAST_READ }
    }

    /// The opcode that programs a page.
    pub fn page_program(self) -> u8 {
        if self == Self::FourByteOpcodes { opcode::PAGE_PROGRAM_4_BYTE } else { opcode::PAGE_PROGRAM }
    }

    /// The opcode that erases what `three_bytes` does on parts of up to 16 MiB.
    pub fn erase(self, three_bytes: u8) -> Option<u8> {
        match (self, three_bytes) {
            (Self::ThreeBytes | Self::FourByteMode { .. }, _) => Some(three_bytes),
            (Self::FourByteOpcodes, opcode::SECTOR_ERASE_4K) => Some(opcode::SECTOR_ERASE_4K_4_BYTE),
            (Self::FourByteOpcodes, opcode::BLOCK_ERASE_32K) => Some(opcode::BLOCK_ERASE_32K_4_BYTE),
            (Self::FourByteOpcodes, opcode::BLOCK_ERASE_64K) => Some(opcode::BLOCK_ERASE_64K_4_BYTE),
            _ => None,
        }
    }

    /// For people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::ThreeBytes => "3",
            Self::FourByteOpcodes => "4, by opcodes of their own",
            Self::FourByteMode { needs_write_enable: false, .. } => {
                "4, in a mode that B7 enters and E9 leaves"
            }
            Self::FourByteMode { needs_write_enable: true, .. } => {
                "4, in a mode that 06 B7 enters and 06 E9 leaves"
            }
        }
    }

    /// An opcode with an address and `dummies` bytes behind it, one at the most.
    pub(super) fn command(self, opcode: u8, address: u32, dummies: usize) -> AddressedCommand {
        let [highest, high, middle, low] = address.to_be_bytes();
        match self {
            Self::ThreeBytes => {
                AddressedCommand { bytes: [opcode, high, middle, low, 0, 0], len: 4 + dummies }
            }
            Self::FourByteOpcodes | Self::FourByteMode { .. } => {
                AddressedCommand { bytes: [opcode, highest, high, middle, low, 0], len: 5 + dummies }
            }
        }
    }

    /// What has to come first in a message with an addressed command. The write enable latch is clear afterwards.
    pub(super) fn preparation(self) -> &'static [u8] {
        self.switch(
            &[opcode::ENTER_4_BYTE_MODE],
            &[opcode::WRITE_ENABLE, opcode::ENTER_4_BYTE_MODE, opcode::WRITE_DISABLE],
        )
    }

    fn end(self) -> &'static [u8] {
        self.switch(
            &[opcode::EXIT_4_BYTE_MODE],
            &[opcode::WRITE_ENABLE, opcode::EXIT_4_BYTE_MODE, opcode::WRITE_DISABLE],
        )
    }

    /// What changes the mode, where there is one: `latched` where the write enable latch must be set for it.
    fn switch(self, plain: &'static [u8], latched: &'static [u8]) -> &'static [u8] {
        match self {
            Self::ThreeBytes | Self::FourByteOpcodes => &[],
            Self::FourByteMode { needs_write_enable: false, .. } => plain,
            Self::FourByteMode { needs_write_enable: true, .. } => latched,
        }
    }

    fn is_mode(self) -> bool {
        matches!(self, Self::FourByteMode { .. })
    }
}

/// Transactions of an opcode each.
pub(super) fn single<'a>(opcodes: &'static [u8]) -> impl Iterator<Item = Transaction<'a>> {
    opcodes.iter().map(|opcode| Transaction::command(std::slice::from_ref(opcode)))
}

/// Whether the chip is in 4-byte mode, where a register shows it.
pub(super) fn mode_shown(wire: &mut Wire, addressing: Addressing) -> Result<Option<bool>, Error> {
    match addressing {
        Addressing::FourByteMode { shown_by: Some(ModeBit { opcode, mask }), .. } => {
            let value = wire.register(opcode)?;
            Ok((value != ABSENT).then_some(value & mask != 0))
        }
        _ => Ok(None),
    }
}

/// Has a chip that may be in 4-byte mode take three address bytes again, as everything expects that is not about its data.
pub(super) fn leave_mode(wire: &mut Wire, addressing: Addressing) -> Result<(), Error> {
    let mut message: Vec<_> = single(addressing.end()).collect();
    if message.is_empty() { Ok(()) } else { Ok(wire.run(&mut message)?) }
}

/// How many places are looked at for data that tells, evenly spread over the chip, and how many bytes there.
const PLACES: u32 = 256;
const SAMPLE_LEN: usize = 64;

/// A reading that makes no sense may be noise, and is taken again up to so often.
const ATTEMPTS: usize = 3;

impl Chip {
    /// Makes sure that the chip takes four address bytes where it is sent four. For use at a slow clock.
    ///
    /// # Errors
    /// [`Error::Addressing`] when it does not, or does not show it; [`Error::Spi`].
    pub(super) fn check_addressing(&mut self) -> Result<(), Error> {
        if self.part.addressing == Addressing::ThreeBytes {
            return Ok(());
        }
        let is_shown = self.mode_is_shown()?;
        match self.data_shows_addressing()? {
            Some(true) => Ok(()),
            Some(false) => Err(Error::Addressing("it does not take four address bytes")),
            None if self.part.addressing.is_mode() && !is_shown => Err(Error::Addressing(
                "it is blank, and tells in no other way that it takes four address bytes",
            )),
            None if self.three_bytes_find_data()? => {
                Err(Error::Addressing("with four address bytes it reads as blank, which it is not"))
            }
            None => Ok(()),
        }
    }

    /// Whether a register follows the chip in and out of 4-byte mode.
    fn mode_is_shown(&mut self) -> Result<bool, Error> {
        let addressing = self.part.addressing;
        leave_mode(&mut self.wire, addressing)?;
        let before = mode_shown(&mut self.wire, addressing)?;
        let mut message: Vec<_> = single(addressing.preparation()).collect();
        if !message.is_empty() {
            self.wire.run(&mut message)?;
        }
        Ok(before == Some(false) && mode_shown(&mut self.wire, addressing)? == Some(true))
    }

    /// Reading one byte further on shows the same data one byte on; to a chip that takes three bytes, the lowest byte of
    /// four makes no difference. None where the data does not tell the one from the other.
    fn data_shows_addressing(&mut self) -> Result<Option<bool>, Error> {
        let stride = self.part.size / PLACES;
        for place in (0..PLACES).rev().map(|place| place * stride) {
            let mut data = [0; SAMPLE_LEN];
            self.read_plain(place, &mut data)?;
            if varied_window(&data).is_some() {
                return self.data_at_shows_addressing(place).map(Some);
            }
        }
        Ok(None)
    }

    fn data_at_shows_addressing(&mut self, place: u32) -> Result<bool, Error> {
        let mut here = [0; SAMPLE_LEN];
        let mut further_on = [0; SAMPLE_LEN];
        for _ in 0..ATTEMPTS {
            self.read_plain(place, &mut here)?;
            self.read_plain(place + 1, &mut further_on)?;
            if here[1..] == further_on[..SAMPLE_LEN - 1] && here != further_on {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether there is data for a chip that takes three address bytes.
    fn three_bytes_find_data(&mut self) -> Result<bool, Error> {
        let stride = THREE_BYTE_SIZE / PLACES;
        for place in (0..PLACES).map(|place| place * stride) {
            let mut data = [0; SAMPLE_LEN];
            let command = Addressing::ThreeBytes.command(opcode::READ, place, 0);
            self.wire.read(command.as_ref(), &mut data)?;
            if varied_window(&data).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The beginning of a message in which an addressed command follows.
    pub(super) fn addressed_message<'a>(&self) -> Vec<Transaction<'a>> {
        single(self.part.addressing.preparation()).collect()
    }
}

impl Drop for Chip {
    /// Leaves the chip with as many address bytes as it was found.
    fn drop(&mut self) {
        if self.was_in_four_byte_mode {
            return;
        }
        if let Err(error) = leave_mode(&mut self.wire, self.part.addressing) {
            log::warn!("the chip may still be in 4-byte address mode: {}", crate::error_text(&error));
        }
    }
}

#[cfg(test)]
mod tests;
