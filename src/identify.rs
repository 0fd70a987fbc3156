//! `norfuse --identify`: what is on the wire, and whether it is well enough to go on. A page for people, or JSON for programs.

use serde::Serialize;

use crate::chip::part::{Source, THREE_BYTE_SIZE};
use crate::chip::status::{Protection, RegisterMap};
use crate::chip::{Calibration, Chip};
use crate::facts::{BusFacts, ChipFacts, ProtectionFacts, ReadFacts, hex};
use crate::image::{Description, ReadCommand};
use crate::page::{self, Page, Tone};
use crate::trouble::Trouble;

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    /// Nothing stands in the way, but it should be known.
    Note,
    /// Something will not work.
    Trouble,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    text: String,
    symptom: Option<Trouble>,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, text: String) -> Self {
        Self { name, verdict, text, symptom: None }
    }

    fn see(self, symptom: Trouble) -> Self {
        Self { symptom: Some(symptom), ..self }
    }
}

/// What `--identify --json` prints.
#[derive(Serialize)]
struct Identity<'a> {
    norfuse: &'static str,
    verdict: Verdict,
    checks: Vec<Check>,
    chip: ChipFacts<'a>,
    protection: ProtectionWithPins<'a>,
    bus: BusWithMessages<'a>,
    read: ReadFacts,
}

#[derive(Serialize)]
struct ProtectionWithPins<'a> {
    quad_enable: Option<bool>,
    #[serde(flatten)]
    protection: ProtectionFacts<'a>,
}

#[derive(Serialize)]
struct BusWithMessages<'a> {
    #[serde(flatten)]
    bus: BusFacts<'a>,
    max_message_bytes: usize,
}

/// What programs want to know about `chip`, which is on `device`, as one JSON object.
pub fn json(device: &str, chip: &Chip) -> String {
    let description = Description::of(chip);
    let checks = checks(chip);
    let identity = Identity {
        norfuse: env!("CARGO_PKG_VERSION"),
        verdict: worst(&checks),
        checks,
        chip: (&description).into(),
        protection: ProtectionWithPins {
            quad_enable: chip.status().quad_enable(chip.part().registers),
            protection: (&description).into(),
        },
        bus: BusWithMessages {
            bus: BusFacts::new(device, chip.clock(), chip.calibration()),
            max_message_bytes: chip.max_read_len(),
        },
        read: ReadCommand::of(chip).into(),
    };
    serde_json::to_string_pretty(&identity).unwrap_or_default() + "\n"
}

/// The page about `chip`, which is on `device`.
pub fn page(device: &str, chip: &Chip) -> Page {
    let part = chip.part();
    let mut page = Page::default();
    let checks = checks(chip);
    let sentence = match worst(&checks) {
        Verdict::Trouble => "answers, but not everything is well",
        Verdict::Ok | Verdict::Note => "is ready to be mounted",
    };
    page.heading(&format!("{} ({}) {sentence}", part.name, page::size(part.size)));
    for Check { verdict, text, symptom, .. } in &checks {
        let (tone, word) = match verdict {
            Verdict::Ok => (Tone::Good, "ok"),
            Verdict::Note => (Tone::Careful, "note"),
            Verdict::Trouble => (Tone::Bad, "trouble"),
        };
        page.remark(tone, word, text);
        if let Some(trouble) = symptom {
            page.more(&trouble.to_string());
        }
    }
    page.heading("Chip");
    page.row("part", &part.name);
    page.row("known from", known_from(part.source));
    page.row("JEDEC id", &chip.id().to_string());
    page.row("unique id", &chip.unique_id().map_or("none".to_owned(), hex));
    page.row("SFDP", &chip.sfdp().map_or("none".to_owned(), |space| format!("{} bytes", space.len())));
    page.heading("Memory");
    page.row("size", &format!("{} bytes ({})", part.size, page::size(part.size)));
    if part.size > THREE_BYTE_SIZE {
        page.row("address bytes", part.addressing.describe());
    }
    page.row("page", &format!("{} bytes", part.page_len));
    let erases =
        part.erase_types.iter().map(|erase| format!("{} ({:02X})", page::size(erase.len), erase.opcode));
    page.row("erase sizes", &erases.collect::<Vec<_>>().join(", "));
    page.heading("Protection");
    page.row("status registers", &status_registers(chip));
    show_protection(&mut page, chip);
    if let Some(is_set) = chip.status().quad_enable(part.registers) {
        page.row("quad enable", if is_set { "set" } else { "clear" });
    }
    page.heading("Bus");
    page.row("device", device);
    page.row("clock", &clock(chip));
    page.row("read command", &format!("{:02X}: {}", chip.read_opcode(), chip.read_mode().reason()));
    page.row("bytes a message", &chip.max_read_len().to_string());
    page
}

fn worst(checks: &[Check]) -> Verdict {
    checks.iter().map(|check| check.verdict).max().unwrap_or(Verdict::Ok)
}

fn checks(chip: &Chip) -> Vec<Check> {
    let mut checks = vec![reading(chip.clock(), chip.calibration()), protection_check(chip), unique_id(chip)];
    checks.extend(chip.status().quad_enable(chip.part().registers).map(quad_enable));
    checks
}

