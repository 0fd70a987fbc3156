//! The time on the wires of a spidev node.

use std::thread;
use std::time::{Duration, Instant};

use norfuse::spi::sim::MESSAGE_OVERHEAD;
use norfuse::spi::sim::pacing::{self, Lateness, Pacer};

/// How time passes.
pub(super) enum WireClock {
    /// The real time, and `ahead` of it by what was saved by not waiting.
    Saving { started: Instant, ahead: Duration },
    /// The real time: a message lasts until `moment`. Its caller waits a little longer, for FUSE to carry it to and fro.
    Real { pacer: Pacer, moment: Duration },
}

impl WireClock {
    pub(super) fn saving() -> Self {
        Self::Saving { started: Instant::now(), ahead: Duration::ZERO }
    }

    pub(super) fn real() -> Self {
        Self::Real { pacer: Pacer::new(), moment: Duration::ZERO }
    }

    pub(super) fn now(&self) -> Duration {
        match self {
            Self::Saving { started, ahead } => started.elapsed() + *ahead,
            Self::Real { moment, .. } => *moment,
        }
    }

    pub(super) fn begin_message(&mut self) {
        if let Self::Real { moment, .. } = self {
            *moment = pacing::now() + MESSAGE_OVERHEAD;
        }
    }

    /// Lets `duration` pass within a message.
    pub(super) fn advance(&mut self, duration: Duration) {
        match self {
            Self::Saving { ahead, .. } => *ahead += duration,
            Self::Real { moment, .. } => *moment += duration,
        }
    }

    /// Lets a delay that was asked for pass: it is no waste to be saved, for who asks for it counts on it.
    pub(super) fn delay(&mut self, duration: Duration) {
        match self {
            Self::Saving { .. } => thread::sleep(duration),
            Self::Real { .. } => self.advance(duration),
        }
    }

    pub(super) fn end_message(&self) {
        if let Self::Real { pacer, moment } = self {
            pacer.wait_until(*moment);
        }
    }

    /// How accurately real time was kept, if it is.
    pub(super) fn lateness(&self) -> Option<Lateness> {
        match self {
            Self::Saving { .. } => None,
            Self::Real { pacer, .. } => Some(pacer.lateness()),
        }
    }
}
