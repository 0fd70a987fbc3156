//! What can go wrong between norfuse and a chip.

use std::time::Duration;

use super::part::JedecId;
use super::sfdp;
use crate::spi;

/// Why a chip could not be identified, read, erased or programmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The programmer failed.
    #[error(transparent)]
    Spi(#[from] spi::Error),
    /// Nobody answers.
    #[error(
        "no chip answers: its JEDEC id reads {id}. Check that the clip sits on all eight pins, that the chip has 3.3 V, \
         and that CS#, CLK, DI and DO are wired as they should be"
    )]
    NoChip {
        /// What was read: all FF or all 00.
        id: JedecId,
    },
    /// The id was not the same twice.
    #[error(
        "the JEDEC id reads {first}, then {second}: the wire is noisy. Shorten the wires, reseat the clip, try a lower speed"
    )]
    UnstableId {
        /// One reading.
        first: JedecId,
        /// The next.
        second: JedecId,
    },
    /// Neither the table of parts nor the chip itself tells how to drive it.
    #[error("the chip with JEDEC id {id} is not known, and it does not describe itself by SFDP ({reason})")]
    UnknownChip {
        /// Its id.
        id: JedecId,
        /// What is wrong with its SFDP.
        reason: sfdp::Error,
    },
    /// The table and the chip contradict each other.
    #[error(
        "the chip with JEDEC id {id} should have {expected} bytes ({name}) but says by SFDP that it has {described}; \
         it is not what its id says, or the wire is noisy"
    )]
    Contradiction {
        /// Its id.
        id: JedecId,
        /// The part that the id stands for.
        name: String,
        /// The size of that part in bytes.
        expected: u32,
        /// The size that SFDP tells in bytes.
        described: u32,
    },
    /// The chip stayed busy.
    #[error(
        "the chip is still busy {waited:?} after {operation} at {address:#08x}; if this stays so, check clip and power"
    )]
    TimedOut {
        /// What it was busy with.
        operation: &'static str,
        /// Where, in bytes.
        address: u32,
        /// How long it was waited for.
        waited: Duration,
    },
    /// Another chip, or none, answers where the known one was.
    #[error(
        "the chip stopped answering: its JEDEC id reads {found} instead of {expected}; check clip and power"
    )]
    Gone {
        /// The id at start.
        expected: JedecId,
        /// The id now.
        found: JedecId,
    },
}