fn reading(clock_hz: u32, calibration: Calibration) -> Check {
    let clock = page::frequency(clock_hz);
    match calibration.first_failure_hz {
        None => Check::new("reading", Verdict::Ok, format!("it reads the same each time at {clock}")),
        Some(failure) if failure > clock_hz => {
            let failure = page::frequency(failure);
            let text = format!("it reads the same each time at {clock}, but not at {failure}");
            Check::new("reading", Verdict::Note, text)
        }
        Some(failure) => {
            let text = format!("it does not read the same each time at {}", page::frequency(failure));
            Check::new("reading", Verdict::Trouble, text).see(Trouble::DumpsDiffer)
        }
    }
}

fn protection_check(chip: &Chip) -> Check {
    let under = protections(chip);
    let protecting = under.iter().filter(|(_, protection)| *protection != Protection::None).count();
    let check = |verdict, text: &str| Check::new("protection", verdict, text.to_owned());
    match (under.len(), protecting) {
        (0, _) => check(Verdict::Note, "whether it is write-protected is not known of this part"),
        (_, 0) => check(Verdict::Ok, "nothing is write-protected"),
        (maps, protecting) if protecting < maps => check(
            Verdict::Note,
            "whether it is write-protected depends on what its registers mean, see below",
        )
        .see(Trouble::Protected),
        _ => check(Verdict::Trouble, "it is write-protected, see below").see(Trouble::Protected),
    }
}

fn unique_id(chip: &Chip) -> Check {
    let (verdict, text) = match chip.unique_id() {
        Some(_) => (Verdict::Ok, "it has a unique id, by which it is recognised"),
        None => (Verdict::Note, "it has no unique id, and is recognised by what is on it"),
    };
    Check::new("unique_id", verdict, text.to_owned())
}

fn quad_enable(is_set: bool) -> Check {
    let (verdict, text) = if is_set {
        (Verdict::Ok, "quad enable is set: WP# and HOLD# are data lines and stop nothing")
    } else {
        (Verdict::Note, "quad enable is clear: WP# and HOLD# must be at 3.3 V")
    };
    Check::new("quad_enable", verdict, text.to_owned())
}

fn known_from(source: Source) -> &'static str {
    match source {
        Source::Table => "norfuse's table of parts",
        Source::Sfdp => "the chip's SFDP",
        Source::User => "--chip",
    }
}

fn clock(chip: &Chip) -> String {
    let calibration = chip.calibration();
    let chosen = if calibration.auto { "found" } else { "given" };
    format!("{} Hz ({chosen})", chip.clock())
}

fn status_registers(chip: &Chip) -> String {
    let present = if chip.part().registers.are_three() { 3 } else { 1 };
    let values: Vec<String> = chip.status().0[..present].iter().map(|value| format!("{value:02x}")).collect();
    values.join(" ")
}

fn protections(chip: &Chip) -> Vec<(RegisterMap, Protection)> {
    let part = chip.part();
    part.registers.maps().iter().map(|&map| (map, chip.status().protection(map, part.size))).collect()
}

fn show_protection(page: &mut Page, chip: &Chip) {
    let under = protections(chip);
    for (map, protection) in &under {
        let name = match map {
            RegisterMap::A => "protected, map A",
            RegisterMap::B => "protected, map B",
            RegisterMap::W25q => "protected",
        };
        page.row(name, &protected(protection));
    }
    if under.is_empty() {
        page.row("protected", "not known of this part");
    }
}

fn protected(protection: &Protection) -> String {
    match protection {
        Protection::None => "nothing".to_owned(),
        Protection::Range(range) => format!("{:#08x} to {:#08x}", range.start, range.end - 1),
        Protection::IndividualLocks => "each block by a lock of its own (WPS)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chip::Speed;
    use crate::spi::sim::{Pace, Simulated};

    fn chip(speed: Speed) -> Chip {
        Chip::identify(Box::new(Simulated::demonstration(Pace::Virtual)), speed).unwrap()
    }

    fn parsed(chip: &Chip) -> serde_json::Value {
        serde_json::from_str(&json("sim:", chip)).unwrap()
    }

    #[test]
    fn the_first_line_tells_which_chip_it_is_and_whether_it_is_well() {
        let page = page("sim:", &chip(Speed::Auto)).plain();
        assert_eq!(page.lines().next(), Some("FM25Q128A (16 MiB) is ready to be mounted"));
        assert!(page.contains("nothing is write-protected"), "{page}");
    }

    #[test]
    fn programs_get_every_figure_as_a_number() {
        let json = parsed(&chip(Speed::Fixed(8_000_000)));
        assert_eq!(json["chip"]["size"], 16 << 20);
        assert_eq!(json["chip"]["erase_sizes"], serde_json::json!([4096, 32768, 65536]));
        assert_eq!(json["bus"]["clock_hz"], 8_000_000);
        assert_eq!(json["bus"]["max_message_bytes"], 65536);
        assert_eq!(json["protection"]["quad_enable"], false);
        assert_eq!(json["verdict"], "note");
    }

    #[test]
    fn a_wire_that_reads_differently_at_the_clock_in_use_is_trouble_and_at_a_faster_one_is_not() {
        let at = |first_failure_hz| reading(8_000_000, Calibration { auto: true, first_failure_hz });
        assert_eq!(at(None).verdict, Verdict::Ok);
        assert_eq!(at(Some(16_000_000)).verdict, Verdict::Note);
        let noisy = at(Some(8_000_000));
        assert_eq!(noisy.verdict, Verdict::Trouble);
        assert_eq!(noisy.symptom, Some(Trouble::DumpsDiffer));
    }
}
