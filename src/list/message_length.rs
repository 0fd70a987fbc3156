//! How much one SPI message can carry, and what it would gain to raise that.

use std::time::Duration;

use serde::Serialize;

use super::host::Host;
use crate::page::{Page, Tone, size};

/// The bufsiz that norfuse recommends.
const RECOMMENDED: u32 = 65536;

/// What is read for the figures: all of the largest chip that norfuse was made for.
const FULL_READ: u32 = 16 << 20;

/// What a message costs beside what it carries, as contrib/bench counts it.
const MESSAGE: Duration = Duration::from_micros(15);

/// spidev's bufsiz, and how it is raised.
#[derive(Debug, Serialize)]
pub(super) struct MessageLength {
    bufsiz: u32,
    recommended_bufsiz: u32,
    /// For 16 MiB.
    messages_per_full_read: u32,
    /// The same with the recommended bufsiz.
    recommended_messages_per_full_read: u32,
    /// How much faster such a read would be, at 15 us a message.
    gain_us: u64,
    pub(super) cure: Vec<String>,
}

impl MessageLength {
    /// None as long as spidev is not loaded.
    pub(super) fn of(host: &Host) -> Option<Self> {
        let bufsiz = Host::text(&host.module("spidev/parameters/bufsiz"))?;
        let bufsiz = bufsiz.parse().ok().filter(|&bufsiz| bufsiz > 0)?;
        let messages = |bufsiz: u32| FULL_READ.div_ceil(bufsiz);
        let gain = MESSAGE * messages(bufsiz).saturating_sub(messages(RECOMMENDED));
        Some(Self {
            bufsiz,
            recommended_bufsiz: RECOMMENDED,
            messages_per_full_read: messages(bufsiz),
            recommended_messages_per_full_read: messages(RECOMMENDED),
            gain_us: u64::try_from(gain.as_micros()).unwrap_or(u64::MAX),
            cure: if bufsiz < RECOMMENDED { cure(host) } else { Vec::new() },
        })
    }

    pub(super) fn show(&self, page: &mut Page) {
        let bufsiz = format!("{} a message", size(self.bufsiz));
        if self.cure.is_empty() {
            page.verdict("spidev bufsiz", Tone::Good, &bufsiz, "");
            return;
        }
        page.verdict(
            "spidev bufsiz",
            Tone::Careful,
            &bufsiz,
            &format!("; with {} reading is faster:", size(RECOMMENDED)),
        );
        page.more(&format!(
            "16 MiB take {} messages, not {}: {} ms more at 15 us each",
            self.messages_per_full_read,
            self.recommended_messages_per_full_read,
            self.gain_us / 1000
        ));
        for step in &self.cure {
            page.more(step);
        }
    }
}

/// Only what is a module has a state of initialisation.
fn cure(host: &Host) -> Vec<String> {
    let steps: &[&str] = if host.module("spidev/initstate").exists() {
        &[
            "echo options spidev bufsiz=65536 | sudo tee /etc/modprobe.d/norfuse.conf",
            "sudo modprobe -r spidev && sudo modprobe spidev",
        ]
    } else if host.is_raspberry_pi() {
        &["append spidev.bufsiz=65536 to the line in /boot/firmware/cmdline.txt", "reboot"]
    } else {
        &["append spidev.bufsiz=65536 to the kernel's command line", "reboot"]
    };
    steps.iter().map(|&step| step.to_owned()).collect()
}
