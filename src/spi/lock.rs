//! One norfuse per chip: a lock on the device node or on the simulated chip's file.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::Error;

/// How long another norfuse may take to end. One whose mount has just gone still holds its device for a moment, and it should
/// be possible to mount again at once.
const GRACE: Duration = Duration::from_secs(1);

/// How often to try within [`GRACE`].
const INTERVAL: Duration = Duration::from_millis(10);

/// Locks `file`, which was opened from `path`, against every other norfuse, until it and all its duplicates are closed.
///
/// A file system that has no locks leaves it unlocked.
///
/// # Errors
/// [`Error::InUse`] when another one holds it for longer than a second, [`Error::Transfer`] when locking fails otherwise.
pub(super) fn lock(file: &File, path: &Path) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        let Err(source) = try_lock(file, libc::LOCK_EX) else {
            return Ok(());
        };
        match source.raw_os_error() {
            Some(libc::EWOULDBLOCK) if started.elapsed() < GRACE => thread::sleep(INTERVAL),
            Some(libc::EWOULDBLOCK) => return Err(Error::InUse { path: path.to_owned() }),
            Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::ENOLCK) => {
                log::debug!("{} cannot be locked: {source}", path.display());
                return Ok(());
            }
            _ => return Err(Error::Transfer { device: path.to_owned(), operation: "locking", source }),
        }
    }
}

/// Whether another norfuse holds `file`, which stays locked as little as can be until it is closed: others who ask get the same
/// answer, and one who wants to have it waits for longer than a look takes.
pub(super) fn is_locked(file: &File) -> bool {
    try_lock(file, libc::LOCK_SH).is_err_and(|error| error.raw_os_error() == Some(libc::EWOULDBLOCK))
}

fn try_lock(file: &File, how: libc::c_int) -> io::Result<()> {
    // SAFETY: flock takes no pointers, and the descriptor is open as long as `file` is borrowed.
    match unsafe { libc::flock(file.as_raw_fd(), how | libc::LOCK_NB) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_opened_twice_is_in_use_until_the_first_is_closed() {
        let device = tempfile::NamedTempFile::new().unwrap();
        let first = device.reopen().unwrap();
        let second = device.reopen().unwrap();
        lock(&first, device.path()).unwrap();
        let error = lock(&second, device.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is in use by another norfuse", device.path().display()));
        drop(first);
        lock(&second, device.path()).unwrap();
    }

    #[test]
    fn a_device_that_is_let_go_of_within_the_grace_is_not_in_use() {
        let device = tempfile::NamedTempFile::new().unwrap();
        let first = device.reopen().unwrap();
        let second = device.reopen().unwrap();
        lock(&first, device.path()).unwrap();
        let holder = thread::spawn(move || {
            thread::sleep(5 * INTERVAL);
            drop(first);
        });
        lock(&second, device.path()).unwrap();
        holder.join().unwrap();
    }

    #[test]
    fn a_lock_is_not_inherited_by_a_program_that_is_run() {
        let device = tempfile::NamedTempFile::new().unwrap();
        let first = device.reopen().unwrap();
        lock(&first, device.path()).unwrap();
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        drop(first);
        let result = lock(&device.reopen().unwrap(), device.path());
        child.kill().unwrap();
        child.wait().unwrap();
        result.unwrap();
    }
}
