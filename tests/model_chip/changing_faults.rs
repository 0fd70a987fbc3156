//! A bus on which faults come and go in the middle of whatever is going on.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use norfuse::spi::sim::Simulated;
use norfuse::spi::sim::faults::Faults;
use norfuse::spi::{Bus, Error, Transaction};
use parking_lot::Mutex;

/// Faults that are yet to come into force, each after so many messages since the one before. Counting messages, unlike
/// waiting, lets the same history happen twice.
#[derive(Default, Clone)]
pub struct Schedule(Arc<Mutex<Changes>>);

#[derive(Default)]
struct Changes {
    to_come: VecDeque<(u64, Faults)>,
    /// Whether the chip is left alone for a while before the next message.
    rests: bool,
}

/// How long it takes somebody to put a clip right: longer than any erase.
const REST: Duration = Duration::from_secs(10);

impl Schedule {
    /// Other faults, `after` so many messages.
    pub fn push(&self, after: u64, faults: Faults) {
        self.0.lock().to_come.push_back((after, faults));
    }

    /// Forgets what is to come, and leaves the chip alone until it has done whatever it was told.
    pub fn rest(&self) {
        *self.0.lock() = Changes { to_come: VecDeque::new(), rests: true };
    }

    /// Counts a message; returns the faults that come into force before it, and how long the chip is left alone.
    fn next(&self) -> (Option<Faults>, Duration) {
        let mut changes = self.0.lock();
        let mut due = None;
        while changes.to_come.front().is_some_and(|(after, _)| *after == 0) {
            due = changes.to_come.pop_front().map(|(_, faults)| faults);
        }
        if let Some((after, _)) = changes.to_come.front_mut() {
            *after -= 1;
        }
        let rests = std::mem::take(&mut changes.rests);
        (due, if rests { REST } else { Duration::ZERO })
    }
}

/// A simulated chip whose faults follow a schedule.
pub struct ChangingFaults {
    pub bus: Simulated,
    pub schedule: Schedule,
}

impl Bus for ChangingFaults {
    fn transfer(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        let (faults, rest) = self.schedule.next();
        self.bus.sleep(rest);
        if let Some(faults) = faults {
            self.bus.model().set_faults(faults);
        }
        self.bus.transfer(transactions)
    }

    fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        self.bus.set_clock(hz)
    }

    fn clock(&self) -> u32 {
        self.bus.clock()
    }

    fn max_data_len(&self) -> usize {
        self.bus.max_data_len()
    }

    fn now(&self) -> Duration {
        self.bus.now()
    }

    fn sleep(&mut self, duration: Duration) {
        self.bus.sleep(duration);
    }
}
