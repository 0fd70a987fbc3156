//! How long the chip at hand stays busy with what, as far as it has shown. Not for waiting: that is in [`super::writing`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::part::Part;

/// Each observation moves the average by at least its share of this many, so that it follows a chip that gets warm or old.
const MEMORY: u64 = 8;

/// Until a chip has been observed, its times may be off the typical ones by this part.
const UNKNOWN: u32 = 8;

/// After one observation the next may be off it by this part.
const HARDLY_KNOWN: u32 = 32;

/// How long one kind of operation keeps the chip busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusyTime {
    average: Duration,
    /// How far observations are from the average, on average.
    deviation: Duration,
    observed: u64,
}

impl BusyTime {
    /// For an operation that has not been observed yet.
    pub(super) fn new(typical: Duration) -> Self {
        Self { average: typical, deviation: typical / UNKNOWN, observed: 0 }
    }

    /// The moving average of what was observed; the part's typical time before anything was.
    pub fn average(&self) -> Duration {
        self.average
    }

    /// How many operations were observed.
    pub fn observed(&self) -> u64 {
        self.observed
    }

    /// From when on an operation may well be over.
    pub(super) fn earliest(&self) -> Duration {
        self.average.saturating_sub(self.deviation)
    }

    /// How long to leave a chip alone that was still busy after `waited`: little about when it should be ready, and more the
    /// longer it is overdue.
    pub(super) fn pause(&self, waited: Duration) -> Duration {
        (self.deviation / 2).max(waited.saturating_sub(self.average) / 8)
    }

    /// Takes note of an operation that was still under way at `busy_until` and over at `ready_at`, both since it began. With
    /// nothing known of when it was under way, `busy_until` is 0.
    pub(super) fn observe(&mut self, busy_until: Duration, ready_at: Duration) {
        let mut time = if (busy_until..=ready_at).contains(&self.average) {
            // The time between two looks is no deviation of the chip's.
            self.average
        } else if busy_until.is_zero() {
            ready_at * 7 / 8
        } else {
            (busy_until + ready_at) / 2
        };
        if self.observed == 0 {
            self.average = time;
            self.deviation = time / HARDLY_KNOWN;
        } else {
            // A host that was busy itself may have seen it late.
            time = time.clamp(self.average / 2, self.average * 2);
            self.deviation = (3 * self.deviation + time.abs_diff(self.average)) / 4;
            let share = u32::try_from((self.observed + 1).min(MEMORY)).unwrap_or(1);
            self.average = (self.average * (share - 1) + time) / share;
        }
        self.observed += 1;
    }
}

/// How long everything keeps the chip busy that norfuse has it do all the time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Times {
    /// Programs of at least half a page: shorter ones are over sooner.
    pub page_program: BusyTime,
    /// By what is erased, in bytes.
    pub erases: BTreeMap<u32, BusyTime>,
}

impl Default for BusyTime {
    fn default() -> Self {
        Self::new(Duration::ZERO)
    }
}

impl Times {
    /// What is typical of `part`.
    pub(super) fn typical(part: &Part) -> Self {
        let erases = part.erase_types.iter();
        Self {
            page_program: BusyTime::new(part.page_program.typical),
            erases: erases.map(|erase| (erase.len, BusyTime::new(erase.typical))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(count: u64) -> Duration {
        Duration::from_micros(count)
    }

    fn observed(typical: Duration, times: impl IntoIterator<Item = Duration>) -> BusyTime {
        let mut busy = BusyTime::new(typical);
        times.into_iter().for_each(|time| busy.observe(time, time));
        busy
    }

    #[test]
    fn the_first_observation_replaces_what_is_typical() {
        assert_eq!(observed(us(600), [us(400)]).average(), us(400));
    }

    #[test]
    fn a_steady_chip_is_soon_known_to_the_microsecond() {
        let busy = observed(us(600), [us(432); 24]);
        assert_eq!(busy.average(), us(432));
        assert!(busy.earliest() > us(431), "{busy:?}");
    }

    #[test]
    fn one_outlier_moves_the_average_by_an_eighth_at_most() {
        let mut busy = observed(us(600), [us(600); 20]);
        busy.observe(Duration::from_secs(1), Duration::from_secs(1));
        assert!(busy.average() <= us(600) * 9 / 8, "{busy:?}");
        (0..40).for_each(|_| busy.observe(us(600), us(600)));
        assert!(busy.average() < us(605), "{busy:?}");
    }

    #[test]
    fn a_chip_that_is_always_ready_already_is_looked_at_earlier_and_earlier() {
        let mut busy = BusyTime::new(us(600));
        for _ in 0..12 {
            busy.observe(Duration::ZERO, busy.earliest());
        }
        assert!(busy.earliest() < us(200), "{busy:?}");
    }

    #[test]
    fn looks_that_agree_with_what_is_expected_change_nothing_but_make_it_surer() {
        let mut busy = observed(us(600), [us(600); 4]);
        let before = busy;
        busy.observe(us(570), us(650));
        busy.observe(Duration::ZERO, us(900));
        assert_eq!(busy.average(), before.average());
        assert!(busy.earliest() > before.earliest());
    }
}
