//! What the callers' threads and the bus thread share: the bytes, and who waits for which.
//!
//! Nothing in here waits or touches the bus. Whoever holds the state changes it and lets go; what is then to be told to
//! a caller comes back as a [`Finished`], to be told without the lock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;
use std::time::{Duration, Instant};

use super::cache::Cache;
use super::error::Error;
use super::peek::{Peek, Unwritten};
use super::pending::Pending;
use super::read_ahead::ReadAhead;
use super::replaced::{Origin, Replaced};
use super::{Counts, Done, ReadDone, SECTOR_LEN};
use crate::chip::Times;

/// What is journaled and committed in one go, in bytes.
const BATCH_LEN: u32 = 1 << 20;

/// Above this, in bytes of whole sectors, a write waits until some of what is pending is on the chip.
const PENDING_LIMIT: usize = 1 << 20;

/// After this long without a write, pending bytes go to the chip without being asked for.
const QUIET: Duration = Duration::from_secs(1);

/// Zeros are filled in pieces of this many bytes, so that filling a gap keeps to [`PENDING_LIMIT`].
const FILL_LEN: u32 = 64 << 10;

pub(super) struct State {
    pub(super) cache: Cache,
    pub(super) pending: Pending,
    pub(super) replaced: Replaced,
    pub(super) read_ahead: ReadAhead,
    pub(super) reads: VecDeque<Read>,
    pub(super) peeks: VecDeque<Peek>,
    pub(super) counts: Counts,
    pub(super) times: Times,
    pub(super) stopping: bool,
    region_len: u32,
    writes: VecDeque<Write>,
    commits: Vec<Commit>,
    /// Those who wait until what is cached and not pending has been forgotten.
    forgets: Vec<Done>,
    /// Regions whose last commit failed, with the error. They wait for a new write or for somebody who asks.
    failed: BTreeMap<u32, Error>,
    /// Commits that have failed, by region: when, and why. Kept when a later attempt succeeds, for those who have written since
    /// and have not been told.
    failures: BTreeMap<u32, (u64, Error)>,
    /// Orders snapshots, commits and failures.
    sequence: u64,
    last_write: Instant,
}

/// Somebody waits for the bytes of `range`.
pub(super) struct Read {
    pub(super) range: Range<u32>,
    pub(super) done: ReadDone,
}

/// Somebody has bytes to write: zeros from `next` to `address`, then `data`.
pub(super) struct Write {
    pub(super) origin: Option<Origin>,
    pub(super) next: u32,
    pub(super) address: u32,
    pub(super) data: Vec<u8>,
    pub(super) done: Done,
}

/// Somebody waits until what is pending in some regions is on the chip.
struct Commit {
    regions: BTreeSet<u32>,
    sequence: u64,
    result: Result<(), Error>,
    done: Done,
}

/// A caller to be told, once the lock is gone.
pub(super) type Finished = (Done, Result<(), Error>);

/// Tells each caller its result.
pub(super) fn tell(finished: Vec<Finished>) {
    for (done, result) in finished {
        done(result);
    }
}

