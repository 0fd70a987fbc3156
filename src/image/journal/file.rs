//! The journal as a file: its directory, its lock, and when it is on the disk.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::Error;

/// A locked file. The lock is released when it is dropped.
#[derive(Debug)]
pub(super) struct JournalFile {
    file: Flock<File>,
    path: PathBuf,
    len: u64,
    has_grown: bool,
}

impl JournalFile {
    /// Opens the file for writing, with an exclusive lock, creating it and its directory where missing.
    pub(super) fn create(directory: &Path, name: &str) -> Result<Self, Error> {
        create_directory(directory)?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        Self::open(directory.join(name), &mut options, FlockArg::LockExclusiveNonblock)
    }

    /// Opens the file for reading, with a shared lock, where it exists.
    pub(super) fn existing(directory: &Path, name: &str) -> Result<Option<Self>, Error> {
        let opened =
            Self::open(directory.join(name), OpenOptions::new().read(true), FlockArg::LockSharedNonblock);
        match opened {
            Err(Error::System { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(None),
            opened => opened.map(Some),
        }
    }

    fn open(path: PathBuf, options: &mut OpenOptions, lock: FlockArg) -> Result<Self, Error> {
        // Neither a link to elsewhere nor a pipe without a writer may be in its place.
        let file = options
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&path)
            .map_err(system("open", &path))?;
        let file = match Flock::lock(file, lock) {
            Ok(file) => file,
            Err((_, Errno::EWOULDBLOCK)) => return Err(Error::Locked { path }),
            Err((_, errno)) => return Err(system("lock", &path)(errno.into())),
        };
        let metadata = file.metadata().map_err(system("look at", &path))?;
        if !metadata.is_file() {
            return Err(Error::NotAFile { path });
        }
        Ok(Self { file, path, len: metadata.len(), has_grown: false })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's length in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Reads up to `len` bytes: fewer where the file ends.
    pub(super) fn read_at(&self, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
        let there = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(there)];
        match self.file.read_exact_at(&mut bytes, offset) {
            Ok(()) => Ok(bytes),
            Err(error) => Err(system("read", &self.path)(error)),
        }
    }

    pub(super) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all_at(bytes, offset).map_err(system("write", &self.path))?;
        let end = offset + bytes.len() as u64;
        if end > self.len {
            self.len = end;
            self.has_grown = true;
        }
        Ok(())
    }

    /// Waits until what was written is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), Error> {
        if self.has_grown {
            return self.sync_all();
        }
        self.file.sync_data().map_err(system("write", &self.path))
    }

    /// Waits until what was written, by whomever, is on the disk, and the length too.
    pub(super) fn sync_all(&mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(system("write", &self.path))?;
        self.has_grown = false;
        Ok(())
    }

    /// Makes `bytes` the whole of the file, on the disk.
    pub(super) fn replace(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.set_len(0)?;
        // Else a power cut could leave the new beginning before what was there.
        self.sync_all()?;
        self.write_at(0, bytes)?;
        self.sync_all()
    }

    /// Cuts the file down to `len` bytes where it is longer.
    pub(super) fn shrink(&mut self, len: u64) -> Result<(), Error> {
        if self.len > len { self.set_len(len) } else { Ok(()) }
    }

    fn set_len(&mut self, len: u64) -> Result<(), Error> {
        self.file.set_len(len).map_err(system("shorten", &self.path))?;
        self.len = len;
        Ok(())
    }

    /// Waits until the file's name is on the disk.
    pub(super) fn sync_directory(&self) -> Result<(), Error> {
        self.path.parent().map_or(Ok(()), sync_directory)
    }
}

/// Creates `directory`, and those above it, where missing; on the disk when it returns.
fn create_directory(directory: &Path) -> Result<(), Error> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|ancestor| !ancestor.exists()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory).map_err(system("create", directory))?;
    missing.into_iter().filter_map(Path::parent).try_for_each(sync_directory)
}

fn sync_directory(directory: &Path) -> Result<(), Error> {
    // The parent of a relative path's first part is the empty path.
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    File::open(directory).and_then(|file| file.sync_all()).map_err(system("write", directory))
}

fn system<'a>(operation: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::System { operation, path: path.to_owned(), source }
}
