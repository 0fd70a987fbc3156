//! When to read again what has been read only once, and what of it next.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::SECTOR_LEN;
use super::cache::Trust;
use super::state::State;

/// The bus counts as idle when nobody has wanted anything of it for this long.
const IDLE: Duration = Duration::from_secs(2);

/// After a reading that failed, scrubbing rests for this long.
const REST: Duration = Duration::from_secs(10);

/// Where scrubbing is.
pub(super) struct Scrub {
    /// The sector to go on from.
    cursor: u32,
    /// Not before this.
    due: Instant,
}

impl Scrub {
    pub(super) fn new() -> Self {
        Self { cursor: 0, due: Instant::now() + IDLE }
    }

    /// Somebody has wanted something of the bus.
    pub(super) fn postpone(&mut self) {
        self.due = self.due.max(Instant::now() + IDLE);
    }

    /// What is before `sector` has had its turn.
    pub(super) fn go_on_from(&mut self, sector: u32) {
        self.cursor = sector;
    }

    /// A reading has failed.
    pub(super) fn rest(&mut self) {
        self.due = Instant::now() + REST;
    }

    /// The run of sectors to read again now, or when to look again, if there is anything left.
    pub(super) fn next(&self, state: &State, longest: u32) -> Option<Result<Range<u32>, Instant>> {
        let first = state.cache.next_read_once(self.cursor)?;
        if Instant::now() < self.due {
            return Some(Err(self.due));
        }
        let most = (longest / SECTOR_LEN).max(1);
        let end = (first..first + most)
            .take_while(|&sector| state.cache.trust(sector) == Trust::ReadOnce)
            .last()
            .map_or(first, |last| last + 1);
        Some(Ok(first * SECTOR_LEN..end * SECTOR_LEN))
    }
}
