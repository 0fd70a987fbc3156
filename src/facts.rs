//! A chip for programs: the objects that `info.json` and `--identify --json` have in common.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chip::Calibration;
use crate::image::{Description, ReadCommand};

/// What a chip is.
#[derive(Debug, Serialize)]
pub struct ChipFacts<'a> {
    name: &'a str,
    source: &'static str,
    jedec_id: &'a str,
    unique_id: Option<String>,
    size: u32,
    page_size: u32,
    erase_sizes: &'a [u32],
    sfdp_bytes: usize,
}

impl<'a> From<&'a Description> for ChipFacts<'a> {
    fn from(description: &'a Description) -> Self {
        Self {
            name: &description.name,
            source: description.source,
            jedec_id: &description.jedec_id,
            unique_id: description.unique_id.as_deref().map(hex),
            size: description.size,
            page_size: description.page_len,
            erase_sizes: &description.erase_lens,
            sfdp_bytes: description.sfdp.as_ref().map_or(0, Vec::len),
        }
    }
}

/// What a chip's registers say cannot be written.
#[derive(Debug, Serialize)]
pub struct ProtectionFacts<'a> {
    status_registers: [String; 3],
    #[serde(flatten)]
    protects: &'a BTreeMap<&'static str, String>,
}

impl<'a> From<&'a Description> for ProtectionFacts<'a> {
    fn from(description: &'a Description) -> Self {
        Self {
            status_registers: description.status_registers.map(|register| format!("{register:02x}")),
            protects: &description.protects,
        }
    }
}

/// How a chip is read.
#[derive(Debug, Serialize)]
pub struct ReadFacts {
    opcode: String,
    reason: &'static str,
}

impl From<ReadCommand> for ReadFacts {
    fn from(command: ReadCommand) -> Self {
        Self { opcode: format!("{:02X}", command.opcode), reason: command.reason }
    }
}

/// What a chip is reached by.
#[derive(Debug, Serialize)]
pub struct BusFacts<'a> {
    device: &'a str,
    clock_hz: u32,
    clock_is_automatic: bool,
    first_failing_clock_hz: Option<u32>,
}

impl<'a> BusFacts<'a> {
    /// Of a bus that the user has named `device`, at a clock in Hz that was chosen as `calibration` tells.
    pub fn new(device: &'a str, clock_hz: u32, calibration: Calibration) -> Self {
        Self {
            device,
            clock_hz,
            clock_is_automatic: calibration.auto,
            first_failing_clock_hz: calibration.first_failure_hz,
        }
    }
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
