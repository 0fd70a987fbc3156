//! Which journal goes with a mount.

use super::Error;
use crate::chip::Chip;
use crate::cli::{CareConfig, Device, DeviceConfig, JournalMode};
use crate::image::journal::{self, ChipIdentity, Journal, Opened, Record};
use crate::image::region_len;
use crate::state_directory::state_directory;

/// Opens the journal of `chip`, with the interrupted writes that it holds; none where none is wanted.
pub(super) fn open(
    chip: &Chip,
    device: &DeviceConfig,
    care: &CareConfig,
    read_only: bool,
) -> Result<Option<(Journal, Vec<Record>)>, Error> {
    // A chip in memory does not outlive what could be interrupted.
    if care.journal == JournalMode::Off || device.device == Device::Demonstration {
        return Ok(None);
    }
    let directory = state_directory(care.state_dir.as_deref())?;
    let identity = ChipIdentity {
        jedec_id: chip.id(),
        unique_id: chip.unique_id().map(<[u8]>::to_vec),
        size: chip.part().size,
    };
    let region_len = region_len(chip);
    if read_only {
        if journal::waiting(&directory, &identity, region_len)? > 0 {
            log::warn!("an interrupted write is waiting to be finished; mount without 'ro' to finish it");
        }
        return Ok(None);
    }
    if care.journal == JournalMode::Discard {
        let journal = Journal::open_discarding(&directory, &identity, region_len)?;
        log::warn!("interrupted writes, if there were any, are dropped");
        return Ok(Some((journal, Vec::new())));
    }
    let Opened { journal, records, torn } = Journal::open(&directory, &identity, region_len)?;
    if torn > 0 {
        log::warn!(
            "{torn} interrupted writes had not begun when the host stopped; what the chip held is still there"
        );
    }
    Ok(Some((journal, records)))
}
