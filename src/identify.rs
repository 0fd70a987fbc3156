//! `norfuse --identify`: what is on the wire, on one page.

use std::fmt::Write as _;

use crate::chip::Chip;
use crate::chip::part::{Source, THREE_BYTE_SIZE};
use crate::chip::status::{Protection, RegisterMap};

/// The page about `chip`, which is on `device`.
pub fn page(device: &str, chip: &Chip) -> String {
    let part = chip.part();
    let mut page = String::new();
    let mut row = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(page, "{name:<17}{value}");
    };
    row("device", device);
    row("part", &part.name);
    row(
        "known from",
        match part.source {
            Source::Table => "norfuse's table of parts",
            Source::Sfdp => "the chip's SFDP",
            Source::User => "--chip",
        },
    );
    row("JEDEC id", &chip.id().to_string());
    row("unique id", &chip.unique_id().map_or("none".to_owned(), hex));
    row("size", &format!("{} bytes ({})", part.size, short(part.size)));
    if part.size > THREE_BYTE_SIZE {
        row("address bytes", part.addressing.describe());
    }
    row("page", &format!("{} bytes", part.page_len));
    let erases: Vec<String> =
        part.erase_types.iter().map(|erase| format!("{} ({:02X})", short(erase.len), erase.opcode)).collect();
    row("erase sizes", &erases.join(", "));
    row("SFDP", &chip.sfdp().map_or("none".to_owned(), |space| format!("{} bytes", space.len())));
    row("status registers", &status_registers(chip));
    let maps = part.registers.maps();
    for &map in maps {
        let name = match map {
            RegisterMap::A => "protected, map A",
            RegisterMap::B => "protected, map B",
            RegisterMap::W25q => "protected",
        };
        row(name, &protection(&chip.status().protection(map, part.size)));
    }
    if maps.is_empty() {
        row("protected", "not known of this part");
    }
    row("read command", &format!("{:02X}: {}", chip.read_opcode(), chip.read_mode().reason()));
    row("clock", &clock(chip));
    row("bytes a message", &chip.max_read_len().to_string());
    page
}

fn clock(chip: &Chip) -> String {
    let calibration = chip.calibration();
    let chosen = if calibration.auto { "found" } else { "given" };
    let failure =
        calibration.first_failure_hz.map_or_else(String::new, |hz| format!("; reads differ at {hz} Hz"));
    format!("{} Hz asked for ({chosen}{failure})", chip.clock())
}

fn status_registers(chip: &Chip) -> String {
    let present = if chip.part().registers.are_three() { 3 } else { 1 };
    let values: Vec<String> = chip.status().0[..present].iter().map(|value| format!("{value:02x}")).collect();
    values.join(" ")
}

fn protection(protection: &Protection) -> String {
    match protection {
        Protection::None => "nothing".to_owned(),
        Protection::Range(range) => format!("{:#08x} to {:#08x}", range.start, range.end - 1),
        Protection::IndividualLocks => "each block by a lock of its own (WPS)".to_owned(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn short(len: u32) -> String {
    if len >= 1 << 20 { format!("{} MiB", len >> 20) } else { format!("{} KiB", len >> 10) }
}
