//! How bytes reach a chip: the [`Bus`] trait and its programmers.
//!
//! A bus moves bytes between chip-select edges and knows nothing of what they mean; opcodes,
//! addresses and waiting for the chip belong to the layer above.

mod lock;
pub mod sim;
pub mod spidev;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::trouble::Trouble;
pub use sim::pacing::{Lateness, Pacer};

/// What a transaction does after its command bytes, with the chip still selected.
#[derive(Debug)]
pub enum Data<'a> {
    /// Nothing: the command is the whole transaction.
    None,
    /// Shift these bytes out.
    Write(&'a [u8]),
    /// Shift bytes in until the buffer is full.
    Read(&'a mut [u8]),
}

/// One period of asserted chip select: command bytes, data one way or the other, and a delay.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// Opcode, address and dummy bytes, in the order they are shifted out. Never empty.
    pub command: &'a [u8],
    /// The data phase.
    pub data: Data<'a>,
    /// How long chip select stays asserted after the last bit, at least: whole microseconds, up to [`LONGEST_DELAY`].
    pub delay: Duration,
}

/// The longest [`Transaction::delay`]: spidev counts microseconds in 16 bits.
pub const LONGEST_DELAY: Duration = Duration::from_micros(u16::MAX as u64);

impl Data<'_> {
    /// The length of the data phase in bytes.
    pub fn len(&self) -> usize {
        match self {
            Data::None => 0,
            Data::Write(bytes) => bytes.len(),
            Data::Read(bytes) => bytes.len(),
        }
    }

    /// Whether there is no data phase.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<'a> Transaction<'a> {
    /// A transaction that is all command.
    pub fn command(command: &'a [u8]) -> Self {
        Self { command, data: Data::None, delay: Duration::ZERO }
    }

    /// A transaction that shifts `data` out behind the command.
    pub fn write(command: &'a [u8], data: &'a [u8]) -> Self {
        Self { command, data: Data::Write(data), delay: Duration::ZERO }
    }

    /// A transaction that fills `data` behind the command.
    pub fn read(command: &'a [u8], data: &'a mut [u8]) -> Self {
        Self { command, data: Data::Read(data), delay: Duration::ZERO }
    }

    /// The same with chip select asserted for `delay` after the last bit.
    #[must_use]
    pub fn with_delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// A programmer with one chip on it.
///
/// Time is the bus's own, because a simulated chip may live in simulated time: whoever waits for
/// the chip measures with [`now`](Bus::now) and waits with [`sleep`](Bus::sleep).
pub trait Bus: Send {
    /// Runs the transactions in order as one message; chip select is released after each.
    ///
    /// # Errors
    /// [`Error::MessageTooLong`] when nothing was sent because a data phase exceeds
    /// [`max_data_len`](Bus::max_data_len), which by then tells the new, lower limit. Any other error leaves it
    /// open how much of the message reached the chip.
    fn transfer(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error>;

    /// Sets the clock of the transfers that follow, in Hz. The hardware may run below it.
    ///
    /// # Errors
    /// When the programmer refuses the clock.
    fn set_clock(&mut self, hz: u32) -> Result<(), Error>;

    /// The clock that was last asked for, in Hz.
    fn clock(&self) -> u32;

    /// The longest data phase, in bytes, that one message may have.
    fn max_data_len(&self) -> usize;

    /// Time since some fixed moment in the past.
    fn now(&self) -> Duration;

    /// Lets `duration` pass.
    fn sleep(&mut self, duration: Duration);

    /// What keeps real time for a simulated chip, where one does.
    fn pacer(&self) -> Option<Arc<Pacer>> {
        None
    }
}

/// Why bytes did not reach a chip, or a programmer could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The device or the simulated chip's file could not be opened.
    #[error("cannot open {path}")]
    Open {
        /// What was to be opened.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// There is no device under this name.
    #[error(
        "cannot open {path}: No such file or directory; 'norfuse --list' tells what stands in the way; {}",
        Trouble::NodeMissing
    )]
    NodeMissing {
        /// What was to be opened.
        path: PathBuf,
    },
    /// The device may not be opened.
    #[error(
        "cannot open {path}: Permission denied; 'norfuse --list' tells what stands in the way; {}",
        Trouble::PermissionDenied
    )]
    PermissionDenied {
        /// What was to be opened.
        path: PathBuf,
    },
    /// Another norfuse has the device or the simulated chip's file.
    #[error("{path} is in use by another norfuse")]
    InUse {
        /// What was to be opened.
        path: PathBuf,
    },
    /// What was named as a device answers none of spidev's ioctls.
    #[error("{path} is not a spidev device; name one like /dev/spidev0.0, or sim: for the simulated chip")]
    NotSpidev {
        /// What was named.
        path: PathBuf,
    },
    /// The file of a simulated chip has another size than the chip.
    #[error(
        "{path} has {actual} bytes but the simulated chip has {expected}; give a file of that size or none"
    )]
    SimulatedSize {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        actual: u64,
        /// The chip's size in bytes.
        expected: u64,
    },
    /// A message was refused for its length and not sent.
    #[error("the driver takes at most {limit} data bytes in one message")]
    MessageTooLong {
        /// The limit that holds from now on, in bytes.
        limit: usize,
    },
    /// The programmer failed.
    #[error("{operation} failed on {device}")]
    Transfer {
        /// The device or file.
        device: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl Error {
    /// Whether the driver has given up a message that had not come to its end in time, which tells of a busy machine, not of the chip.
    pub fn is_time_out(&self) -> bool {
        matches!(self, Self::Transfer { source, .. } if source.kind() == io::ErrorKind::TimedOut)
    }
}
