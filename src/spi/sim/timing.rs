//! How long the simulated chip takes and how fast it may be clocked: every such figure of the
//! model, with its source. The model does no waiting; it compares these with the time it is given.

use std::time::Duration;

/// Page program, 256 bytes. 0.4 to 0.7 ms is typical of the W25Q128 class; unconfirmed for this part.
pub const PAGE_PROGRAM: Duration = Duration::from_micros(600);
/// Sector erase, 4 KiB. 45 to 100 ms is typical of the W25Q128 class; unconfirmed for this part.
pub const SECTOR_ERASE: Duration = Duration::from_millis(45);
/// Block erase, 32 KiB. W25Q128 class, unconfirmed for this part.
pub const BLOCK_ERASE_32K: Duration = Duration::from_millis(120);
/// Block erase, 64 KiB. W25Q128 class, unconfirmed for this part.
pub const BLOCK_ERASE_64K: Duration = Duration::from_millis(150);
/// Chip erase. W25Q128 class, unconfirmed for this part; one vendor's tool allows only 25 s.
pub const CHIP_ERASE: Duration = Duration::from_secs(40);
/// Non-volatile status register write. 5 to 10 ms is typical of the W25Q128 class; unconfirmed for this part.
pub const STATUS_WRITE: Duration = Duration::from_millis(10);
/// From `75h` until an erase is suspended, and from there or from `7Ah` to the next `75h` (tSUS, maximum). W25Q128 class, unconfirmed for
/// this part.
pub const SUSPEND: Duration = Duration::from_micros(20);
/// From the release of chip select after `ABh` to the first command that is heard (tRES1).
/// W25Q128 class, unconfirmed for this part.
pub const RELEASE_POWER_DOWN: Duration = Duration::from_micros(3);
/// From the release of chip select after `99h` to the first command that is heard (tRST).
/// W25Q128 class, unconfirmed for this part.
pub const RESET: Duration = Duration::from_micros(30);

/// The fastest clock of read `03h`, in Hz: the FM25Q128A's published limit.
pub const READ_CLOCK_LIMIT_HZ: u32 = 50_000_000;
/// The fastest clock of fast read, in Hz: the FM25Q128A's published limit. The model holds every
/// opcode but `03h` to it.
pub const CLOCK_LIMIT_HZ: u32 = 104_000_000;

/// How long one chip's operations keep it busy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times {
    /// Page program, and program of a security register.
    pub page_program: Duration,
    /// Sector erase (4 KiB), and erase of a security register.
    pub sector_erase: Duration,
    /// Block erase, 32 KiB.
    pub block_erase_32k: Duration,
    /// Block erase, 64 KiB.
    pub block_erase_64k: Duration,
    /// Chip erase.
    pub chip_erase: Duration,
    /// Non-volatile status register write. A volatile one takes no time.
    pub status_write: Duration,
    /// Until an erase is suspended.
    pub suspend: Duration,
    /// Deafness after the release from deep power-down.
    pub release_power_down: Duration,
    /// Deafness after a reset.
    pub reset: Duration,
}

impl Times {
    /// A chip that is done at once, for tests of anything but waiting.
    pub const INSTANT: Self = Self {
        page_program: Duration::ZERO,
        sector_erase: Duration::ZERO,
        block_erase_32k: Duration::ZERO,
        block_erase_64k: Duration::ZERO,
        chip_erase: Duration::ZERO,
        status_write: Duration::ZERO,
        suspend: Duration::ZERO,
        release_power_down: Duration::ZERO,
        reset: Duration::ZERO,
    };
}

impl Default for Times {
    /// The typical times above.
    fn default() -> Self {
        Self {
            page_program: PAGE_PROGRAM,
            sector_erase: SECTOR_ERASE,
            block_erase_32k: BLOCK_ERASE_32K,
            block_erase_64k: BLOCK_ERASE_64K,
            chip_erase: CHIP_ERASE,
            status_write: STATUS_WRITE,
            suspend: SUSPEND,
            release_power_down: RELEASE_POWER_DOWN,
            reset: RESET,
        }
    }
}

/// How long `bytes` take on one data lane clocked at `clock_hz`. No time at a clock of 0.
pub fn wire_time(bytes: u64, clock_hz: u32) -> Duration {
    let hz = u64::from(clock_hz);
    if hz == 0 {
        return Duration::ZERO;
    }
    let bits = bytes.saturating_mul(8);
    Duration::from_secs(bits / hz) + Duration::from_nanos(bits % hz * 1_000_000_000 / hz)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_chip_takes_4_096_seconds_at_32_768_mhz() {
        assert_eq!(wire_time(1 << 24, 32_768_000), Duration::from_millis(4096));
    }

    #[test]
    fn the_longest_transfer_at_the_highest_clock_does_not_overflow() {
        assert_eq!(wire_time(u64::MAX, 0), Duration::ZERO);
        assert!(wire_time(u64::MAX, u32::MAX) > Duration::from_secs(4_000_000_000));
    }
}
