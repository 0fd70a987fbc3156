//! Going to the background: the process that the user started waits until the mount is ready, and tells if it is not.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::unistd::{ForkResult, dup2_stderr, dup2_stdin, dup2_stdout, pipe2, setsid};

use super::{Error, system};
use crate::logging;

/// What the serving process writes when the mount is ready. Anything else is an error message.
const READY: &[u8] = b"\0";

/// How to tell whoever started this process that the mount is ready, or why not.
pub(super) struct Starter {
    /// None in the foreground.
    background: Option<Background>,
}

struct Background {
    /// Where the process that the user started listens.
    waiting: File,
    /// To take the terminal's place. Opened at the start, because nothing can be opened any more when the mount is ready.
    null: File,
}

impl Starter {
    pub(super) fn foreground() -> Option<Self> {
        Some(Self { background: None })
    }

    /// The mount is ready.
    pub(super) fn ready(self) {
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            log::warn!("cannot tell the service manager that the mount is ready: {error}");
        }
        if let Some(Background { mut waiting, null }) = self.background {
            logging::move_to_background();
            if let Err(error) = leave_terminal(&null) {
                log::warn!("cannot leave the terminal: {error}");
            }
            // Whoever waited may be gone by now; the mount stays.
            let _ = waiting.write_all(READY);
        }
    }

    /// There will be no mount. In the background this ends the process, and the one that the user started tells why.
    pub(super) fn fail(self, error: Error) -> Error {
        if let Some(Background { mut waiting, .. }) = self.background {
            let _ = waiting.write_all(crate::error_text(&error).as_bytes());
            std::process::exit(1);
        }
        error
    }

    /// This process is not the one that the starter waits for.
    pub(super) fn leave(&mut self) {
        self.background = None;
    }
}

/// Splits this process in two. In the one that serves there is a [`Starter`]; the one that the user started waits until the
/// other is ready, and there is none.
///
/// No thread may run yet.
pub(super) fn fork() -> Result<Option<Starter>, Error> {
    // A program that is run meanwhile must not hold the pipe, or the other process would wait for that one too.
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|error| system("open a pipe")(error.into()))?;
    match fork_process().map_err(|error| system("fork")(error.into()))? {
        ForkResult::Child => {
            drop(reader);
            setsid().map_err(|error| system("start a session")(error.into()))?;
            std::env::set_current_dir("/").map_err(system("go to /"))?;
            let null = open_null().map_err(system("open /dev/null"))?;
            Ok(Some(Starter { background: Some(Background { waiting: File::from(writer), null }) }))
        }
        ForkResult::Parent { .. } => {
            drop(writer);
            wait_until_ready(reader).map(|()| None)
        }
    }
}

pub(super) fn fork_process() -> nix::Result<ForkResult> {
    // SAFETY: there is one thread, so the child finds no lock held by a thread that it does not have.
    unsafe { nix::unistd::fork() }
}

fn wait_until_ready(reader: OwnedFd) -> Result<(), Error> {
    let mut told = Vec::new();
    File::from(reader).read_to_end(&mut told).map_err(system("wait for the background process"))?;
    match told.as_slice() {
        READY => Ok(()),
        [] => Err(Error::Background),
        message => Err(Error::Told(String::from_utf8_lossy(message).into_owned())),
    }
}

/// Puts `null` in the place of the standard descriptors.
pub(super) fn leave_terminal(null: &File) -> io::Result<()> {
    dup2_stdin(null)?;
    dup2_stdout(null)?;
    dup2_stderr(null)?;
    Ok(())
}

pub(super) fn open_null() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null")
}

/// A process started with a standard descriptor closed would find a device under its number, and print into it.
pub(super) fn open_standard_descriptors() -> io::Result<()> {
    loop {
        let null = open_null()?;
        if null.as_raw_fd() > 2 {
            return Ok(());
        }
        std::mem::forget(null);
    }
}
