//! The chip as bytes: one cache, what is written and not yet on the chip, and the thread that owns the bus.
//!
//! Callers' threads never wait in here. They ask, and are told by a call back: at once where the answer is in memory, else
//! from the bus thread. What a read returns is what was last written, or what the chip held when it was last read.
//!
//! Knows nothing of files.

mod bus_thread;
mod cache;
mod description;
mod draft;
mod error;
pub mod journal;
mod journal_thread;
mod peek;
mod pending;
pub mod plan;
mod read_ahead;
mod recovery;
mod replaced;
mod scrub;
mod state;

use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use bus_thread::{BusThread, Care};
pub use description::{Description, ReadCommand};
pub use error::Error;
use journal::{Journal, Record};
pub use peek::{Cached, Unwritten};
use recovery::Recovery;
use replaced::Origin;
pub use replaced::Writer;
use state::{Read, State, Write, tell};

use crate::chip::{Calibration, Chip, Counters, Times, Totals, Unlock};

/// The grain of the cache in bytes: the smallest erase unit of nearly every chip.
pub const SECTOR_LEN: u32 = 4096;

/// The least that is committed in one go, in bytes, whatever the erase units of the chip are.
const SMALLEST_REGION: u32 = 64 << 10;

/// Is told the bytes of a read, or why there are none. Called with the image locked: it must not call the image.
pub type ReadDone = Box<dyn FnOnce(Result<&[u8], Error>) + Send>;

/// Is told how a write or commit ended.
pub type Done = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// A chip's bytes, to be read and written by any number of threads.
pub struct Image {
    shared: Arc<Shared>,
    counters: Arc<Counters>,
    description: Description,
    size: u32,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when the bus thread may have something to do.
    work: Condvar,
    on_correction: Mutex<Option<OnCorrection>>,
}

/// Is told of bytes that had been read wrongly and that somebody else may have copies of.
pub type OnCorrection = Box<dyn Fn(Range<u32>) + Send>;

/// How carefully to go about.
pub struct Options {
    /// How many readings must agree before a byte is believed; at least 1.
    pub read_repeat: u32,
    /// Whether what was read once is read again when the bus is idle.
    pub scrub: bool,
    /// Where to take note of what is going to be done to the chip, and what an earlier process has left undone.
    pub journal: Option<(Journal, Vec<Record>)>,
    /// Whether and how far to unlock a protected chip when it refuses a write.
    pub unlock: Option<Unlock>,
    /// Whether to finish what is left even on a chip that cannot be recognised.
    pub replay_always: bool,
}

/// Whether the chip answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    #[default]
    Here,
    /// Another chip or none did when it was last asked.
    Gone,
}

/// What was on the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: u64,
    /// Bytes that the chip has sent.
    pub bytes_read: u64,
    /// Bytes that it was sent, commands among them.
    pub bytes_written: u64,
}

impl Traffic {
    fn add(&mut self, more: Self) {
        self.messages += more.messages;
        self.bytes_read += more.bytes_read;
        self.bytes_written += more.bytes_written;
    }
}

/// What the image has had to do beyond passing bytes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Spans that did not read back as they were written.
    pub verify_failures: u64,
    /// Sectors that read differently when read again.
    pub mismatches: u64,
    /// Commits that failed for good.
    pub failed_commits: u64,
    /// Bytes that were pending and have got onto the chip, with those that had to be erased and put back for that.
    pub committed_bytes: u64,
    /// How long it took to get them there, or to fail.
    pub commit_time: Duration,
    /// What the scrub has had on the wire.
    pub scrub: Traffic,
    /// What looks past the cache have had on the wire.
    pub aside: Traffic,
    /// Whether the chip answers.
    pub presence: Presence,
    /// The clock in Hz.
    pub clock_hz: u32,
    /// How the clock was chosen.
    pub calibration: Calibration,
    /// How data is read.
    pub read_command: ReadCommand,
}

/// The state of an image at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// Sectors in the cache.
    pub cached_sectors: usize,
    /// Sectors in the cache of which several readings agreed, or that read back as they were written.
    pub verified_sectors: usize,
    /// Bytes written and not yet on the chip.
    pub pending_bytes: u64,
    /// Where the chip refused what was written: the address of the region and why.
    pub failed: Vec<(u32, Error)>,
    /// What the image has had to do.
    pub counts: Counts,
    /// How long the chip stays busy with what, as far as it has shown.
    pub times: Times,
    /// What has passed over the wire.
    pub totals: Totals,
}

