//! `norfuse --list`: which devices norfuse could use on this machine, and what stands in the way of the others. A page for people,
//! or JSON for programs.
//!
//! Looks at file names, modes and locks only: no byte reaches a chip.

mod access;
mod host;
mod message_length;
mod mounting;
mod nodes;

use std::path::Path;

use serde::Serialize;

use crate::page::{Page, Tone};
use crate::trouble::Trouble;
use host::Host;
use message_length::MessageLength;

/// What could be used.
#[derive(Debug, Serialize)]
pub struct List {
    norfuse: &'static str,
    devices: Vec<Device>,
    /// Why there is no spidev node at all.
    spi: Option<Obstacle>,
    mounting: Mounting,
    message_length: Option<MessageLength>,
}

/// A device, by the name under which norfuse knows it.
#[derive(Debug, Serialize)]
struct Device {
    device: String,
    kind: Kind,
    usable: bool,
    obstacle: Option<Obstacle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Spidev,
    Simulated,
}

/// Whether this user can mount.
#[derive(Debug, Serialize)]
struct Mounting {
    usable: bool,
    obstacles: Vec<Obstacle>,
}

/// What stands in the way, and what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Obstacle {
    /// The row of the troubleshooting table.
    symptom: Option<Trouble>,
    reason: String,
    /// One step each: a sentence, or a command to be typed.
    cure: Vec<String>,
}

impl Obstacle {
    fn new(symptom: Option<Trouble>, reason: impl Into<String>, cure: &[&str]) -> Self {
        let cure = cure.iter().map(|&step| step.to_owned()).collect();
        Self { symptom, reason: reason.into(), cure }
    }
}

impl Device {
    fn spidev(path: &Path, obstacle: Option<Obstacle>) -> Self {
        let device = path.display().to_string();
        Self { device, kind: Kind::Spidev, usable: obstacle.is_none(), obstacle }
    }

    fn simulated(name: &str) -> Self {
        Self { device: name.to_owned(), kind: Kind::Simulated, usable: true, obstacle: None }
    }
}

impl List {
    /// What there is on this machine, for the user who runs this process.
    pub fn of_this_machine() -> Self {
        Self::of(&Host::this())
    }

    fn of(host: &Host) -> Self {
        let mut devices = nodes::devices(host);
        let spi = devices.is_empty().then(|| nodes::why_there_are_none(host));
        devices.extend(["sim:", "sim:FILE"].map(Device::simulated));
        let obstacles = mounting::obstacles(host);
        Self {
            norfuse: env!("CARGO_PKG_VERSION"),
            devices,
            spi,
            mounting: Mounting { usable: obstacles.is_empty(), obstacles },
            message_length: MessageLength::of(host),
        }
    }

    /// For programs: one JSON object.
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// For people.
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        page.heading("Devices");
        for device in &self.devices {
            show_device(&mut page, device);
        }
        if let Some(obstacle) = &self.spi {
            show_obstacle(&mut page, "spidev", "none", obstacle);
        }
        page.heading("Mounting");
        if self.mounting.usable {
            page.verdict("FUSE", Tone::Good, "usable", "");
        }
        for obstacle in &self.mounting.obstacles {
            show_obstacle(&mut page, "FUSE", "not usable", obstacle);
        }
        if let Some(length) = &self.message_length {
            page.heading("Speed");
            length.show(&mut page);
        }
        page.heading("To try");
        self.show_first_steps(&mut page);
        page
    }

    /// With a real chip, if there may be one.
    fn show_first_steps(&self, page: &mut Page) {
        let real = self.devices.iter().find(|device| device.usable && device.kind == Kind::Spidev);
        if let Some(Device { device, .. }) = real {
            page.row("what is there", &format!("norfuse --identify {device}"));
        }
        let device = real.map_or("sim:", |device| &device.device);
        page.row("mount it", &format!("mkdir -p m && norfuse -o ro {device} m && ls m"));
        page.row("unmount it", "fusermount3 -u m");
    }
}

fn show_device(page: &mut Page, device: &Device) {
    match (&device.obstacle, device.device.as_str()) {
        (Some(obstacle), name) => show_obstacle(page, name, "not usable", obstacle),
        (None, "sim:") => {
            page.verdict("sim:", Tone::Good, "usable", ": a simulated FM25Q128A with a small firmware");
        }
        (None, "sim:FILE") => {
            page.verdict("sim:FILE", Tone::Good, "usable", ": the same with its contents in FILE");
        }
        (None, name) => page.verdict(name, Tone::Good, "usable", ""),
    }
}

fn show_obstacle(page: &mut Page, name: &str, word: &str, obstacle: &Obstacle) {
    page.verdict(name, Tone::Bad, word, &format!(": {}", obstacle.reason));
    for step in &obstacle.cure {
        page.more(step);
    }
    if let Some(trouble) = obstacle.symptom {
        page.more(&trouble.to_string());
    }
}

#[cfg(test)]
mod tests;
