//! One period of asserted chip select, as far as it has come.

use std::time::Duration;

use crate::spi::sim::command::{Command, PAGE_SIZE};
use crate::spi::sim::timing::wire_time;

/// The bytes of a frame so far.
#[derive(Debug)]
pub(super) struct Frame {
    selected_at: Duration,
    pub(super) clock_hz: u32,
    /// Whether the chip sees it at all.
    pub(super) seen: bool,
    /// Bytes since chip select.
    pub(super) shifted: u64,
    /// What the opcode asks for, unless it is ignored.
    pub(super) command: Option<Command>,
    header_len: u64,
    address_len: u64,
    /// The address bytes so far, as one number.
    pub(super) address: u32,
    /// The last bytes of a payload to the chip: byte `n` is at `in_page(n)`.
    payload: [u8; PAGE_SIZE],
}

impl Frame {
    pub(super) fn new(selected_at: Duration, clock_hz: u32, seen: bool) -> Self {
        Self {
            selected_at,
            clock_hz,
            seen,
            shifted: 0,
            command: None,
            header_len: 1,
            address_len: 0,
            address: 0,
            payload: [0; PAGE_SIZE],
        }
    }

    /// Goes on as `command`, which has four address bytes or three where it has any.
    pub(super) fn begin(&mut self, command: Command, has_four: bool, fast_read_dummies: u8) {
        self.command = Some(command);
        self.address_len = command.address_len(has_four);
        self.header_len = 1 + self.address_len + command.dummy_len(fast_read_dummies, has_four);
    }

    /// Whether the next byte is opcode, address or dummy.
    pub(super) fn in_header(&self) -> bool {
        self.shifted < self.header_len
    }

    /// Whether opcode, address and dummy bytes are all there.
    pub(super) fn has_header(&self) -> bool {
        self.shifted >= self.header_len
    }

    /// Takes an address or dummy byte for a chip of `size` bytes, which does not look at address bits above that.
    pub(super) fn take_header(&mut self, byte: u8, size: u32) {
        if self.shifted <= self.address_len {
            self.address = (self.address << 8 | u32::from(byte)) & (size - 1);
        }
    }

    /// Bytes behind the header so far.
    pub(super) fn payload_len(&self) -> u64 {
        self.shifted.saturating_sub(self.header_len)
    }

    /// Takes `len` bytes of payload: those of `bytes`, then zeros.
    pub(super) fn take_payload(&mut self, bytes: &[u8], len: usize) {
        let start = self.payload_len();
        for index in len.saturating_sub(PAGE_SIZE)..len {
            self.payload[in_page(start + index as u64)] = bytes.get(index).copied().unwrap_or(0);
        }
    }

    /// The payload, oldest first; of one longer than [`PAGE_SIZE`] the last bytes, each with its
    /// place among all.
    pub(super) fn payload(&self) -> impl Iterator<Item = (u64, u8)> {
        let len = self.payload_len();
        let first = len.saturating_sub(PAGE_SIZE as u64);
        (first..len).map(|place| (place, self.payload[in_page(place)]))
    }

    /// When the byte that comes next begins.
    pub(super) fn time(&self) -> Duration {
        self.time_after(0)
    }

    /// When `bytes` more have passed.
    pub(super) fn time_after(&self, bytes: u64) -> Duration {
        self.selected_at + wire_time(self.shifted + bytes, self.clock_hz)
    }
}

/// The index within a page that a running number of bytes wraps to.
pub(super) fn in_page(place: u64) -> usize {
    (place & 0xff) as usize
}
