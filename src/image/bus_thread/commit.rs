//! Putting what is pending in a region on the chip: erase, program, read back, compare.

use std::ops::Range;
use std::sync::Arc;

use super::{BusThread, LONGEST_COMMIT_READ, write_error};
use crate::chip::{self, Verdict};
use crate::image::SECTOR_LEN;
use crate::image::cache::Trust;
use crate::image::draft::Draft;
use crate::image::error::Error;
use crate::image::journal::Fingerprint;
use crate::image::journal_thread::Begun;
use crate::image::plan::Operation;
use crate::image::recovery::fingerprints;
use crate::image::state::tell;
use crate::trouble::Trouble;

/// A region is written this often before it is given up.
const ATTEMPTS: u32 = 3;

/// Below this many fingerprints sectors all over the chip are looked at for more.
const ENOUGH_FINGERPRINTS: usize = 2;
const SAMPLED_PLACES: u32 = 16;

impl BusThread {
    /// Tells everybody who waits for a region how its commit has ended.
    pub(super) fn finish(&mut self, region: u32, sequence: u64, result: &Result<(), Error>) {
        let now = self.chip.now();
        let mut state = self.shared.state.lock();
        state.counts.commit_time += now - self.counted_until;
        self.counted_until = now;
        if let Err(error) = result {
            state.counts.failed_commits += 1;
            log::error!("{}", crate::error_text(error));
        }
        state.times = self.chip.times().clone();
        let finished = state.finish_commit(region, sequence, result);
        state.answer_ready_reads();
        drop(state);
        tell(finished);
    }

    /// Makes sure of the chip, and has the host take note of what is going to be done to it.
    pub(super) fn begin(&mut self, drafts: Vec<Arc<Draft>>) -> Result<Begun, Error> {
        let Some(first) = drafts.first() else {
            return Ok(Begun::AT_ONCE);
        };
        self.check_present(first.range.start)?;
        let fingerprints = self.fingerprints(&drafts)?;
        Ok(self.recovery.begin(drafts, fingerprints))
    }

    /// By what a chip without a unique id is recognised later. If what is cached does not do, more is read.
    fn fingerprints(&mut self, drafts: &[Arc<Draft>]) -> Result<Vec<Fingerprint>, Error> {
        if !self.recovery.is_active() || self.chip.unique_id().is_some() {
            return Ok(Vec::new());
        }
        let cached = fingerprints(drafts, &self.shared.state.lock());
        if cached.len() >= ENOUGH_FINGERPRINTS {
            return Ok(cached);
        }
        let sectors = self.chip.part().size / SECTOR_LEN;
        for place in 0..SAMPLED_PLACES {
            self.fill_missing(&[sectors / SAMPLED_PLACES * place])?;
        }
        Ok(fingerprints(drafts, &self.shared.state.lock()))
    }

    fn check_present(&mut self, address: u32) -> Result<(), Error> {
        let result = self.chip.check_present();
        self.note_presence(&result);
        result.map_err(|source| write_error("write", address, source))
    }

    /// Carries a draft out. What does not read back is planned and written again from what is there then.
    pub(super) fn carry_out(&mut self, region: u32, draft: Arc<Draft>) -> Result<(), Error> {
        let mut draft = draft;
        let mut attempt = 1;
        loop {
            if self.is_outdated(&draft) {
                match self.draft_again(region)? {
                    Some(again) => draft = again,
                    None => return Ok(()),
                }
            }
            // Without a chip every operation would have to time out.
            self.check_present(draft.range.start)?;
            let result = self.execute(&draft).and_then(|()| self.verify(&draft));
            self.chip.note_verified(matches!(result, Ok(None)));
            let failure = match result {
                Ok(None) => {
                    self.retire(&draft);
                    return Ok(());
                }
                Ok(Some(failure)) => failure,
                Err(error) => {
                    self.distrust(&draft);
                    return Err(error);
                }
            };
            self.distrust(&draft);
            let unlocked = failure.without_effect && self.unlock_refused(&draft, failure.address, attempt)?;
            if !unlocked {
                self.audit(&draft, &failure.all)?;
                if attempt == ATTEMPTS {
                    return Err(failure.error(attempt));
                }
                attempt += 1;
            }
        }
    }

    /// Plans a region anew and has that on the host's disk; none if the chip holds already what it should.
    fn draft_again(&mut self, region: u32) -> Result<Option<Arc<Draft>>, Error> {
        let draft = Arc::new(self.draft(region)?);
        if draft.plan.is_empty() {
            self.retire(&draft);
            return Ok(None);
        }
        self.begin(vec![Arc::clone(&draft)])?.wait()?;
        Ok(Some(draft))
    }

    fn execute(&mut self, draft: &Draft) -> Result<(), Error> {
        for operation in &draft.plan.operations {
            match *operation {
                Operation::Erase { address, len } => self.erase(address, len, &draft.range)?,
                Operation::Program { address, len } => self
                    .chip
                    .program(address, draft.wanted(&(address..address + len)))
                    .map_err(|source| write_error("program", address, source))?,
            }
            self.serve_readers();
        }
        Ok(())
    }

