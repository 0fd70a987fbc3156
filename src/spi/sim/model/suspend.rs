//! Suspending an erase and resuming it, as the W25Q128 class does; unconfirmed for this part. Suspending a program is not modelled.

use std::ops::Range;
use std::time::Duration;

use super::{Activity, Model};
use crate::spi::sim::command::Command;
use crate::spi::sim::tally::Violation;

/// The erase that is under way, or suspended.
#[derive(Debug)]
pub(super) struct Erase {
    unit: Range<u32>,
    /// When it last began or went on.
    running_since: Duration,
    /// What was left of it when it was suspended, if it is.
    left: Option<Duration>,
}

impl Erase {
    pub(super) fn new(unit: Range<u32>, now: Duration) -> Self {
        Self { unit, running_since: now, left: None }
    }
}

impl Model {
    /// Whether an erase is suspended, or about to be.
    pub(super) fn is_suspended(&self) -> bool {
        self.erase.as_ref().is_some_and(|erase| erase.left.is_some())
    }

    /// Whether a chip that has suspended an erase hears `command`.
    pub(super) fn hears_while_suspended(command: Command) -> bool {
        matches!(
            command,
            Command::Read
                | Command::FastRead
                | Command::ReadStatus(_)
                | Command::JedecId
                | Command::UniqueId
                | Command::Sfdp
                | Command::Suspend
                | Command::Resume
                | Command::EnableReset
                | Command::Reset
        )
    }

    /// A chip that is not erasing, or has it suspended already, ignores this: a host cannot know that an erase has just ended.
    pub(super) fn suspend(&mut self) {
        let now = self.time;
        let latency = self.configuration.times.suspend;
        let (Activity::Busy { until }, Some(erase)) = (self.activity, &mut self.erase) else {
            return;
        };
        if erase.left.is_some() {
            return;
        }
        if now < erase.running_since + latency {
            self.violations.add(Violation::SuspendTooSoon);
            return;
        }
        erase.left = Some(until.saturating_sub(now));
        self.start(latency);
    }

    /// Likewise ignored when nothing is suspended.
    pub(super) fn resume(&mut self) {
        let Some(erase) = &mut self.erase else {
            return;
        };
        if let Some(left) = erase.left.take() {
            erase.running_since = self.time;
            self.start(left);
        }
    }

    /// Counts a read of what is suspended half way through its erase: such bytes mean nothing.
    pub(super) fn note_read(&mut self, range: Range<u64>) {
        let Some(erase) = self.erase.as_ref().filter(|erase| erase.left.is_some()) else {
            return;
        };
        if range.start < erase.unit.end.into() && u64::from(erase.unit.start) < range.end {
            self.violations.add(Violation::SuspendedRead);
        }
    }
}
