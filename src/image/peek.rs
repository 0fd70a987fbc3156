//! For those who search the chip rather than use it: looks at single sectors that leave the cache as it is, what is cached, and what is
//! not on the chip yet.

use std::ops::Range;

use super::{Error, Image, ReadDone, SECTOR_LEN};

/// A run of cached sectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cached {
    /// Where it begins on the chip.
    pub address: u32,
    /// What it held when it was last read or written.
    pub bytes: Vec<u8>,
}

/// A sector with bytes that were written and that the chip does not hold yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwritten {
    /// Where it begins on the chip.
    pub address: u32,
    /// Whether the chip has refused them.
    pub is_refused: bool,
}

/// Somebody wants to have a look at a sector.
pub(super) struct Peek {
    /// The sector's address in bytes.
    pub(super) address: u32,
    pub(super) done: ReadDone,
}

impl Image {
    /// Looks at the sector at `address`: from memory if it is there, else on the chip, once, without taking it into the cache.
    ///
    /// # Errors
    /// `done` is told [`Error::Read`] when the chip cannot be read.
    pub fn peek(&self, address: u32, done: ReadDone) {
        let mut state = self.shared.state.lock();
        if state.stopping {
            drop(state);
            return done(Err(Error::Stopped));
        }
        state.peeks.push_back(Peek { address, done });
        self.shared.work.notify_one();
    }

    /// The moment, for [`cached_since`](Self::cached_since): it moves on when something gets into the cache.
    pub fn cache_moment(&self) -> u64 {
        self.shared.state.lock().cache.moment()
    }

    /// Copies what is cached of the whole sectors of `range`, if any of it has got into the cache after `moment`; else nothing.
    /// Everybody else waits meanwhile, so `range` should be short.
    pub fn cached_since(&self, range: Range<u32>, moment: u64) -> Vec<Cached> {
        let state = self.shared.state.lock();
        let sectors = range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN);
        if !sectors.clone().any(|sector| state.cache.is_newer(sector, moment)) {
            return Vec::new();
        }
        let mut runs: Vec<Cached> = Vec::new();
        let mut next = None;
        for sector in sectors.filter(|&sector| state.cache.is_cached(sector)) {
            let address = sector * SECTOR_LEN;
            if next != Some(sector) {
                runs.push(Cached { address, bytes: Vec::new() });
            }
            if let Some(run) = runs.last_mut() {
                run.bytes.extend_from_slice(state.cache.bytes(address..address + SECTOR_LEN));
            }
            next = Some(sector + 1);
        }
        runs
    }

    /// The sectors of which something is not on the chip yet, by address.
    pub fn unwritten(&self) -> Vec<Unwritten> {
        self.shared.state.lock().unwritten().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::chip::{Chip, Speed};
    use crate::image::Options;
    use crate::spi::sim::{Pace, Simulated, demo};

    fn demonstration() -> Image {
        let bus = Simulated::demonstration(Pace::Virtual);
        let chip = Chip::identify(Box::new(bus), Speed::Fixed(32_000_000)).unwrap();
        let options =
            Options { read_repeat: 1, scrub: false, journal: None, unlock: None, replay_always: false };
        Image::start(chip, options).unwrap()
    }

    fn see(image: &Image, address: u32) -> Vec<u8> {
        let (sender, receiver) = channel();
        image.peek(address, Box::new(move |result| drop(sender.send(result.map(<[u8]>::to_vec)))));
        receiver.recv().unwrap().unwrap()
    }

    fn read(image: &Image, address: u32) {
        let (sender, receiver) = channel();
        image.read(address..address + 1, Box::new(move |result| sender.send(result.is_ok()).unwrap()));
        assert!(receiver.recv().unwrap());
    }

    #[test]
    fn a_look_shows_what_a_read_would_and_leaves_cache_and_counters_alone() {
        let image = demonstration();
        let before = image.report();
        let sector = 10 * SECTOR_LEN;
        assert!(see(&image, sector) == demo::firmware()[sector as usize..][..SECTOR_LEN as usize]);
        let after = image.report();
        assert_eq!(after.cached_sectors, 0);
        let read = after.totals.bytes_read - after.counts.aside.bytes_read;
        assert_eq!(read, before.totals.bytes_read);
        let (sender, receiver) = channel();
        image.write(sector, sector, b"new", Box::new(move |result| sender.send(result.is_ok()).unwrap()));
        assert!(receiver.recv().unwrap());
        assert_eq!(see(&image, sector)[..3], *b"new");
    }

    #[test]
    fn what_is_written_is_not_on_the_chip_until_it_is_committed() {
        let image = demonstration();
        let (sender, receiver) = channel();
        let told = || {
            let sender = sender.clone();
            Box::new(move |result: Result<(), _>| sender.send(result.is_ok()).unwrap())
        };
        image.write(5000, 5000, &[1; SECTOR_LEN as usize], told());
        let unwritten = [SECTOR_LEN, 2 * SECTOR_LEN].map(|address| Unwritten { address, is_refused: false });
        assert_eq!(image.unwritten(), unwritten);
        image.commit(0..image.size(), told());
        assert!(receiver.recv().unwrap() && receiver.recv().unwrap());
        assert_eq!(image.unwritten(), []);
    }

    #[test]
    fn what_was_read_is_shown_in_runs_and_nothing_else() {
        let image = demonstration();
        let firmware = demo::firmware();
        for sector in [0, 1, 3] {
            read(&image, sector * SECTOR_LEN);
        }
        let runs = image.cached_since(0..5 * SECTOR_LEN, 0);
        let shape: Vec<_> = runs.iter().map(|run| (run.address, run.bytes.len())).collect();
        assert_eq!(shape, [(0, 0x2000), (0x3000, 0x1000)]);
        for run in &runs {
            assert!(run.bytes == firmware[run.address as usize..][..run.bytes.len()]);
        }
        assert!(image.cached_since(4 * SECTOR_LEN..8 * SECTOR_LEN, 0).is_empty());
    }

    #[test]
    fn a_range_is_shown_again_only_once_there_is_something_new_in_it() {
        let image = demonstration();
        read(&image, 0);
        let moment = image.cache_moment();
        assert!(image.cached_since(0..4 * SECTOR_LEN, moment).is_empty());
        read(&image, 0);
        assert_eq!(image.cache_moment(), moment);
        read(&image, 3 * SECTOR_LEN);
        assert!(!image.cached_since(0..4 * SECTOR_LEN, moment).is_empty());
    }
}