    /// Reads back, from the chip, whatever the draft has touched; tells what is not as it should be.
    fn verify(&mut self, draft: &Draft) -> Result<Option<Failure>, Error> {
        let mut failure = None;
        for touched in draft.touched_ranges() {
            let mut found = vec![0; touched.len()];
            let pieces = found.chunks_mut(LONGEST_COMMIT_READ as usize);
            for (address, piece) in (touched.start..).step_by(LONGEST_COMMIT_READ as usize).zip(pieces) {
                self.read_once(address, piece)?;
                self.serve_readers();
            }
            if found != draft.wanted(&touched) {
                self.judge(draft, &touched, &found, &mut failure)?;
            }
        }
        if let Some(failure) = &failure {
            self.shared.state.lock().counts.verify_failures += 1;
            log::warn!("{}", failure.error(1));
        }
        Ok(failure)
    }

    /// Decides whether a range that did not read back as written was written wrongly or only read wrongly.
    fn judge(
        &mut self,
        draft: &Draft,
        touched: &Range<u32>,
        first_reading: &[u8],
        failure: &mut Option<Failure>,
    ) -> Result<(), Error> {
        for sector in touched.start / SECTOR_LEN..touched.end.div_ceil(SECTOR_LEN) {
            let base = sector * SECTOR_LEN;
            let part = touched.start.max(base)..touched.end.min(base + SECTOR_LEN);
            let offset = (part.start - touched.start) as usize;
            let before = &first_reading[offset..offset + part.len()];
            if before == draft.wanted(&part) {
                continue;
            }
            let mut found = vec![0; part.len()];
            self.read_once(part.start, &mut found)?;
            if found != before {
                self.note_mismatch(base);
            }
            if found == draft.wanted(&part) {
                continue;
            }
            let agreed = self.read_by_majority(sector, Vec::new())?;
            let found = &agreed[(part.start - base) as usize..(part.end - base) as usize];
            let without_effect = found == draft.current(&part);
            for (address, (&wanted, &found)) in (part.start..).zip(draft.wanted(&part).iter().zip(found)) {
                if wanted != found {
                    let failure = failure.get_or_insert(Failure {
                        address,
                        wanted,
                        found,
                        without_effect,
                        all: Vec::new(),
                    });
                    failure.all.push(address);
                }
            }
        }
        Ok(())
    }

    /// Explains why an operation at `address` has changed nothing. If it is protection, unlocks it where the user has asked for
    /// that; then it is worth trying again. A single command may also just have been lost on the way.
    fn unlock_refused(&mut self, draft: &Draft, address: u32, attempt: u32) -> Result<bool, Error> {
        let refused = |source| write_error("write", address, source);
        let state = self.chip.explain(address..address + 1).map_err(refused)?;
        let is_certain = state.verdict == Verdict::Protected;
        if state.verdict == Verdict::NotByRegisters || (!is_certain && attempt == 1) {
            return Ok(false);
        }
        if state.verdict == Verdict::Unknown && self.care.unlock.is_none() {
            log::warn!(
                "{address:#08x} does not change; it may be write-protected: {}; {}",
                state.text,
                Trouble::Protected
            );
            return Ok(false);
        }
        let protected = Error::Protected { address, is_certain, explanation: state.text };
        let Some(how) = self.care.unlock else {
            if self.is_as_before(draft)? {
                // There is nothing to be finished at a later mount, which could not even start while the chip refuses.
                self.recovery.finish(&[draft.range.start]);
            }
            return Err(protected);
        };
        match self.chip.unlock(how) {
            Ok(step) => {
                log::warn!("{address:#08x} is write-protected; unlocked: {step:?}");
                Ok(true)
            }
            Err(chip::Error::NothingToUnlock { .. }) => Err(protected),
            Err(error) => Err(refused(error)),
        }
    }

    /// Whether the chip has taken nothing at all of a draft.
    fn is_as_before(&mut self, draft: &Draft) -> Result<bool, Error> {
        for touched in draft.touched_ranges() {
            let mut found = vec![0; touched.len()];
            self.read_once(touched.start, &mut found)?;
            if found != draft.current(&touched) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is on the chip goes from pending to the cache.
    pub(super) fn retire(&self, draft: &Draft) {
        let mut state = self.shared.state.lock();
        let erased: Vec<u32> = draft.erased_sectors().collect();
        for sector in draft.touched_sectors() {
            let range = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
            // A sector that was only programmed has bytes that were not read back.
            let trust = if erased.contains(&sector) { Trust::Verified } else { state.cache.trust(sector) };
            state.cache.fill(range.start, draft.wanted(&range), trust);
        }
        let before = state.pending.byte_count();
        for &(sector, generation) in &draft.snapshot {
            state.pending.retire(sector, generation);
        }
        for sector in erased {
            // A neighbour that became pending for the erase alone has never been written into.
            state.pending.retire(sector, 0);
        }
        state.counts.committed_bytes += before - state.pending.byte_count();
    }

    /// After a failure nothing that the draft touched is known any more.
    fn distrust(&self, draft: &Draft) {
        let mut state = self.shared.state.lock();
        for sector in draft.touched_sectors() {
            state.cache.forget(sector);
        }
    }
}

/// A byte that is not what it should be, after an erase or program.
struct Failure {
    address: u32,
    wanted: u8,
    found: u8,
    /// Whether all around it is as it was before.
    without_effect: bool,
    /// The addresses of this and all other such bytes, ascending.
    all: Vec<u32>,
}

impl Failure {
    fn error(&self, attempts: u32) -> Error {
        Error::Verify { address: self.address, wanted: self.wanted, found: self.found, attempts }
    }
}
