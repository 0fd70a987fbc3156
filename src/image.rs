//! The chip as bytes: one cache, what is written and not yet on the chip, and the thread that owns the bus.
//!
//! Callers' threads never wait in here. They ask, and are told by a call back: at once where the answer is in memory, else
//! from the bus thread. What a read returns is what was last written, or what the chip held when it was last read.
//!
//! Knows nothing of files.

mod bus_thread;
mod cache;
mod commit;
mod description;
mod error;
mod pending;
pub mod plan;
mod read_ahead;
mod state;

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::{Condvar, Mutex};

use bus_thread::BusThread;
pub use description::{Description, ReadCommand};
pub use error::Error;
use state::{Read, State, Write, tell};

use crate::chip::{Chip, Counters, Totals};

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
    /// The clock in Hz.
    pub clock_hz: u32,
    /// How data is read.
    pub read_command: ReadCommand,
}

/// The state of an image at one moment.
#[derive(Debug, Clone)]
pub struct Report {
    /// Sectors in the cache.
    pub cached_sectors: usize,
    /// Bytes written and not yet on the chip.
    pub pending_bytes: u64,
    /// Where the chip refused what was written: the address of the region and why.
    pub failed: Vec<(u32, Error)>,
    /// What the image has had to do.
    pub counts: Counts,
    /// What has passed over the wire.
    pub totals: Totals,
}

impl Image {
    /// Takes over `chip` and starts its bus thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(chip: Chip) -> io::Result<Self> {
        let size = chip.part().size;
        let region_len = chip.part().largest_erase_len().max(SMALLEST_REGION).min(size);
        let shared =
            Arc::new(Shared { state: Mutex::new(State::new(size, region_len)), work: Condvar::new() });
        let counters = chip.counters();
        let description = Description::of(&chip);
        let thread = BusThread::new(Arc::clone(&shared), chip, region_len);
        let thread = std::thread::Builder::new().name("bus".to_owned()).spawn(move || thread.run())?;
        Ok(Self { shared, counters, description, size, thread: Mutex::new(Some(thread)) })
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
        let mut state = self.shared.state.lock();
        state.read_ahead.note(range.clone());
        if state.first_missing(range.clone(), SECTOR_LEN).is_none() {
            state.answer(range, done);
        } else if state.stopping {
            done(Err(Error::Stopped));
            return;
        } else {
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
        let mut state = self.shared.state.lock();
        if state.stopping {
            drop(state);
            return done(Err(Error::Stopped));
        }
        if zeros_from >= address && state.try_write(address, data) {
            drop(state);
            done(Ok(()));
        } else {
            state.queue_write(Write { next: zeros_from, address, data: data.to_vec(), done });
            let finished = state.accept_writes();
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

    /// The state at this moment.
    pub fn report(&self) -> Report {
        let state = self.shared.state.lock();
        Report {
            cached_sectors: state.cache.cached_count(),
            pending_bytes: state.pending.byte_count(),
            failed: state.failed().map(|(address, error)| (address, error.clone())).collect(),
            counts: state.counts,
            totals: self.counters.totals(),
        }
    }

    /// Puts everything pending on the chip and ends the bus thread. Later requests are refused.
    ///
    /// # Errors
    /// Why not all of it is on the chip.
    pub fn stop(&self) -> Result<(), Error> {
        let (sender, receiver) = std::sync::mpsc::channel();
        self.commit(0..self.size, Box::new(move |result| drop(sender.send(result))));
        let result = receiver.recv().unwrap_or(Err(Error::Stopped));
        self.shared.state.lock().stopping = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            if thread.join().is_err() {
                log::error!("the bus thread failed");
                return Err(Error::Stopped);
            }
        }
        result
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        if self.thread.lock().is_some() {
            if let Err(error) = self.stop() {
                log::error!("{error}");
            }
        }
    }
}
