//! What can go wrong with the journal.

use std::io;
use std::path::PathBuf;

/// Why the journal cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refuses something.
    #[error(
        "cannot {operation} {} for the journal; --state-dir DIR puts it elsewhere, --no-journal does without",
        path.display()
    )]
    System {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The journal is open elsewhere.
    #[error("another norfuse is using this chip (it has {} open); unmount that one first", path.display())]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// Something else is in the journal's place.
    #[error("{} is not a regular file; remove it, or put the journal elsewhere with --state-dir DIR", path.display())]
    NotAFile {
        /// What was to be the journal.
        path: PathBuf,
    },
    /// Another version of norfuse has written the journal.
    #[error(
        "{} is a journal of format {version}, which this norfuse cannot read; mount once with the norfuse that wrote it, \
         or drop what it holds with --discard-journal",
        path.display()
    )]
    OtherVersion {
        /// The journal.
        path: PathBuf,
        /// Its format.
        version: u32,
    },
    /// The journal holds records for a chip of another id or geometry.
    #[error(
        "{} holds {records} interrupted writes for another chip, or for this one seen with another size or other erase \
         units; put this chip's journal elsewhere with --state-dir DIR, or drop them with --discard-journal",
        path.display()
    )]
    OtherChip {
        /// The journal.
        path: PathBuf,
        /// How many records it holds.
        records: usize,
    },
    /// The header cannot be read, the records can: it cannot be told which chip they are for.
    #[error(
        "{} holds {records} interrupted writes, but its header is damaged, so they may be for another chip; keep a copy of \
         it, then drop them with --discard-journal",
        path.display()
    )]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// How many records it holds.
        records: usize,
    },
    /// Regions that do not fit the chip.
    #[error(
        "a journal cannot be kept for a chip of {size} bytes in regions of {region_len}; --no-journal does without"
    )]
    Geometry {
        /// The chip's size in bytes.
        size: u32,
        /// The length of a region in bytes.
        region_len: u32,
    },
    /// A record that the journal cannot hold.
    #[error("the write at {address:#08x} cannot be put into the journal: {reason}; nothing was erased")]
    Unrecordable {
        /// Where the record begins, in bytes.
        address: u32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// More records at once than there are slots.
    #[error("{} has no room for more than {slots} interrupted writes; nothing was erased", path.display())]
    Full {
        /// The journal.
        path: PathBuf,
        /// How many records it can hold.
        slots: u32,
    },
}
