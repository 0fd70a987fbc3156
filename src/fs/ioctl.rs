//! The ioctls of flash tools: what /dev/mtdN answers (include/uapi/mtd/mtd-abi.h), and some of a block device's (linux/fs.h), on
//! chip files, which take the place of the device.
//!
//! A FUSE file system is handed as many bytes as an ioctl's number tells, and returns as many. What passes its argument in another
//! way cannot be answered: BLKSSZGET has no size in its number, and MEMISLOCKED is said to be read only although it asks for a range.

use std::ops::Range;

use fuser::Errno;
use nix::{request_code_none, request_code_read, request_code_readwrite, request_code_write};

use super::FlashFs;
use super::chip_files::ChipFiles;
use super::handle::Handle;
use super::node::Node;
use super::worker;
use crate::image::SECTOR_LEN;

/// An ioctl's number as FUSE passes it on.
#[allow(clippy::cast_possible_truncation, reason = "the kernel's ioctl numbers have 32 bits")]
const fn number(code: nix::sys::ioctl::ioctl_num_type) -> u32 {
    code as u32
}

const MTD: u8 = b'M';
const BLOCK: u8 = 0x12;

const MEMGETINFO: u32 = number(request_code_read!(MTD, 1, 32));
const MEMERASE: u32 = number(request_code_write!(MTD, 2, 8));
const MEMWRITEOOB: u32 = number(request_code_readwrite!(MTD, 3, size_of::<MtdOobBuf>()));
const MEMREADOOB: u32 = number(request_code_readwrite!(MTD, 4, size_of::<MtdOobBuf>()));
const MEMLOCK: u32 = number(request_code_write!(MTD, 5, 8));
const MEMUNLOCK: u32 = number(request_code_write!(MTD, 6, 8));
const MEMGETREGIONCOUNT: u32 = number(request_code_read!(MTD, 7, 4));
const MEMGETBADBLOCK: u32 = number(request_code_write!(MTD, 11, 8));
const MEMSETBADBLOCK: u32 = number(request_code_write!(MTD, 12, 8));
const MEMERASE64: u32 = number(request_code_write!(MTD, 20, 16));
const MEMWRITEOOB64: u32 = number(request_code_readwrite!(MTD, 21, 24));
const MEMREADOOB64: u32 = number(request_code_readwrite!(MTD, 22, 24));
const MEMISLOCKED: u32 = number(request_code_read!(MTD, 23, 8));

const BLKFLSBUF: u32 = number(request_code_none!(BLOCK, 97));
const BLKGETSIZE64: u32 = number(request_code_read!(BLOCK, 114, size_of::<usize>()));

/// `struct mtd_oob_buf`, for its size.
#[repr(C)]
struct MtdOobBuf {
    start: u32,
    length: u32,
    pointer: *const u8,
}

/// `MTD_NORFLASH`
const NOR_FLASH: u8 = 3;

/// `MTD_CAP_NORFLASH`: it can be written, single bits too.
const CAP_NOR_FLASH: u32 = 0x400 | 0x800;

const CAP_ROM: u32 = 0;

/// Erased bytes are written in pieces of this many.
const FILL_LEN: u32 = 64 << 10;

impl FlashFs {
    /// Answers an ioctl on a chip file with a return value and the bytes that the caller's structure is to hold.
    pub(super) fn answer_ioctl(
        &self,
        handle: &Handle,
        command: u32,
        input: &[u8],
        done: impl FnOnce(Result<(i32, Vec<u8>), Errno>) + Send + 'static,
    ) {
        let node = handle.node();
        if !node.is_chip() {
            return done(Err(Errno::ENOTTY));
        }
        let size = self.chip().len(node);
        let nothing = |result: Result<(), Errno>| result.map(|()| (0, Vec::new()));
        match command {
            MEMGETINFO => done(Ok((0, self.mtd_info(node)))),
            MEMGETREGIONCOUNT => done(Ok((0, 0u32.to_ne_bytes().to_vec()))),
            BLKGETSIZE64 => done(Ok((0, (size as usize).to_ne_bytes().to_vec()))),
            MEMERASE | MEMERASE64 => match erase_range(input, size) {
                _ if !handle.is_writable => done(Err(Errno::EPERM)),
                Ok(range) => {
                    handle.mark_written();
                    let chip = self.chip().clone();
                    worker::start(
                        "erase",
                        move || erase(&chip, node, range),
                        move |result| done(nothing(result)),
                    );
                }
                Err(error) => done(Err(error)),
            },
            MEMUNLOCK => done(nothing(self.unlock(handle, node, input))),
            MEMISLOCKED => done(self.is_locked(node).map(|is_locked| (i32::from(is_locked), Vec::new()))),
            // The chip has no bad blocks, and says nothing of any.
            MEMGETBADBLOCK => done(Ok((0, Vec::new()))),
            MEMLOCK | MEMSETBADBLOCK | MEMREADOOB | MEMWRITEOOB | MEMREADOOB64 | MEMWRITEOOB64 => {
                done(Err(Errno::EOPNOTSUPP));
            }
            BLKFLSBUF => {
                let chip = self.chip().clone();
                worker::start(
                    "flush",
                    move || chip.flush_and_forget(node),
                    move |result| done(nothing(result)),
                );
            }
            _ => done(Err(Errno::ENOTTY)),
        }
    }

