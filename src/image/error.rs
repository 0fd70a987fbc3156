//! What can go wrong between the bytes that a user sees and the chip.

use std::sync::Arc;

use super::journal;
use crate::chip;
use crate::trouble::Trouble;

/// Why bytes could not be read, or did not get onto the chip. Cheap to clone: several callers may wait for one operation.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The chip could not be read.
    #[error("cannot read {len} bytes at {address:#08x}")]
    Read {
        /// Where, in bytes.
        address: u32,
        /// How much, in bytes.
        len: usize,
        /// The chip's reason.
        source: Arc<chip::Error>,
    },
    /// An erase or program failed.
    #[error("cannot {operation} at {address:#08x}; what was written stays pending")]
    Write {
        /// "erase" or "program".
        operation: &'static str,
        /// Where, in bytes.
        address: u32,
        /// The chip's reason.
        source: Arc<chip::Error>,
    },
    /// The host could not take note of what was going to be done, so it was not done.
    #[error("nothing was erased or programmed; what was written stays pending")]
    Journal {
        /// Why not.
        source: Arc<journal::Error>,
    },
    /// What was written does not read back.
    #[error(
        "{address:#08x} reads back {found:02x} instead of {wanted:02x} after {attempts} attempts; what was written stays \
         pending. The chip may be protected or worn, or the wire too noisy for this speed; {}",
        Trouble::VerifyFails
    )]
    Verify {
        /// The first address that differs.
        address: u32,
        /// What should be there.
        wanted: u8,
        /// What is there.
        found: u8,
        /// How often it was written.
        attempts: u32,
    },
    /// An erase or program ended and has changed nothing, and the status registers say that the place is protected.
    #[error(
        "{address:#08x} is write-protected: {explanation}. --unlock clears the protection while the chip is mounted; {}",
        Trouble::Protected
    )]
    Protected {
        /// Where, in bytes.
        address: u32,
        /// Whether all register maps that are published for the part say so.
        is_certain: bool,
        /// Which bits say so.
        explanation: String,
    },
    /// A sector does not read the same often enough to be believed.
    #[error(
        "the sector at {address:#08x} reads differently each time; reseat the clip or try a lower speed; {}",
        Trouble::DumpsDiffer
    )]
    Unstable {
        /// The sector's address in bytes.
        address: u32,
    },
    /// The part has no erase command for this place.
    #[error("no erase command of this chip can change {address:#08x}")]
    NotErasable {
        /// The region's address in bytes.
        address: u32,
    },
    /// An interrupted write is left to be finished, but perhaps not on this chip.
    #[error(
        "an earlier write was interrupted, but this chip cannot be recognised as the one that it was for: it has no unique id, \
         and its other contents have changed or are blank. If it is, finish the write with --replay-journal; if not, drop \
         it with --discard-journal; to look first, mount with -o ro"
    )]
    Unrecognised,
    /// An interrupted write could not be finished.
    #[error(
        "an interrupted write cannot be finished; mount with -o ro to look, or drop it with --discard-journal"
    )]
    Replay(#[source] Box<Error>),
    /// The system refused something that is needed to run.
    #[error("cannot {operation}")]
    System {
        /// What was being done.
        operation: &'static str,
        /// The system's reason.
        source: Arc<std::io::Error>,
    },
    /// norfuse is shutting down.
    #[error("norfuse is shutting down")]
    Stopped,
}
