//! Which journal goes with a mount.

use std::thread;
use std::time::{Duration, Instant};

use super::Error;
use crate::chip::Chip;
use crate::cli::{CareConfig, Device, DeviceConfig, JournalMode};
use crate::image::journal::{self, ChipIdentity, Journal, Opened, Record};
use crate::image::region_len;
use crate::state_directory::state_directory;

const PATIENCE: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(20);

/// Opens the journal of `chip`, with the interrupted writes that it holds; none where none is wanted.
pub(super) fn open(
    chip: &Chip,
    device: &DeviceConfig,
    care: &CareConfig,
    read_only: bool,
) -> Result<Option<(Journal, Vec<Record>)>, Error> {
    // A chip in memory does not outlive what could be interrupted.
    if device.device == Device::Demonstration {
        return Ok(None);
    }
    let directory = match state_directory(care.state_dir.as_deref()) {
        Ok(directory) => directory,
        Err(_) if care.journal == JournalMode::Off || read_only => return Ok(None),
        Err(error) => {
            log::warn!(
                "no journal: a write that is interrupted stays half done. {}",
                crate::error_text(&error)
            );
            return Ok(None);
        }
    };
    let identity = ChipIdentity {
        jedec_id: chip.id(),
        unique_id: chip.unique_id().map(<[u8]>::to_vec),
        size: chip.part().size,
    };
    let region_len = region_len(chip);
    if read_only || care.journal == JournalMode::Off {
        let waiting = match when_unlocked(|| journal::waiting(&directory, &identity, region_len)) {
            Err(journal::Error::System { .. }) if !is_asked_for(care) => 0,
            waiting => waiting?,
        };
        if waiting > 0 && read_only {
            log::warn!("an interrupted write is waiting to be finished; mount without 'ro' to finish it");
        } else if waiting > 0 {
            // Finished at some later mount, it would undo what is written now.
            return Err(Error::JournalWaiting);
        }
        return Ok(None);
    }
    if care.journal == JournalMode::Discard {
        let journal = when_unlocked(|| Journal::open_discarding(&directory, &identity, region_len))?;
        log::warn!("interrupted writes, if there were any, are dropped");
        return Ok(Some((journal, Vec::new())));
    }
    let opened = when_unlocked(|| Journal::open(&directory, &identity, region_len));
    let Opened { journal, records, torn } = match opened {
        Err(error @ journal::Error::System { .. }) if !is_asked_for(care) => {
            // Reading is what most people have come for, and the usual place is not there for every user.
            log::warn!(
                "no journal: a write that is interrupted stays half done. {}",
                crate::error_text(&error)
            );
            return Ok(None);
        }
        opened => opened?,
    };
    if torn > 0 {
        log::warn!(
            "{torn} interrupted writes had not begun when the host stopped; what the chip held is still there"
        );
    }
    Ok(Some((journal, records)))
}

/// Reading is what most people have come for, and the usual place is not there for every user: so this is no error.
fn without_journal<T>(error: &dyn std::error::Error) -> Option<T> {
    log::warn!("no journal: a write that is interrupted stays half done. {}", crate::error_text(error));
    None
}

/// Whether somebody has said where the journal is to be.
fn is_asked_for(care: &CareConfig) -> bool {
    care.state_dir.is_some() || std::env::var_os("STATE_DIRECTORY").is_some()
}

/// Tries again for a while if the journal is locked: one that is being unmounted still has it after umount(8) has returned.
fn when_unlocked<T>(open: impl Fn() -> Result<T, journal::Error>) -> Result<T, journal::Error> {
    let started = Instant::now();
    loop {
        match open() {
            Err(journal::Error::Locked { .. }) if started.elapsed() < PATIENCE => thread::sleep(RETRY),
            result => return result,
        }
    }
}