impl State {
    pub(super) fn new(size: u32, region_len: u32) -> Self {
        Self {
            cache: Cache::new(size),
            pending: Pending::default(),
            replaced: Replaced::default(),
            read_ahead: ReadAhead::default(),
            reads: VecDeque::new(),
            peeks: VecDeque::new(),
            counts: Counts::default(),
            times: Times::default(),
            stopping: false,
            region_len,
            writes: VecDeque::new(),
            commits: Vec::new(),
            forgets: Vec::new(),
            failed: BTreeMap::new(),
            failures: BTreeMap::new(),
            sequence: 0,
            last_write: Instant::now(),
        }
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = (u32, &Error)> {
        self.failed.iter().map(|(&region, error)| (region * self.region_len, error))
    }

    pub(super) fn unwritten(&self) -> impl Iterator<Item = Unwritten> {
        let sectors = self.pending.sectors_in(0..self.cache.size());
        sectors.map(|(sector, _)| {
            let address = sector * SECTOR_LEN;
            Unwritten { address, is_refused: self.failed.contains_key(&(address / self.region_len)) }
        })
    }

    pub(super) fn region_range(&self, region: u32) -> Range<u32> {
        region * self.region_len..(region + 1) * self.region_len
    }

    /// The first run of bytes of `range` that must be read before it can be answered, in whole sectors and at most
    /// `longest` bytes.
    pub(super) fn first_missing(&self, range: Range<u32>, longest: u32) -> Option<Range<u32>> {
        let sectors = range.start / SECTOR_LEN..range.end.div_ceil(SECTOR_LEN);
        let is_missing = |&sector: &u32| {
            let base = sector * SECTOR_LEN;
            let wanted = range.start.max(base)..range.end.min(base + SECTOR_LEN);
            !self.cache.is_cached(sector) && !self.pending.covers(wanted)
        };
        let first = sectors.clone().find(is_missing)?;
        let most = (longest / SECTOR_LEN).max(1);
        let end = (first..sectors.end.min(first + most))
            .take_while(is_missing)
            .last()
            .map_or(first, |last| last + 1);
        Some(first * SECTOR_LEN..end * SECTOR_LEN)
    }

    /// The next run of at most `longest` bytes that somebody who reads on will ask for.
    pub(super) fn next_read_ahead(&self, longest: u32) -> Option<Range<u32>> {
        self.read_ahead
            .windows(self.cache.size())
            .filter(|window| !window.is_empty())
            .find_map(|window| self.first_missing(window, longest))
    }

    /// Hands the bytes of `range` on, all of which must be cached or pending.
    pub(super) fn show(&self, range: Range<u32>, to: impl FnOnce(&[u8])) {
        let cached = self.cache.bytes(range.clone());
        if self.pending.touches(range.clone()) {
            let mut bytes = cached.to_vec();
            self.pending.overlay(range, &mut bytes);
            to(&bytes);
        } else {
            to(cached);
        }
    }

    /// Answers with the bytes of `range`, all of which must be cached or pending.
    pub(super) fn answer(&self, range: Range<u32>, done: ReadDone) {
        self.show(range, |bytes| done(Ok(bytes)));
    }

    /// Answers every waiting reader whose bytes have come.
    pub(super) fn answer_ready_reads(&mut self) {
        for _ in 0..self.reads.len() {
            if let Some(read) = self.reads.pop_front() {
                match self.first_missing(read.range.clone(), SECTOR_LEN) {
                    Some(_) => self.reads.push_back(read),
                    None => self.answer(read.range, read.done),
                }
            }
        }
    }

    /// Tells every reader who waits for a part of `range` that it cannot be had.
    pub(super) fn fail_reads(&mut self, range: &Range<u32>, error: &Error) {
        for _ in 0..self.reads.len() {
            if let Some(read) = self.reads.pop_front() {
                if read.range.start < range.end && range.start < read.range.end {
                    (read.done)(Err(error.clone()));
                } else {
                    self.reads.push_back(read);
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.pending.held_len() < PENDING_LIMIT
    }

    /// Takes `data` in at once if there is room for it and nobody waits before it.
    pub(super) fn try_write(&mut self, origin: Option<Origin>, address: u32, data: &[u8]) -> bool {
        let accepted = self.writes.is_empty() && self.has_room();
        if accepted {
            self.write(origin, address, data);
        }
        accepted
    }

    pub(super) fn queue_write(&mut self, write: Write) {
        self.writes.push_back(write);
    }

    /// Takes in what waiting writers have, as far as there is room; those that are through are returned.
    pub(super) fn accept_writes(&mut self) -> Vec<Finished> {
        let mut finished = Vec::new();
        while self.has_room() {
            let Some(mut write) = self.writes.pop_front() else { break };
            if write.next < write.address {
                let len = (write.address - write.next).min(FILL_LEN);
                self.write(write.origin, write.next, &vec![0; len as usize]);
                write.next += len;
                self.writes.push_front(write);
            } else {
                self.write(write.origin, write.address, &write.data);
                finished.push((write.done, Ok(())));
            }
        }
        finished
    }

    fn write(&mut self, origin: Option<Origin>, address: u32, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        match origin {
            Some(origin) => self.replace(origin, address, data),
            None => self.pending.write(address, data),
        }
        self.last_write = Instant::now();
        let last = address + u32::try_from(data.len()).unwrap_or(u32::MAX) - 1;
        for region in address / self.region_len..=last / self.region_len {
            self.failed.remove(&region);
        }
    }

    /// Writes sector by sector, and remembers what was there. Of what is not in memory nobody has copies.
    fn replace(&mut self, origin: Origin, address: u32, data: &[u8]) {
        let mut address = address;
        let mut rest = data;
        while !rest.is_empty() {
            let sector_end = (address / SECTOR_LEN + 1) * SECTOR_LEN;
            let (piece, behind) = rest.split_at(rest.len().min((sector_end - address) as usize));
            let mut piece = piece.to_vec();
            let range = address..address + u32::try_from(piece.len()).unwrap_or(SECTOR_LEN);
            if self.first_missing(range.clone(), SECTOR_LEN).is_none() {
                let mut current = self.cache.bytes(range.clone()).to_vec();
                self.pending.overlay(range, &mut current);
                if origin.is_copy {
                    self.replaced.renew(origin, address, &mut piece, &current);
                }
                self.replaced.remember(origin, address, current);
            }
            self.pending.write(address, &piece);
            address = sector_end;
            rest = behind;
        }
    }

    /// Registers somebody who waits until what is pending in `range` now is on the chip; returned at once if nothing is.
    pub(super) fn queue_commit(&mut self, range: Range<u32>, done: Done) -> Option<Finished> {
        let region_len = self.region_len;
        let regions: BTreeSet<u32> =
            self.pending.sectors_in(range).map(|(sector, _)| sector * SECTOR_LEN / region_len).collect();
        if regions.is_empty() {
            return Some((done, Ok(())));
        }
        self.sequence += 1;
        self.commits.push(Commit { regions, sequence: self.sequence, result: Ok(()), done });
        None
    }

    /// The regions that should go to the chip next, if any should: those of [`next_urgent_commit`](Self::next_urgent_commit), else,
    /// when nobody has written for a while or there is no more room, all.
    pub(super) fn next_commit(&self) -> Vec<u32> {
        let urgent = self.next_urgent_commit(&[]);
        let due = self.stopping || !self.has_room() || self.last_write.elapsed() >= QUIET;
        if urgent.is_empty() && due { self.unasked().take(self.batch_len()).collect() } else { urgent }
    }

    /// The regions, other than those that are `busy`, that need not wait for more to be written: those that somebody waits for, else
    /// those that are complete.
    pub(super) fn next_urgent_commit(&self, busy: &[u32]) -> Vec<u32> {
        let is_idle = |region: &u32| !busy.contains(region);
        let asked: BTreeSet<u32> =
            self.commits.iter().flat_map(|commit| commit.regions.iter().copied()).filter(is_idle).collect();
        if !asked.is_empty() {
            return asked.into_iter().take(self.batch_len()).collect();
        }
        let complete = self.unasked().filter(is_idle).filter(|&region| self.is_complete(region));
        complete.take(self.batch_len()).collect()
    }

    /// How many regions are committed in one go.
    fn batch_len(&self) -> usize {
        (BATCH_LEN / self.region_len).max(1) as usize
    }

    /// When pending bytes become due without being asked for, if there are any.
    pub(super) fn next_quiet(&self) -> Option<Instant> {
        self.unasked().next().map(|_| self.last_write + QUIET)
    }

    /// Regions with pending bytes that have not failed.
    fn unasked(&self) -> impl Iterator<Item = u32> {
        let mut last = None;
        self.pending
            .sectors_in(0..self.cache.size())
            .map(|(sector, _)| sector * SECTOR_LEN / self.region_len)
            .filter(move |region| last.replace(*region) != Some(*region))
            .filter(|region| !self.failed.contains_key(region))
    }

    fn is_complete(&self, region: u32) -> bool {
        let range = self.region_range(region);
        (range.start / SECTOR_LEN..range.end / SECTOR_LEN)
            .all(|sector| self.pending.covers(sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN))
    }

    pub(super) fn queue_forget(&mut self, done: Done) {
        self.forgets.push(done);
    }

    /// Forgets what is cached and not pending, if somebody has asked for that. For when no commit is under way that relies on it.
    pub(super) fn forget_if_asked(&mut self) -> Vec<Finished> {
        if !self.forgets.is_empty() {
            self.read_ahead = ReadAhead::default();
            for sector in 0..self.cache.size() / SECTOR_LEN {
                if self.pending.generation(sector).is_none() {
                    self.cache.forget(sector);
                }
            }
        }
        self.forgets.drain(..).map(|done| (done, Ok(()))).collect()
    }

    /// A number for the snapshot that a commit takes now.
    pub(super) fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// What the chip has not taken may go to it again without being asked for.
    pub(super) fn try_failed_again(&mut self) {
        self.failed.clear();
    }

    /// The moment, for [`failure_since`](Self::failure_since).
    pub(super) fn now(&self) -> u64 {
        self.sequence
    }

    /// Why a commit of something in `range` has failed after `since`, if one has.
    pub(super) fn failure_since(&self, range: &Range<u32>, since: u64) -> Option<Error> {
        let regions = range.start / self.region_len..range.end.div_ceil(self.region_len);
        self.failures
            .range(regions)
            .find(|(_, (moment, _))| *moment > since)
            .map(|(_, (_, error))| error.clone())
    }

    /// Takes note of how the commit of `region` ended, whose snapshot had `sequence`; returns who is to be told.
    ///
    /// Somebody who came after the snapshot waits on, unless nothing is pending there any more.
    pub(super) fn finish_commit(
        &mut self,
        region: u32,
        sequence: u64,
        result: &Result<(), Error>,
    ) -> Vec<Finished> {
        match result {
            Ok(()) => drop(self.failed.remove(&region)),
            Err(error) => {
                self.failed.insert(region, error.clone());
                let now = self.next_sequence();
                self.failures.insert(region, (now, error.clone()));
            }
        }
        let still_pending = self.pending.touches(self.region_range(region));
        for commit in &mut self.commits {
            if (commit.sequence < sequence || !still_pending) && commit.regions.remove(&region) {
                commit.result = commit.result.clone().and(result.clone());
            }
        }
        let mut finished = self.accept_writes();
        for index in (0..self.commits.len()).rev() {
            if self.commits[index].regions.is_empty() {
                let commit = self.commits.remove(index);
                finished.push((commit.done, commit.result));
            }
        }
        finished.extend(self.refuse_hopeless_writes());
        finished
    }

    /// With no room, and nothing pending but what the chip has refused and nobody wants tried again, nobody who waits for room will
    /// get any.
    pub(super) fn refuse_hopeless_writes(&mut self) -> Vec<Finished> {
        if self.has_room() || !self.commits.is_empty() || self.unasked().next().is_some() {
            return Vec::new();
        }
        let error = self.failed.values().next().cloned().unwrap_or(Error::Stopped);
        self.writes.drain(..).map(|write| (write.done, Err(error.clone()))).collect()
    }

    /// Tells everybody who still waits that there will be no answer.
    pub(super) fn abandon(&mut self) -> Vec<Finished> {
        let reads = self.reads.drain(..).map(|read| read.done);
        for done in reads.chain(self.peeks.drain(..).map(|peek| peek.done)) {
            done(Err(Error::Stopped));
        }
        let writes = self.writes.drain(..).map(|write| write.done);
        let commits = self.commits.drain(..).map(|commit| commit.done);
        writes.chain(commits).chain(self.forgets.drain(..)).map(|done| (done, Err(Error::Stopped))).collect()
    }
}
