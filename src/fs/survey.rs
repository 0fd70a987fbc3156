//! Looking for what a chip says of its partitions.
//!
//! Nobody pays for it who does not ask. The first who does has the beginning of every 64 KiB of the chip looked at, where tables and
//! environments mostly are, past the cache: for everybody else it is as if nothing had been read. After that, whatever gets into the
//! cache for other reasons is searched when somebody asks again. All of it happens on a thread that lives as long as there is
//! something to do, and whoever asks is called back from there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::channel;

use parking_lot::Mutex;

use super::partition_table::PartitionTable;
use super::partitions::fmap::{self, Fmap, Found};
use super::partitions::mtdparts::Mtdparts;
use super::partitions::{Placed, Source, suggestion};
use crate::image::{Cached, Image, Presence, SECTOR_LEN};

/// Of each block of this many bytes the first sector is read. Blocks are also what is searched, and locked, in one go.
const BLOCK_LEN: u32 = 64 << 10;

/// What begins in a block and goes on behind it is found if that is not more than this, in bytes.
const OVERLAP: u32 = 8 << 10;

const _: () = assert!(fmap::LONGEST <= OVERLAP as usize);
const _: () = assert!(suggestion::LONGEST <= OVERLAP as usize);

/// Sectors asked for at a time: others who want something of the bus come in between, and the bus does not wait for the next one.
const READS_AT_A_TIME: usize = 16;

/// What is to be done once everything known has been looked at.
pub(super) type Then = Box<dyn FnOnce() + Send>;

pub(super) struct Survey {
    image: Arc<Image>,
    table: Arc<PartitionTable>,
    /// Whether the user has left it to the chip to say.
    is_wanted: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether there is a thread at it, which will see to those who wait.
    is_running: bool,
    waiting: Vec<Then>,
    /// Whether the beginnings of all blocks have been read, as far as they can be.
    has_read: bool,
    /// The moment of the image's cache up to which everything has been searched.
    searched_until: u64,
    /// By the address of the block in whose cached bytes they were found.
    suggestions: BTreeMap<u32, Mtdparts>,
    /// By the address of the block whose beginning has them, as long as that is not cached.
    first_suggestions: BTreeMap<u32, Mtdparts>,
}

impl Survey {
    pub(super) fn new(image: Arc<Image>, table: Arc<PartitionTable>) -> Self {
        let is_wanted = table.placed().is_none();
        Self { image, table, is_wanted, state: Mutex::default() }
    }

    /// Calls `then` once it is known which partitions there are: at once where there are some, as they stay.
    pub(super) fn once_settled(self: &Arc<Self>, then: Then) {
        if self.table.placed().is_some() { then() } else { self.then(then) }
    }

    /// Calls `then` once what the chip says is known: at once where nothing has changed since it was last looked for.
    pub(super) fn then(self: &Arc<Self>, then: Then) {
        let mut state = self.state.lock();
        let is_done = state.has_read && state.searched_until == self.image.cache_moment();
        if !self.is_wanted || (is_done && !state.is_running) {
            drop(state);
            return then();
        }
        state.waiting.push(then);
        if state.is_running {
            return;
        }
        state.is_running = true;
        drop(state);
        let survey = Arc::clone(self);
        if let Err(error) = std::thread::Builder::new().name("survey".to_owned()).spawn(move || survey.run())
        {
            log::error!("the chip is not searched for partitions: {error}");
            for then in self.take_waiting() {
                then();
            }
        }
    }

    /// What the chip holds in the way of a description that the user may want to be followed.
    pub(super) fn suggestion(&self) -> Option<String> {
        let state = self.state.lock();
        let suggestions = state.suggestions.values().chain(state.first_suggestions.values());
        suggestions.map(suggestion::as_option).next()
    }

    fn run(&self) {
        loop {
            let waiting = self.take_waiting();
            if waiting.is_empty() {
                return;
            }
            self.look_at_beginnings();
            self.search();
            for then in waiting {
                then();
            }
        }
    }

    /// Those who wait; where nobody does, this thread is not at it any more.
    fn take_waiting(&self) -> Vec<Then> {
        let mut state = self.state.lock();
        state.is_running = !state.waiting.is_empty();
        std::mem::take(&mut state.waiting)
    }

