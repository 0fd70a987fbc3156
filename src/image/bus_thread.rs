//! The one thread that owns the chip: it reads for whoever waits, commits, reads ahead when nobody does, and scrubs when the bus
//! is idle. Each of these that takes more than a few lines has a file of its own below.

mod audit;
mod batch;
mod commit;
mod erasing;
mod planning;
mod reading;
mod scrubbing;

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::cache::Trust;
use super::description::ReadCommand;
use super::error::Error;
use super::peek::Peek;
use super::recovery::Recovery;
use super::scrub::Scrub;
use super::state::{State, tell};
use super::{Presence, SECTOR_LEN, Shared, Traffic};
use crate::chip::{self, Chip, Unlock};

/// What a commit reads in one go, in bytes, so that a reader who has just come waits for 4 ms at 32 MHz; a multiple of a sector.
const LONGEST_COMMIT_READ: u32 = 16 << 10;

/// Several short messages are read in one run of this many bytes, if that takes no longer than 5 ms.
const SHARED_RUN_LEN: u32 = 16 << 10;
const LEAST_CLOCK_OF_SHARED_RUN: u32 = SHARED_RUN_LEN * 8 * 200;

pub(super) struct BusThread {
    pub(super) shared: Arc<Shared>,
    pub(super) chip: Chip,
    pub(super) presence: Presence,
    pub(super) care: Care,
    pub(super) recovery: Recovery,
    pub(super) scrub: Scrub,
    /// Mismatches since the clock was last changed.
    pub(super) mismatches_at_clock: u32,
    /// Up to when the time of commits is counted.
    counted_until: Duration,
    /// What one message reads, or a sector where that is less.
    buffer: Vec<u8>,
}

/// How carefully to go about.
pub(super) struct Care {
    pub(super) read_repeat: u32,
    pub(super) scrub: bool,
    pub(super) unlock: Option<Unlock>,
}

enum Job {
    /// Read this run of sectors; somebody waits for it.
    Read(Range<u32>),
    /// Show a sector to somebody who only has a look at it.
    Peek(Peek),
    /// Put these regions on the chip.
    Commit(Vec<u32>),
    /// Read this run of sectors; nobody waits for it yet.
    ReadAhead(Range<u32>),
    /// Read this run of sectors again.
    Scrub(Range<u32>),
    /// End the thread.
    Stop,
}

impl BusThread {
    pub(super) fn new(shared: Arc<Shared>, chip: Chip, recovery: Recovery, care: Care) -> Self {
        let thread = Self {
            shared,
            chip,
            presence: Presence::Here,
            care,
            recovery,
            scrub: Scrub::new(),
            mismatches_at_clock: 0,
            counted_until: Duration::ZERO,
            buffer: Vec::new(),
        };
        let mut state = thread.shared.state.lock();
        thread.show_bus(&mut state);
        state.times = thread.chip.times().clone();
        drop(state);
        thread
    }

    /// Serves until the image is stopped.
    pub(super) fn run(mut self) {
        loop {
            match self.next_job() {
                Job::Read(range) => self.read_for_callers(range),
                Job::Peek(peek) => self.peek_for(peek),
                Job::Commit(regions) => self.commit(&regions),
                Job::ReadAhead(range) => self.read_ahead(range),
                Job::Scrub(range) => self.scrub(range),
                Job::Stop => break,
            }
        }
        if let Err(error) = self.chip.restore() {
            log::error!("the chip's protection cannot be put back: {}", crate::error_text(&error));
        }
        let finished = self.shared.state.lock().abandon();
        tell(finished);
    }

    fn next_job(&mut self) -> Job {
        let longest = self.longest_run();
        let mut state = self.shared.state.lock();
        loop {
            let forgotten = state.forget_if_asked();
            if !forgotten.is_empty() {
                MutexGuard::unlocked(&mut state, || tell(forgotten));
            }
            if let Some(range) = next_read(&mut state, longest) {
                self.scrub.postpone();
                return Job::Read(range);
            }
            if let Some(peek) = state.peeks.pop_front() {
                self.scrub.postpone();
                return Job::Peek(peek);
            }
            let regions = state.next_commit();
            if !regions.is_empty() {
                self.scrub.postpone();
                return Job::Commit(regions);
            }
            if state.stopping {
                return Job::Stop;
            }
            if let Some(range) = state.next_read_ahead(longest) {
                self.scrub.postpone();
                return Job::ReadAhead(range);
            }
            let scrub_due = match self.scrub.next(&state, longest).filter(|_| self.care.scrub) {
                Some(Ok(range)) => return Job::Scrub(range),
                Some(Err(due)) => Some(due),
                None => None,
            };
            match earliest(state.next_quiet(), scrub_due) {
                Some(due) => drop(self.shared.work.wait_until(&mut state, due)),
                None => self.shared.work.wait(&mut state),
            }
        }
    }

