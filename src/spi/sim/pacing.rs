//! Keeping real time: waiting for a moment accurately, and an account of how accurately that went.
//!
//! What takes how long is not decided here.

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long before its moment a wait goes over from sleeping to spinning. A sleep whose timer has no slack has ended 25 to 60 us
/// late in the median on a virtual machine of two x86-64 cores, the later the longer it was.
const SPIN: Duration = Duration::from_micros(100);

/// The timer slack of a thread that waits, in ns. The kernel's default is 50000; 0 would mean the default.
const TIMER_SLACK: libc::c_ulong = 1;

/// How many microseconds late a wait may be and still be counted exactly.
const COUNTED_US: usize = 1000;

/// The moment from which real time counts, the same for everything in a process.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

thread_local! {
    /// Takes the timer slack from the thread that first asks for it. Without that, where it is refused, waits are only later.
    static PRECISE_TIMERS: () = nix::sys::prctl::set_timerslack(TIMER_SLACK).unwrap_or_default();
}

/// Real time since some fixed moment in the past.
pub fn now() -> Duration {
    EPOCH.elapsed()
}

/// Waits for moments of [`now`], and keeps account.
#[derive(Debug)]
pub struct Pacer {
    account: Mutex<Account>,
}

/// How late waits have been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lateness {
    /// How many waits there were.
    pub waits: u64,
    /// Half of them were at most this late, to a microsecond.
    pub median: Duration,
    /// 99 of a hundred were at most this late, to a microsecond, or as late as the latest where that is more than a millisecond.
    pub p99: Duration,
    /// The latest.
    pub max: Duration,
    /// How long waits spun: that much processor time at most.
    pub spun: Duration,
}

#[derive(Debug)]
struct Account {
    waits: u64,
    /// How many waits were late by as many whole microseconds as the index says.
    by_us: Box<[u64; COUNTED_US]>,
    max: Duration,
    spun: Duration,
}

impl Pacer {
    /// With an empty account.
    pub fn new() -> Self {
        let account =
            Account { waits: 0, by_us: Box::new([0; COUNTED_US]), max: Duration::ZERO, spun: Duration::ZERO };
        Self { account: Mutex::new(account) }
    }

    /// Returns at `moment`, or at once where that has passed. Sleeps most of the time and spins at the end.
    pub fn wait_until(&self, moment: Duration) {
        let early = moment.saturating_sub(SPIN).saturating_sub(now());
        if !early.is_zero() {
            PRECISE_TIMERS.with(|()| std::thread::sleep(early));
        }
        let awake = now();
        let mut time = awake;
        while time < moment {
            std::hint::spin_loop();
            time = now();
        }
        self.account.lock().add(time - moment, moment.saturating_sub(awake));
    }

    /// How late all waits so far have been.
    pub fn lateness(&self) -> Lateness {
        let account = self.account.lock();
        Lateness {
            waits: account.waits,
            median: account.percentile(50),
            p99: account.percentile(99),
            max: account.max,
            spun: account.spun,
        }
    }
}

impl Default for Pacer {
    fn default() -> Self {
        Self::new()
    }
}

impl Account {
    fn add(&mut self, late: Duration, spun: Duration) {
        self.waits += 1;
        let counted = usize::try_from(late.as_micros()).ok().and_then(|us| self.by_us.get_mut(us));
        if let Some(count) = counted {
            *count += 1;
        }
        self.max = self.max.max(late);
        self.spun += spun;
    }

    /// What `percent` of the waits did not exceed.
    fn percentile(&self, percent: u64) -> Duration {
        let wanted = (self.waits * percent).div_ceil(100);
        let mut counted = 0;
        for (us, count) in (1..).zip(self.by_us.iter()) {
            counted += count;
            if counted >= wanted {
                return Duration::from_micros(us).min(self.max);
            }
        }
        self.max
    }
}

impl fmt::Display for Lateness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { waits, median, p99, max, .. } = self;
        write!(
            f,
            "{waits} waits, late by {} us in the median, {} us at the 99th percentile, {} us at most",
            median.as_micros(),
            p99.as_micros(),
            max.as_micros()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lateness(late_us: impl IntoIterator<Item = u64>) -> Lateness {
        let pacer = Pacer::new();
        for us in late_us {
            pacer.account.lock().add(Duration::from_micros(us), Duration::ZERO);
        }
        pacer.lateness()
    }

    #[test]
    fn a_wait_is_never_too_short() {
        let pacer = Pacer::new();
        for us in [0, 10, 500] {
            let moment = now() + Duration::from_micros(us);
            pacer.wait_until(moment);
            assert!(now() >= moment);
        }
        assert_eq!(pacer.lateness().waits, 3);
    }

    #[test]
    fn a_moment_that_has_passed_is_late_by_all_of_it() {
        let pacer = Pacer::new();
        let moment = now();
        std::thread::sleep(Duration::from_millis(2));
        pacer.wait_until(moment);
        assert!(pacer.lateness().median >= Duration::from_millis(2));
    }

    #[test]
    fn percentiles_are_the_upper_end_of_their_microsecond() {
        let counted = lateness((0..98).chain([200, 300]));
        assert_eq!(counted.median, Duration::from_micros(50));
        assert_eq!(counted.p99, Duration::from_micros(201));
        assert_eq!(counted.max, Duration::from_micros(300));
    }

    #[test]
    fn what_is_too_late_to_be_counted_exactly_is_as_late_as_the_latest() {
        assert_eq!(lateness([5, 2000, 9000]).median, Duration::from_micros(9000));
    }

    #[test]
    fn no_waits_were_not_late() {
        assert_eq!(lateness([]).p99, Duration::ZERO);
    }
}
