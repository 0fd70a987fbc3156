//! Where the simulated chip's bytes are kept: in memory, or in a file that is read and written on
//! demand. Knows bytes and addresses, not what a flash cell allows.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::spi::{Error, lock};

/// The size in bytes of an FM25Q128A: 16 MiB.
pub const CHIP_SIZE: u32 = 1 << 24;

/// What an erased cell reads as, eight of them.
const ERASED: u8 = 0xff;
/// Erased bytes to write at once.
static ERASED_CHUNK: [u8; 65_536] = [ERASED; 65_536];

/// The memory array's bytes: [`CHIP_SIZE`] of them, unless made otherwise.
#[derive(Debug)]
pub struct Storage(Kind);

#[derive(Debug)]
enum Kind {
    Memory(Vec<u8>),
    File { file: File, path: PathBuf },
}

impl Storage {
    /// An erased chip in memory.
    pub fn erased() -> Self {
        Self(Kind::Memory(vec![ERASED; CHIP_SIZE as usize]))
    }

    /// A chip in memory that begins with `contents` and is erased behind them. What exceeds
    /// [`CHIP_SIZE`] is cut off.
    pub fn memory(contents: Vec<u8>) -> Self {
        Self::memory_of(CHIP_SIZE, contents)
    }

    /// The same for a chip of `size` bytes, a power of two.
    pub fn memory_of(size: u32, mut contents: Vec<u8>) -> Self {
        contents.resize(size as usize, ERASED);
        Self(Kind::Memory(contents))
    }

    /// How many bytes there are.
    pub(super) fn size(&self) -> u32 {
        match &self.0 {
            Kind::Memory(bytes) => u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            Kind::File { .. } => CHIP_SIZE,
        }
    }

    /// The chip whose contents are the file at `path`, which is created erased where it is
    /// missing. Every program and erase is in the file when it returns; nothing is kept in memory.
    ///
    /// # Errors
    /// [`Error::SimulatedSize`] when the file is not of [`CHIP_SIZE`], [`Error::InUse`] when another
    /// norfuse has it, [`Error::Open`] when it cannot be opened for reading and writing, or not be created.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let open_error = |source| Error::Open { path: path.to_owned(), source };
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_erased(path).map_err(open_error)?
            }
            opened => opened.map_err(open_error)?,
        };
        lock::lock(&file, path)?;
        let actual = file.metadata().map_err(open_error)?.len();
        if actual != u64::from(CHIP_SIZE) {
            return Err(Error::SimulatedSize { path: path.to_owned(), actual, expected: CHIP_SIZE.into() });
        }
        Ok(Self(Kind::File { file, path: path.to_owned() }))
    }

    /// The file, where the chip is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Memory(_) => None,
            Kind::File { path, .. } => Some(path),
        }
    }

    /// Fills `out` with the bytes from `address` on.
    ///
    /// # Errors
    /// When they are not all on the chip, or the file cannot be read.
    pub fn read(&self, address: u32, out: &mut [u8]) -> io::Result<()> {
        let range = self.byte_range(address, out.len())?;
        match &self.0 {
            Kind::Memory(bytes) => out.copy_from_slice(&bytes[range]),
            Kind::File { file, .. } => file.read_exact_at(out, address.into())?,
        }
        Ok(())
    }

    /// Replaces the bytes from `address` on.
    ///
    /// # Errors
    /// When they are not all on the chip, or the file cannot be written.
    pub fn write(&mut self, address: u32, bytes: &[u8]) -> io::Result<()> {
        let range = self.byte_range(address, bytes.len())?;
        match &mut self.0 {
            Kind::Memory(memory) => memory[range].copy_from_slice(bytes),
            Kind::File { file, .. } => file.write_all_at(bytes, address.into())?,
        }
        Ok(())
    }

    /// Replaces the bytes of `range` with FF.
    ///
    /// # Errors
    /// As of [`write`](Self::write).
    pub(super) fn erase(&mut self, range: Range<u32>) -> io::Result<()> {
        for address in range.clone().step_by(ERASED_CHUNK.len()) {
            let len = ERASED_CHUNK.len().min((range.end - address) as usize);
            self.write(address, &ERASED_CHUNK[..len])?;
        }
        Ok(())
    }

    fn byte_range(&self, address: u32, len: usize) -> io::Result<Range<usize>> {
        let start = address as usize;
        match start.checked_add(len) {
            Some(end) if end <= self.size() as usize => Ok(start..end),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not an address of the simulated chip")),
        }
    }
}

/// Creates a file of [`CHIP_SIZE`] erased bytes, or none.
fn create_erased(path: &Path) -> io::Result<File> {
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    for _ in 0..CHIP_SIZE as usize / ERASED_CHUNK.len() {
        if let Err(error) = file.write_all(&ERASED_CHUNK) {
            // What is left of it would be refused for its size next time.
            let _ = std::fs::remove_file(path);
            return Err(error);
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_is_created_erased_at_chip_size() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chip.bin");
        let storage = Storage::file(&path).unwrap();
        assert_eq!(storage.path(), Some(&*path));
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes.len(), CHIP_SIZE as usize);
        assert!(bytes.iter().all(|&byte| byte == ERASED));
    }

    #[test]
    fn a_file_of_another_size_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chip.bin");
        std::fs::write(&path, b"short").unwrap();
        let error = Storage::file(&path).unwrap_err();
        assert!(matches!(error, Error::SimulatedSize { actual: 5, expected: 16_777_216, .. }), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), b"short");
    }

    #[test]
    fn a_file_that_cannot_be_created_is_an_open_error() {
        let error = Storage::file(Path::new("/nonexistent/chip.bin")).unwrap_err();
        assert!(matches!(error, Error::Open { .. }), "{error:?}");
    }

    #[test]
    fn writes_and_erases_are_in_the_file_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("chip.bin");
        let mut storage = Storage::file(&path).unwrap();
        storage.write(0xfffff0, &[0; 16]).unwrap();
        storage.erase(0xfffff8..0x1000000).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes[0xfffff0..], [0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    }

    #[test]
    fn addresses_beyond_the_chip_are_errors() {
        let mut storage = Storage::erased();
        assert!(storage.read(CHIP_SIZE - 1, &mut [0; 2]).is_err());
        assert!(storage.write(u32::MAX, &[0; 1]).is_err());
        assert!(storage.read(CHIP_SIZE, &mut []).is_ok());
    }
}