    /// Answers the readers who wait now: between two operations of a commit they need not wait for its end.
    pub(super) fn serve_readers(&mut self) {
        let waiting = self.shared.state.lock().reads.len();
        for _ in 0..waiting {
            let longest = self.longest_run();
            let range = next_read(&mut self.shared.state.lock(), longest);
            match range {
                Some(range) => self.read_for_callers(range),
                None => break,
            }
        }
        let peek = self.shared.state.lock().peeks.pop_front();
        if let Some(peek) = peek {
            self.peek_for(peek);
        }
    }

    fn peek_for(&mut self, Peek { address, done }: Peek) {
        let range = address..address + SECTOR_LEN;
        let mut bytes = vec![0; range.len()];
        let is_here = self.shared.state.lock().first_missing(range.clone(), SECTOR_LEN).is_none();
        let (result, traffic) = match is_here {
            true => (Ok(()), Traffic::default()),
            false => self.read_apart(address, &mut bytes),
        };
        let mut state = self.shared.state.lock();
        state.counts.aside.add(traffic);
        if is_here {
            return state.answer(range, done);
        }
        match result {
            Ok(()) => {
                state.pending.overlay(range, &mut bytes);
                done(Ok(&bytes));
            }
            Err(error) => {
                log::error!("{}", crate::error_text(&error));
                done(Err(error));
            }
        }
    }

    /// How many bytes to read before whoever waits is answered: a message, or several where they are short and soon over. Between
    /// two runs the bus is idle, and after each it may be asked whether the chip is still there.
    fn longest_run(&self) -> u32 {
        let message = u32::try_from(self.chip.max_read_len()).unwrap_or(u32::MAX);
        let is_soon_over = self.chip.clock() >= LEAST_CLOCK_OF_SHARED_RUN;
        if is_soon_over { message.max(SHARED_RUN_LEN) } else { message }
    }

    fn read_for_callers(&mut self, range: Range<u32>) {
        let result = self.fill_cache(range.clone());
        let mut state = self.shared.state.lock();
        match result {
            Ok(()) => state.answer_ready_reads(),
            Err(error) => {
                log::error!("{}", crate::error_text(&error));
                state.fail_reads(&range, &error);
            }
        }
    }

    fn read_ahead(&mut self, range: Range<u32>) {
        let result = self.fill_cache(range);
        let mut state = self.shared.state.lock();
        if result.is_err() {
            // Whoever asks for these bytes is told; nobody has.
            state.read_ahead = Default::default();
        }
        state.answer_ready_reads();
    }

    /// Reads a run of sectors from the chip into the cache.
    pub(super) fn fill_cache(&mut self, range: Range<u32>) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(range.len(), 0);
        let result = self.read_sectors(range.start, &mut buffer);
        let mut state = self.shared.state.lock();
        if let Ok(trust) = result {
            state.cache.fill(range.start, &buffer, trust);
        }
        self.show_bus(&mut state);
        drop(state);
        self.buffer = buffer;
        result.map(drop)
    }

    /// Clock and read command can change while the chip is in use.
    pub(super) fn show_bus(&self, state: &mut State) {
        state.counts.clock_hz = self.chip.clock();
        state.counts.calibration = self.chip.calibration();
        state.counts.read_command = ReadCommand::of(&self.chip);
    }

    /// Reads those of `sectors` that are not cached, neighbours in one go.
    pub(super) fn fill_missing(&mut self, sectors: &[u32]) -> Result<(), Error> {
        let longest = (self.longest_run().min(LONGEST_COMMIT_READ) / SECTOR_LEN).max(1);
        let mut rest = sectors;
        while let [first, ..] = *rest {
            let state = self.shared.state.lock();
            let run = (first..)
                .zip(rest)
                .take_while(|&(expected, &sector)| {
                    sector == expected
                        && expected - first < longest
                        && state.cache.trust(sector) == Trust::Unknown
                })
                .count();
            drop(state);
            let (run, behind) = rest.split_at(run.max(1));
            if !self.shared.state.lock().cache.is_cached(first) {
                let end = run.last().map_or(first, |last| last + 1);
                self.fill_cache(first * SECTOR_LEN..end * SECTOR_LEN)?;
                self.serve_readers();
            }
            rest = behind;
        }
        Ok(())
    }
}

/// The next run that a reader waits for. Readers whose bytes have come by another way are answered.
fn next_read(state: &mut State, longest: u32) -> Option<Range<u32>> {
    loop {
        let range = state.reads.front()?.range.clone();
        match state.first_missing(range, longest) {
            Some(missing) => return Some(missing),
            None => state.answer_ready_reads(),
        }
    }
}

fn write_error(operation: &'static str, address: u32, source: chip::Error) -> Error {
    Error::Write { operation, address, source: Arc::new(source) }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
