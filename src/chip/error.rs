//! What can go wrong between norfuse and a chip.

use std::time::Duration;

use super::part::{Identifiers, JedecId};
use super::sfdp;
use super::status::StatusRegisters;
use crate::spi;
use crate::trouble::Trouble;

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
         and that CS#, CLK, DI and DO are wired as they should be; {}",
        silence(*id)
    )]
    NoChip {
        /// What was read: all FF or all 00.
        id: JedecId,
    },
    /// The id was not the same twice.
    #[error(
        "the JEDEC id reads {first}, then {second}: the wire is noisy. Shorten the wires, reseat the clip, try a lower speed; {}",
        Trouble::IdDiffers
    )]
    UnstableId {
        /// One reading.
        first: JedecId,
        /// The next.
        second: JedecId,
    },
    /// Neither the table of parts nor the chip itself tells how to drive it.
    #[error(
        "the chip with JEDEC id {id} is not known, and it does not describe itself by SFDP ({reason}). If it is like one that \
         norfuse knows, name that with --chip; {}",
        Trouble::UnknownId
    )]
    UnknownChip {
        /// Its id.
        id: JedecId,
        /// What is wrong with its SFDP.
        reason: sfdp::Error,
    },
    /// The table and the chip contradict each other.
    #[error(
        "the chip with JEDEC id {id} should have {expected} bytes ({name}) but says by SFDP that it has {described}; \
         it is not what its id says, or the wire is noisy; {}",
        Trouble::UnknownId
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
    /// The chip has more than 16 MiB, and does not take addresses as its part should; or nothing shows whether it does.
    #[error(
        "the chip has more than 16 MiB, but {0}. Nothing was written; if it is another part, name that with --chip"
    )]
    Addressing(&'static str),
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
        "the chip stopped answering: its JEDEC id reads {found} instead of {expected}; check clip and power; {}",
        silence(*found)
    )]
    Gone {
        /// The id at start.
        expected: JedecId,
        /// The id now.
        found: JedecId,
    },
    /// A chip answers where the known one was, but it is another one.
    #[error(
        "another chip answers than the one from the start: {found} instead of {expected}; connect that one again"
    )]
    OtherChip {
        /// JEDEC id and unique id at start.
        expected: Identifiers,
        /// JEDEC id and unique id now.
        found: Identifiers,
    },
    /// The status registers were not the same in a row of readings.
    #[error(
        "the status registers read {first}, then {second}: the wire is too noisy to change them. Shorten the wires, \
         reseat the clip; {}",
        Trouble::IdDiffers
    )]
    UnstableStatus {
        /// One reading.
        first: StatusRegisters,
        /// The next.
        second: StatusRegisters,
    },
    /// A volatile status register write changed nothing.
    #[error(
        "the chip does not take a volatile change of its status registers ({registers}). If its WP# pin is not at 3.3 V, \
         connect it; else --unlock=permanent clears the protection for good, also for the device that the chip belongs to; {}",
        Trouble::Protected
    )]
    NeedsPermanent {
        /// The registers as they stay.
        registers: StatusRegisters,
    },
    /// No status register write changes anything.
    #[error(
        "the status registers cannot be written ({registers}): connect the chip's WP# pin to 3.3 V; if it is, cycle the \
         chip's power, and if that does not help they are locked for good; {}",
        Trouble::Protected
    )]
    StatusLocked {
        /// The registers as they stay.
        registers: StatusRegisters,
    },
    /// A status register took another value than it was given.
    #[error(
        "status register {register} was to become {wanted:02x} but is {found:02x}; check clip and power, and compare it \
         with what --identify showed before the chip goes back into its device"
    )]
    StatusNotTaken {
        /// Which one, from 1.
        register: u8,
        /// What was written.
        wanted: u8,
        /// What it reads.
        found: u8,
    },
    /// Unlocking for good would be unsafe.
    #[error(
        "SR2 bit 6 is set ({registers}): clearing BP for good under a complement (CMP) would protect the whole chip, and \
         the bit itself may be a dummy-cycle setting, which norfuse does not change for good. Use --unlock; {}",
        Trouble::Protected
    )]
    ComplementSet {
        /// The registers.
        registers: StatusRegisters,
    },
    /// The chip refuses, and norfuse does not know what its registers mean.
    #[error(
        "norfuse does not know how protection is cleared on this part ({registers}). Connect WP# and HOLD# to 3.3 V; its data \
         sheet tells what the registers protect; {}",
        Trouble::Protected
    )]
    UnknownProtection {
        /// The registers.
        registers: StatusRegisters,
    },
    /// The chip refuses, and nothing is left that unlocking could clear.
    #[error(
        "nothing that norfuse can clear protects the chip ({registers}). Connect WP# and HOLD# to 3.3 V and check the \
         supply; if it still refuses, it is worn or locked for good; {}",
        Trouble::Protected
    )]
    NothingToUnlock {
        /// The registers.
        registers: StatusRegisters,
    },
}

/// The symptom of a chip that has answered with `id`, which is not its own.
fn silence(id: JedecId) -> Trouble {
    match id.0 {
        [0xFF, 0xFF, 0xFF] => Trouble::AllOnes,
        [0x00, 0x00, 0x00] => Trouble::AllZeros,
        _ => Trouble::IdDiffers,
    }
}
