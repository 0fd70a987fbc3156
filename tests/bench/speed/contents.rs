//! What is on the chip, and what is written to it.

use super::common::{CHIP_LEN, SECTOR_LEN, noise};

/// A partition, and how much of it is not blank: 70 %, in whole pages.
const PARTITION_LEN: usize = 1 << 20;
const USED_LEN: usize = 734_208;

/// A part of the chip, and what it shall hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) offset: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Change {
    /// The whole chip after it.
    pub(crate) fn applied_to(&self, chip: &[u8]) -> Vec<u8> {
        let mut changed = chip.to_vec();
        changed[self.offset..self.offset + self.bytes.len()].copy_from_slice(&self.bytes);
        changed
    }
}

/// An image of 16 partitions, each 70 % full of bytes that do not compress, and blank behind them.
pub(crate) fn image(seed: u64) -> Vec<u8> {
    let mut image = noise(seed);
    for partition in image.chunks_mut(PARTITION_LEN) {
        partition[USED_LEN..].fill(0xff);
    }
    image
}

/// The image that the chip holds.
pub(crate) fn the_same(chip: &[u8]) -> Change {
    Change { offset: 0, bytes: chip.to_vec() }
}

/// An image that has nothing in common with the chip's but where it is blank.
pub(crate) fn another(chip: &[u8]) -> Change {
    debug_assert_eq!(chip.len(), CHIP_LEN);
    Change { offset: 0, bytes: image(2) }
}

/// One byte with a bit less.
pub(crate) fn one_bit_less(chip: &[u8]) -> Change {
    one_byte(chip, 0x12_3456, |byte| byte & byte.wrapping_sub(1))
}

/// One byte with a bit more.
pub(crate) fn one_bit_more(chip: &[u8]) -> Change {
    one_byte(chip, 0x34_5678, |byte| byte | byte.wrapping_add(1))
}

/// From `near` on, the first byte that `change` changes.
fn one_byte(chip: &[u8], near: usize, change: fn(u8) -> u8) -> Change {
    let offset = (near..).find(|&at| change(chip[at]) != chip[at]).expect("the chip is full of noise there");
    Change { offset, bytes: vec![change(chip[offset])] }
}

/// 64 KiB of which 161 pages are not blank, on a block that is full.
pub(crate) fn small_partition(_chip: &[u8]) -> Change {
    let mut bytes = noise(3)[..64 << 10].to_vec();
    bytes[161 * 256..].fill(0xff);
    Change { offset: 0x40_0000, bytes }
}

/// 2 MiB of which 1.7 MiB are not blank, on two partitions.
pub(crate) fn kernel(_chip: &[u8]) -> Change {
    let mut bytes = noise(4)[..2 << 20].to_vec();
    bytes[435 * SECTOR_LEN..].fill(0xff);
    Change { offset: 0x10_0000, bytes }
}