impl Report {
    /// Bytes that were pending and have got onto the chip, with those that had to be erased and put back for that.
    pub fn committed_bytes(&self) -> u64 {
        self.counts.committed_bytes
    }

    /// How many bytes a second have got onto the chip while some were being put there; none as long as none have.
    pub fn commit_rate(&self) -> Option<u64> {
        let nanoseconds = self.counts.commit_time.as_nanos();
        let rate = u128::from(self.counts.committed_bytes) * 1_000_000_000 / nanoseconds.max(1);
        u64::try_from(rate).ok().filter(|&rate| rate > 0 && nanoseconds > 0)
    }
}

impl Image {
    /// Takes over `chip`, starts its bus thread, and finishes what the journal says is left to do.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] when it is not sure that what is left is about this chip, the error of the commit when it
    /// cannot be finished; either way the journal keeps it. [`Error::System`] when there is no thread to be had.
    pub fn start(chip: Chip, options: Options) -> Result<Self, Error> {
        let mut chip = chip;
        let (journal, records) = match options.journal {
            Some((journal, records)) => (Some(journal), records),
            None => (None, Vec::new()),
        };
        if !options.replay_always {
            recovery::recognise(&mut chip, &records)?;
        }
        let size = chip.part().size;
        let region_len = region_len(&chip);
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(size, region_len)),
            work: Condvar::new(),
            on_correction: Mutex::new(None),
        });
        let counters = chip.counters();
        let description = Description::of(&chip);
        let recovery = Recovery::new(journal, &records)?;
        let care = Care { read_repeat: options.read_repeat, scrub: options.scrub, unlock: options.unlock };
        let thread = BusThread::new(Arc::clone(&shared), chip, recovery, care);
        let thread = std::thread::Builder::new().name("bus".to_owned()).spawn(move || thread.run()).map_err(
            |source| Error::System { operation: "start the bus thread", source: Arc::new(source) },
        )?;
        let image = Self { shared, counters, description, size, thread: Mutex::new(Some(thread)) };
        image.replay(&records)?;
        Ok(image)
    }

    /// Writes what the records say, as if a user had; what is there already costs nothing.
    fn replay(&self, records: &[Record]) -> Result<(), Error> {
        if records.is_empty() {
            return Ok(());
        }
        log::warn!("finishing {} interrupted writes", records.len());
        let mut state = self.shared.state.lock();
        for range in records.iter().flat_map(|record| &record.ranges) {
            state.pending.write(range.address, &range.bytes);
        }
        drop(state);
        self.commit_and_wait().map_err(|error| Error::Replay(Box::new(error)))?;
        log::warn!("the interrupted writes are finished");
        Ok(())
    }

    /// Has `corrected` called with ranges that were read wrongly and have been corrected in the cache.
    pub fn on_correction(&self, corrected: OnCorrection) {
        *self.shared.on_correction.lock() = Some(corrected);
    }

    /// The chip's size in bytes.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// What the chip told of itself at start.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Reads the bytes of `range`, which must lie within the chip.
    ///
    /// # Errors
    /// `done` is told [`Error::Read`] when the chip cannot be read.
    pub fn read(&self, range: Range<u32>, done: ReadDone) {
        self.read_now_or_later(range, done, |done, bytes| done(Ok(bytes)), |done| done);
    }

    /// The same for somebody who would not make a [`ReadDone`] for nothing: what is in memory is handed to `now` at once, and `later`
    /// makes one only for what has to be read from the chip. Both get `who`, and are called with the image locked.
    ///
    /// # Errors
    /// As there.
    pub fn read_now_or_later<W>(
        &self,
        range: Range<u32>,
        who: W,
        now: impl FnOnce(W, &[u8]),
        later: impl FnOnce(W) -> ReadDone,
    ) {
        let mut state = self.shared.state.lock();
        state.read_ahead.note(range.clone());
        if state.first_missing(range.clone(), SECTOR_LEN).is_none() {
            state.show(range, |bytes| now(who, bytes));
            if state.next_read_ahead(SECTOR_LEN).is_none() {
                return;
            }
        } else if state.stopping {
            later(who)(Err(Error::Stopped));
            return;
        } else {
            let done = later(who);
            state.reads.push_back(Read { range, done });
        }
        self.shared.work.notify_one();
    }

    /// Writes zeros from `zeros_from` to `address`, then `data`; the range must lie within the chip. Done when a read
    /// returns it, which may take until what was written before is on the chip.
    ///
    /// # Errors
    /// `done` is told the error of an earlier commit when nothing more can be taken in.
    pub fn write(&self, zeros_from: u32, address: u32, data: &[u8], done: Done) {
        self.write_from(None, zeros_from, address, data, done);
    }

    /// Somebody who is going to write while others may hold copies of the bytes and write those back, whole: all but `holder`, if
    /// that has the new bytes already. With `is_copy` what is written is such a copy, and only what has been changed in it
    /// is taken.
    pub fn writer(&self, holder: Option<u64>, is_copy: bool) -> Writer {
        Writer::new(Arc::clone(&self.shared), holder, is_copy)
    }

    /// The same as [`write`](Self::write), by a [`writer`](Self::writer).
    ///
    /// # Errors
    /// As there.
    pub fn write_by(&self, origin: Origin, zeros_from: u32, address: u32, data: &[u8], done: Done) {
        self.write_from(Some(origin), zeros_from, address, data, done);
    }

    fn write_from(&self, origin: Option<Origin>, zeros_from: u32, address: u32, data: &[u8], done: Done) {
        let mut state = self.shared.state.lock();
        if state.stopping {
            drop(state);
            return done(Err(Error::Stopped));
        }
        if zeros_from >= address && state.try_write(origin, address, data) {
            drop(state);
            done(Ok(()));
        } else {
            state.queue_write(Write { origin, next: zeros_from, address, data: data.to_vec(), done });
            let mut finished = state.accept_writes();
            finished.extend(state.refuse_hopeless_writes());
            drop(state);
            tell(finished);
        }
        self.shared.work.notify_one();
    }

    /// Puts what is pending in `range` on the chip. Done when it is there and has been read back.
    ///
    /// # Errors
    /// `done` is told why the chip does not hold it; it stays pending.
    pub fn commit(&self, range: Range<u32>, done: Done) {
        let finished = self.shared.state.lock().queue_commit(range, done);
        match finished {
            Some((done, result)) => done(result),
            None => {
                self.shared.work.notify_one();
            }
        }
    }

    /// Forgets what has been read, so that it is read from the chip again; what is pending stays. Done when it is forgotten.
    pub fn forget(&self, done: Done) {
        let mut state = self.shared.state.lock();
        if state.stopping {
            drop(state);
            return done(Err(Error::Stopped));
        }
        state.queue_forget(done);
        self.shared.work.notify_one();
    }

    /// The state at this moment.
    pub fn report(&self) -> Report {
        let state = self.shared.state.lock();
        Report {
            cached_sectors: state.cache.cached_count(),
            verified_sectors: state.cache.verified_count(),
            pending_bytes: state.pending.byte_count(),
            failed: state.failed().map(|(address, error)| (address, error.clone())).collect(),
            counts: state.counts,
            times: state.times.clone(),
            totals: self.counters.totals(),
        }
    }

    /// The moment, for [`failure_since`](Self::failure_since).
    pub fn moment(&self) -> u64 {
        self.shared.state.lock().now()
    }

    /// Why a commit of something in `range` has failed after `since`, if one has, whoever asked for it.
    pub fn failure_since(&self, range: &Range<u32>, since: u64) -> Option<Error> {
        self.shared.state.lock().failure_since(range, since)
    }

    fn commit_and_wait(&self) -> Result<(), Error> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.commit(0..self.size, Box::new(move |result| drop(sender.send(result))));
        receiver.recv().unwrap_or(Err(Error::Stopped))
    }

    /// Puts everything pending on the chip and ends the bus thread. Later requests are refused.
    ///
    /// # Errors
    /// Why not all of it is on the chip.
    pub fn stop(&self) -> Result<(), Error> {
        let Some(thread) = self.thread.lock().take() else {
            return Ok(());
        };
        let result = self.commit_and_wait();
        self.shared.state.lock().stopping = true;
        self.shared.work.notify_one();
        if thread.join().is_err() {
            log::error!("the bus thread failed");
            return Err(Error::Stopped);
        }
        result
    }
}

/// What is planned on its own, in bytes: the largest erase unit, or a little more.
pub fn region_len(chip: &Chip) -> u32 {
    chip.part().largest_erase_len().max(SMALLEST_REGION).min(chip.part().size)
}

impl Drop for Image {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            log::error!("{}", crate::error_text(&error));
        }
    }
}
