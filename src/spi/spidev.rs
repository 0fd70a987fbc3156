//! The Linux spidev programmer: `/dev/spidevB.C`.
//!
//! One [`Bus::transfer`] is one `SPI_IOC_MESSAGE` ioctl. The kernel copies a message through two
//! buffers of `bufsiz` bytes, one for what is sent and one for what is received, and refuses a longer one
//! with EMSGSIZE before anything reaches the wire (drivers/spi/spidev.c); this module knows that limit.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use spidev::{SpiModeFlags, SpidevOptions, SpidevTransfer};

use super::{Bus, Data, Error, Transaction, lock};

/// Where the kernel tells the size of spidev's buffers in bytes.
pub const BUFSIZ_PATH: &str = "/sys/module/spidev/parameters/bufsiz";

/// The kernel's default for spidev's `bufsiz` (drivers/spi/spidev.c), in bytes.
pub const DEFAULT_BUFSIZ: usize = 4096;

/// Below this a driver that refuses a message does so for another reason than its length.
const SMALLEST_DATA_LEN: usize = 16;

/// `_IOC_SIZE` has 14 bits: 512 transfers of 32 bytes would be counted as none, and succeed.
const MOST_TRANSFERS: usize = 511;

/// A chip behind a spidev node.
#[derive(Debug)]
pub struct Spidev {
    device: spidev::Spidev,
    path: PathBuf,
    clock_hz: u32,
    max_data_len: usize,
    opened: Instant,
}

impl Spidev {
    /// Opens a spidev node and sets SPI mode 0, eight bits, most significant bit first.
    ///
    /// # Errors
    /// [`Error::NodeMissing`], [`Error::PermissionDenied`] or [`Error::Open`] when the node cannot be opened, [`Error::InUse`] when another norfuse has it,
    /// [`Error::NotSpidev`] when it answers no spidev ioctl, [`Error::Transfer`] when the driver refuses the mode.
    pub fn open(path: &Path, clock_hz: u32) -> Result<Self, Error> {
        let mut device = spidev::Spidev::open(path).map_err(|source| open_error(path, source))?;
        lock::lock(device.inner(), path)?;
        // Kernels 5.4 to 5.10 show an active-high chip select for a GPIO one, and turn it over when the flag is cleared.
        let present = device.query_configuration().ok().and_then(|options| options.spi_mode);
        let polarity = present.unwrap_or(SpiModeFlags::SPI_MODE_0) & SpiModeFlags::SPI_CS_HIGH;
        let options = SpidevOptions::new()
            .bits_per_word(8)
            .max_speed_hz(clock_hz)
            .lsb_first(false)
            .mode(SpiModeFlags::SPI_MODE_0 | polarity)
            .build();
        device.configure(&options).map_err(|source| match source.raw_os_error() {
            Some(libc::ENOTTY | libc::ENOSYS) => Error::NotSpidev { path: path.to_owned() },
            _ => transfer_error(path, "setting SPI mode 0", source),
        })?;
        let max_data_len = bufsiz();
        if max_data_len <= DEFAULT_BUFSIZ {
            log::info!(
                "spidev moves at most {max_data_len} bytes a message; spidev.bufsiz=65536 makes reading faster"
            );
        }
        Ok(Self { device, path: path.to_owned(), clock_hz, max_data_len, opened: Instant::now() })
    }

    fn shorten(&mut self, refused_len: usize) -> Option<Error> {
        let limit = refused_len.min(self.max_data_len) / 2;
        if limit < SMALLEST_DATA_LEN {
            return None;
        }
        log::warn!(
            "{} refused a message with {refused_len} data bytes; using at most {limit} from now on",
            self.path.display()
        );
        self.max_data_len = limit;
        Some(Error::MessageTooLong { limit })
    }
}

impl Bus for Spidev {
    fn transfer(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        let mut longest = 0;
        let mut transfers = Vec::with_capacity(2 * transactions.len());
        for transaction in transactions.iter_mut() {
            longest = longest.max(transaction.data.len());
            transfers.push(SpidevTransfer::write(transaction.command));
            match &mut transaction.data {
                Data::None => {}
                Data::Write(bytes) => transfers.push(SpidevTransfer::write(bytes)),
                Data::Read(bytes) => transfers.push(SpidevTransfer::read(bytes)),
            }
            if let Some(last) = transfers.last_mut() {
                last.cs_change = 1;
                // The kernel delays before it releases chip select (include/linux/spi/spi.h).
                last.delay_usecs = u16::try_from(transaction.delay.as_micros()).unwrap_or(u16::MAX);
            }
        }
        // On the last transfer of a message cs_change means the opposite: leave the chip selected.
        if let Some(last) = transfers.last_mut() {
            last.cs_change = 0;
        }
        debug_assert!(transfers.len() <= MOST_TRANSFERS);
        match self.device.transfer_multiple(&mut transfers) {
            Ok(()) => Ok(()),
            Err(source) => {
                if source.raw_os_error() == Some(libc::EMSGSIZE) {
                    if let Some(error) = self.shorten(longest) {
                        return Err(error);
                    }
                }
                Err(transfer_error(&self.path, "an SPI message", source))
            }
        }
    }

    fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        self.device
            .configure(&SpidevOptions::new().max_speed_hz(hz).build())
            .map_err(|source| transfer_error(&self.path, "setting the clock", source))?;
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
        self.opened.elapsed()
    }

    fn sleep(&mut self, duration: Duration) {
        thread::sleep(duration);
    }
}

/// Whether another norfuse has the node, which is opened for that, and not configured.
///
/// # Errors
/// When the node cannot be opened for reading and writing.
pub fn is_in_use(path: &Path) -> io::Result<bool> {
    let node = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    Ok(lock::is_locked(&node))
}

fn bufsiz() -> usize {
    std::fs::read_to_string(BUFSIZ_PATH)
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .filter(|&len| len >= SMALLEST_DATA_LEN)
        .unwrap_or(DEFAULT_BUFSIZ)
}

fn open_error(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    match source.kind() {
        io::ErrorKind::NotFound => Error::NodeMissing { path },
        io::ErrorKind::PermissionDenied => Error::PermissionDenied { path },
        _ => Error::Open { path, source },
    }
}

fn transfer_error(path: &Path, operation: &'static str, source: io::Error) -> Error {
    Error::Transfer { device: path.to_owned(), operation, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_node_is_told_with_its_path_and_where_to_look_for_help() {
        let error = Spidev::open(Path::new("/dev/spidev99.99"), 1_000_000).unwrap_err().to_string();
        for part in ["/dev/spidev99.99: No such file or directory", "--list", "\"node missing\""] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_file_that_answers_no_spidev_ioctl_is_not_spidev() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Spidev::open(file.path(), 1_000_000).unwrap_err();
        assert!(matches!(error, Error::NotSpidev { .. }), "{error:?}");
    }
}
