//! Files mapped into memory, as databases and some editors use them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::ptr::{self, NonNull};

use libc::{MAP_FAILED, MAP_SHARED, MS_SYNC, PROT_READ, PROT_WRITE};

/// A shared mapping of a part of a file, for reading and writing. Others may change the same bytes at any time, so they are only
/// ever copied in and out.
pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes of `file` from `offset` on, which is a multiple of the page size.
    pub(crate) fn new(file: &File, offset: usize, len: usize) -> io::Result<Self> {
        let offset = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        let protection = PROT_READ | PROT_WRITE;
        // SAFETY: the kernel picks the place, so nothing of this process is mapped over, and looks at the other arguments itself.
        let start =
            unsafe { libc::mmap(ptr::null_mut(), len, protection, MAP_SHARED, file.as_raw_fd(), offset) };
        if start == MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { start, len })
    }

    /// The bytes of `range`.
    pub(crate) fn load(&self, range: Range<usize>) -> Vec<u8> {
        assert!(range.start <= range.end && range.end <= self.len);
        let mut bytes = vec![0; range.len()];
        // SAFETY: the range lies within the mapping, which lives as long as `self`, and `bytes` is as long.
        unsafe { ptr::copy(self.start.as_ptr().add(range.start), bytes.as_mut_ptr(), range.len()) };
        bytes
    }

    /// Changes the bytes from `offset` on.
    pub(crate) fn store(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        // SAFETY: as above.
        unsafe { ptr::copy(bytes.as_ptr(), self.start.as_ptr().add(offset), bytes.len()) };
    }

    /// Waits until what was stored is in the file.
    pub(crate) fn sync(&self) -> io::Result<()> {
        // SAFETY: start and length are those of the mapping.
        match unsafe { libc::msync(self.start.as_ptr().cast(), self.len, MS_SYNC) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more. It fails for wrong arguments only, and these are those of mmap.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}
