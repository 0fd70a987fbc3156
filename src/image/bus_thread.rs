//! The one thread that owns the chip: it reads for whoever waits, commits, and reads ahead when nobody does.

use std::ops::Range;
use std::sync::Arc;

use super::error::Error;
use super::state::{State, tell};
use super::{SECTOR_LEN, Shared};
use crate::chip::Chip;

pub(super) struct BusThread {
    pub(super) shared: Arc<Shared>,
    pub(super) chip: Chip,
    /// What one message reads, or a sector where that is less.
    buffer: Vec<u8>,
    /// A region as the chip holds it and as it should be.
    pub(super) current: Vec<u8>,
    pub(super) wanted: Vec<u8>,
}

enum Job {
    /// Read this run of sectors; somebody waits for it.
    Read(Range<u32>),
    /// Put this region on the chip.
    Commit(u32),
    /// Read this run of sectors; nobody waits for it yet.
    ReadAhead(Range<u32>),
    /// End the thread.
    Stop,
}

impl BusThread {
    pub(super) fn new(shared: Arc<Shared>, chip: Chip, region_len: u32) -> Self {
        let region = vec![0xFF; region_len as usize];
        let thread = Self { shared, chip, buffer: Vec::new(), current: region.clone(), wanted: region };
        thread.show_bus(&mut thread.shared.state.lock());
        thread
    }

    pub(super) fn run(mut self) {
        loop {
            match self.next_job() {
                Job::Read(range) => self.read_for_callers(range),
                Job::Commit(region) => self.commit(region),
                Job::ReadAhead(range) => self.read_ahead(range),
                Job::Stop => break,
            }
        }
        let finished = self.shared.state.lock().abandon();
        tell(finished);
    }

    fn next_job(&self) -> Job {
        let longest = self.longest_run();
        let mut state = self.shared.state.lock();
        loop {
            if let Some(range) = next_read(&mut state, longest) {
                return Job::Read(range);
            }
            if let Some(region) = state.next_commit() {
                return Job::Commit(region);
            }
            if state.stopping {
                return Job::Stop;
            }
            if let Some(range) = next_read_ahead(&state, longest) {
                return Job::ReadAhead(range);
            }
            match state.next_quiet() {
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
                None => return,
            }
        }
    }

    fn longest_run(&self) -> u32 {
        u32::try_from(self.chip.max_read_len()).unwrap_or(u32::MAX)
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
        if self.fill_cache(range).is_err() {
            // Whoever asks for these bytes is told; nobody has.
            self.shared.state.lock().read_ahead = Default::default();
        }
        self.shared.state.lock().answer_ready_reads();
    }

    /// Reads a run of sectors from the chip into the cache.
    pub(super) fn fill_cache(&mut self, range: Range<u32>) -> Result<(), Error> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(range.len(), 0);
        let result = self.read_chip(range.start, &mut buffer);
        let mut state = self.shared.state.lock();
        if result.is_ok() {
            state.cache.fill(range.start, &buffer);
        }
        self.show_bus(&mut state);
        drop(state);
        self.buffer = buffer;
        result
    }

    pub(super) fn read_chip(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), Error> {
        let len = bytes.len();
        self.chip.read(address, bytes).map_err(|source| Error::Read {
            address,
            len,
            source: Arc::new(source),
        })
    }

    /// Clock and read command can change while the chip is in use.
    fn show_bus(&self, state: &mut State) {
        state.counts.clock_hz = self.chip.clock();
        state.counts.read_command = self.chip.read_mode().into();
    }

    /// Reads those of `sectors` that are not cached, neighbours in one go.
    pub(super) fn fill_missing(&mut self, sectors: &[u32]) -> Result<(), Error> {
        let longest = (self.longest_run() / SECTOR_LEN).max(1);
        let mut index = 0;
        while index < sectors.len() {
            let first = sectors[index];
            let mut end = first;
            let state = self.shared.state.lock();
            while index < sectors.len()
                && sectors[index] == end
                && end - first < longest
                && !state.cache.is_cached(end)
            {
                end += 1;
                index += 1;
            }
            drop(state);
            if end == first {
                index += 1;
                continue;
            }
            self.fill_cache(first * SECTOR_LEN..end * SECTOR_LEN)?;
            self.serve_readers();
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

fn next_read_ahead(state: &State, longest: u32) -> Option<Range<u32>> {
    state
        .read_ahead
        .windows(state.cache.size())
        .filter(|window| !window.is_empty())
        .find_map(|window| state.first_missing(window, longest))
}
