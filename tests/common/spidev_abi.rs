//! The ioctls of a spidev node, as include/uapi/linux/spi/spidev.h and asm-generic/ioctl.h of the kernel have them.

/// The length of `struct spi_ioc_transfer`.
pub(crate) const TRANSFER_LEN: usize = 32;

/// What an ioctl asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ioctl {
    /// `SPI_IOC_MESSAGE(count)`.
    Message {
        count: usize,
    },
    Get(Setting),
    Set(Setting),
}

/// A property of the node that has an ioctl to read and one to write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setting {
    Mode,
    LsbFirst,
    BitsPerWord,
    MaxSpeedHz,
    Mode32,
}

impl Setting {
    /// Bytes of the value.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Mode | Self::LsbFirst | Self::BitsPerWord => 1,
            Self::MaxSpeedHz | Self::Mode32 => 4,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            1 => Self::Mode,
            2 => Self::LsbFirst,
            3 => Self::BitsPerWord,
            4 => Self::MaxSpeedHz,
            5 => Self::Mode32,
            _ => return None,
        })
    }
}

impl Ioctl {
    /// Takes an ioctl's number apart; none where it is not spidev's.
    pub(crate) fn decode(number: u32) -> Option<Self> {
        const WRITE: u32 = 1;
        const READ: u32 = 2;
        let direction = number >> 30;
        let size = (number >> 16 & 0x3fff) as usize;
        let kind = number >> 8 & 0xff;
        if kind != u32::from(b'k') {
            return None;
        }
        if number & 0xff == 0 {
            let whole = direction == WRITE && size % TRANSFER_LEN == 0;
            return whole.then_some(Self::Message { count: size / TRANSFER_LEN });
        }
        let setting = Setting::from_number(number & 0xff).filter(|setting| setting.len() == size)?;
        match direction {
            READ => Some(Self::Get(setting)),
            WRITE => Some(Self::Set(setting)),
            _ => None,
        }
    }
}

/// `struct spi_ioc_transfer`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// Address of the bytes to send in the calling process, or 0.
    pub(crate) tx_buf: u64,
    /// Address for the received bytes in the calling process, or 0.
    pub(crate) rx_buf: u64,
    pub(crate) len: u32,
    /// 0 for the node's own.
    pub(crate) speed_hz: u32,
    pub(crate) delay_usecs: u16,
    /// 0 for the node's own.
    pub(crate) bits_per_word: u8,
    pub(crate) cs_change: bool,
}

impl Transfer {
    pub(crate) fn decode(bytes: &[u8; TRANSFER_LEN]) -> Self {
        let u64_at = |at: usize| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap());
        let u32_at = |at: usize| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        Self {
            tx_buf: u64_at(0),
            rx_buf: u64_at(8),
            len: u32_at(16),
            speed_hz: u32_at(20),
            delay_usecs: u16::from_ne_bytes([bytes[24], bytes[25]]),
            bits_per_word: bytes[26],
            cs_change: bytes[27] != 0,
        }
    }
}