    /// Looks at the beginnings of all blocks, once. While the chip is gone there is no use in it.
    fn look_at_beginnings(&self) {
        if self.state.lock().has_read || !self.is_chip_here() {
            return;
        }
        let beginnings: Vec<u32> = (0..self.image.size()).step_by(BLOCK_LEN as usize).collect();
        for addresses in beginnings.chunks(READS_AT_A_TIME) {
            for seen in self.peek(addresses) {
                if let Some(found) = suggestion::search(&seen.bytes, self.image.size()) {
                    self.state.lock().first_suggestions.insert(seen.address, found);
                }
                self.search_for_table(seen);
            }
        }
        self.state.lock().has_read = self.is_chip_here();
    }

    fn is_chip_here(&self) -> bool {
        self.image.report().counts.presence == Presence::Here
    }

    /// The sectors at `addresses`, in this order; what cannot be read is the bus thread's to log, and is missing.
    fn peek(&self, addresses: &[u32]) -> Vec<Cached> {
        let (sender, receiver) = channel();
        for &address in addresses {
            let sender = sender.clone();
            let seen = move |result: Result<&[u8], _>| {
                if let Ok(bytes) = result {
                    // A receiver that is gone does not want to know.
                    let _ = sender.send(Cached { address, bytes: bytes.to_vec() });
                }
            };
            self.image.peek(address, Box::new(seen));
        }
        drop(sender);
        receiver.iter().collect()
    }

    /// Searches what has got into the cache since the last time.
    fn search(&self) {
        let now = self.image.cache_moment();
        let since = std::mem::replace(&mut self.state.lock().searched_until, now);
        if since == now {
            return;
        }
        let size = self.image.size();
        for block in (0..size).step_by(BLOCK_LEN as usize) {
            let runs = self.image.cached_since(block..size.min(block + BLOCK_LEN + OVERLAP), since);
            if runs.is_empty() {
                continue;
            }
            let found = runs.iter().find_map(|run| suggestion::search(&run.bytes, size));
            let has_beginning = runs.iter().any(|run| run.address == block);
            self.note_suggestion(block, found, has_beginning);
            runs.into_iter().for_each(|run| self.search_for_table(run));
        }
    }

    fn note_suggestion(&self, block: u32, found: Option<Mtdparts>, has_beginning: bool) {
        let mut state = self.state.lock();
        if has_beginning {
            state.first_suggestions.remove(&block);
        }
        match found {
            Some(mtdparts) => state.suggestions.insert(block, mtdparts),
            None => state.suggestions.remove(&block),
        };
    }

    /// Makes a table in `run` the partitions of the mount, if it has none. What begins in it is looked at to its end.
    fn search_for_table(&self, run: Cached) {
        if self.table.placed().is_some() {
            return;
        }
        let size = self.image.size();
        let mut run = run;
        let mut found = fmap::search(&run.bytes, size);
        if let Found::Beginning(offset) = found {
            let run_end = run.address as usize + run.bytes.len();
            let table_end = (run.address as usize + offset + fmap::LONGEST).min(size as usize);
            let behind = (run_end..table_end).step_by(SECTOR_LEN as usize);
            let addresses: Vec<u32> = behind.filter_map(|address| u32::try_from(address).ok()).collect();
            let seen = self.peek(&addresses);
            if seen.len() == addresses.len() {
                seen.iter().for_each(|sector| run.bytes.extend_from_slice(&sector.bytes));
                found = fmap::search(&run.bytes, size);
            }
        }
        if let Found::Table(fmap) = found {
            self.settle(run.address, fmap);
        }
    }

    fn settle(&self, address: u32, fmap: Fmap) {
        let Fmap { offset, areas, left_out } = fmap;
        let count = areas.len();
        if self.table.settle(Placed { source: Source::Fmap, list: areas }) {
            log::info!("the chip names {count} partitions (FMAP at {:#08x})", address as usize + offset);
            for reason in left_out {
                log::warn!("a part of the chip that FMAP names is left out: {reason}");
            }
        }
    }
}