    /// `struct mtd_info_user`.
    fn mtd_info(&self, node: Node) -> Vec<u8> {
        let flags = if self.chip().attributes.is_writable(node) { CAP_NOR_FLASH } else { CAP_ROM };
        let mut info = vec![NOR_FLASH, 0, 0, 0];
        let write_size = 1u32;
        let out_of_band_size = 0u32;
        for field in [flags, self.chip().len(node), SECTOR_LEN, write_size, out_of_band_size] {
            info.extend_from_slice(&field.to_ne_bytes());
        }
        info.extend_from_slice(&[0; 8]);
        info
    }

    /// Protection is cleared when a write needs it and the user has allowed that; here it is only told whether a write would do.
    fn unlock(&self, handle: &Handle, node: Node, input: &[u8]) -> Result<(), Errno> {
        if !handle.is_writable {
            return Err(Errno::EPERM);
        }
        let range = range(input, self.chip().len(node))?;
        let base = self.chip().tree.chip_range(node).start;
        let addresses = base + range.start..base + range.end;
        let is_open = self.chip().image.description().is_protected(&addresses) == Some(false);
        if is_open || self.unlocks {
            return Ok(());
        }
        log::warn!(
            "{:#08x} to {:#08x} may be write-protected and is not unlocked: mount with --unlock",
            addresses.start,
            addresses.end - 1
        );
        Err(Errno::EPERM)
    }

    /// Whether a whole file is protected: the kernel does not pass on which part of it is meant.
    fn is_locked(&self, node: Node) -> Result<bool, Errno> {
        let addresses = self.chip().tree.chip_range(node);
        self.chip().image.description().is_protected(&addresses).ok_or(Errno::EOPNOTSUPP)
    }
}

/// Erases a range of a chip file, and waits until it is done on the chip.
fn erase(chip: &ChipFiles, node: Node, range: Range<u32>) -> Result<(), Errno> {
    for offset in range.clone().step_by(FILL_LEN as usize) {
        let len = FILL_LEN.min(range.end - offset);
        chip.write_and_wait(node, offset, &vec![0xFF; len as usize])?;
    }
    chip.commit_and_wait(node, range)
}

/// A range of whole sectors from a `struct erase_info_user` or `erase_info_user64`.
fn erase_range(input: &[u8], size: u32) -> Result<Range<u32>, Errno> {
    let range = range(input, size)?;
    let is_aligned = range.start % SECTOR_LEN == 0 && range.end % SECTOR_LEN == 0;
    if is_aligned { Ok(range) } else { Err(Errno::EINVAL) }
}

/// The range within a file of `size` bytes that a `struct erase_info_user` or `erase_info_user64` names.
fn range(input: &[u8], size: u32) -> Result<Range<u32>, Errno> {
    let (start, len) = match *input {
        [a, b, c, d, e, f, g, h] => (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])),
        _ => {
            let halves: [u8; 16] = input.try_into().map_err(|_| Errno::EINVAL)?;
            let value = u128::from_ne_bytes(halves);
            let (low, high) = (value & u128::from(u64::MAX), value >> 64);
            let (start, len) = if cfg!(target_endian = "little") { (low, high) } else { (high, low) };
            (u32::try_from(start).map_err(|_| Errno::EINVAL)?, u32::try_from(len).map_err(|_| Errno::EINVAL)?)
        }
    };
    let end = start.checked_add(len).filter(|&end| end <= size).ok_or(Errno::EINVAL)?;
    Ok(start..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As strace shows them on x86-64 and arm64.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn the_numbers_are_the_kernels() {
        assert_eq!(MEMGETINFO, 0x8020_4d01);
        assert_eq!(MEMERASE, 0x4008_4d02);
        assert_eq!(MEMREADOOB, 0xc010_4d04);
        assert_eq!(MEMGETREGIONCOUNT, 0x8004_4d07);
        assert_eq!(MEMERASE64, 0x4010_4d14);
        assert_eq!(MEMISLOCKED, 0x8008_4d17);
        assert_eq!(BLKFLSBUF, 0x1261);
        assert_eq!(BLKGETSIZE64, 0x8008_1272);
    }

    fn info(start: u32, len: u32) -> Vec<u8> {
        [start.to_ne_bytes(), len.to_ne_bytes()].concat()
    }

    #[test]
    fn an_erase_is_of_whole_sectors_within_the_file() {
        assert_eq!(erase_range(&info(4096, 8192), 16384), Ok(4096..12288));
        assert_eq!(erase_range(&info(4096, 0), 16384), Ok(4096..4096));
        for (start, len) in [(1, 4096), (0, 100), (0, 20480), (16384, 4096), (u32::MAX, 4096)] {
            assert_eq!(erase_range(&info(start, len), 16384), Err(Errno::EINVAL), "{start} {len}");
        }
        assert_eq!(erase_range(&[0; 5], 16384), Err(Errno::EINVAL));
    }

    #[test]
    fn the_64_bit_form_says_the_same() {
        let info = |start: u64, len: u64| [start.to_ne_bytes(), len.to_ne_bytes()].concat();
        assert_eq!(erase_range(&info(4096, 8192), 16384), Ok(4096..12288));
        assert_eq!(erase_range(&info(1 << 32, 4096), 16384), Err(Errno::EINVAL));
    }
}
