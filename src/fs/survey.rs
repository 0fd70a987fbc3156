//! Looking for what a chip says of its partitions.
//!
//! Nobody pays for it who does not ask. The first who does has the beginning of every 64 KiB of the chip read, where tables and
//! environments mostly are; after that, whatever gets into the cache for other reasons is searched when somebody asks again. All of
//! it happens on a thread that lives as long as there is something to do, and whoever asks is called back from there.

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
    /// By the number of the block in which they were found.
    suggestions: BTreeMap<u32, Mtdparts>,
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
        self.state.lock().suggestions.values().next().map(suggestion::as_option)
    }

    fn run(&self) {
        loop {
            let waiting = self.take_waiting();
            if waiting.is_empty() {
                return;
            }
            self.read_beginnings();
            let cut = self.search();
            if !cut.is_empty() {
                self.read(&cut);
                self.search();
            }
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

    /// Reads the beginnings of all blocks, once. While the chip is gone there is no use in it.
    fn read_beginnings(&self) {
        if !self.state.lock().has_read && self.is_chip_here() {
            let beginnings: Vec<u32> = (0..self.image.size()).step_by(BLOCK_LEN as usize).collect();
            self.read(&beginnings);
            self.state.lock().has_read = self.is_chip_here();
        }
    }

    fn is_chip_here(&self) -> bool {
        self.image.report().counts.presence == Presence::Here
    }

    /// Has the sectors at `addresses` read into the cache; what cannot be read is the bus thread's to log.
    fn read(&self, addresses: &[u32]) {
        for addresses in addresses.chunks(READS_AT_A_TIME) {
            if !self.is_chip_here() {
                return;
            }
            let (all_here, wait) = channel::<()>();
            for &address in addresses {
                let here = all_here.clone();
                let end = self.image.size().min(address + SECTOR_LEN);
                self.image.peek(address..end, Box::new(move |_| drop(here)));
            }
            drop(all_here);
            // Nothing is sent: it ends when the last of them has been answered.
            let _ = wait.recv();
        }
    }

    /// Searches what has got into the cache since the last time. Returns the addresses of sectors that must be read to see whether
    /// what begins before them is a table.
    fn search(&self) -> Vec<u32> {
        let now = self.image.cache_moment();
        let since = std::mem::replace(&mut self.state.lock().searched_until, now);
        let mut cut = Vec::new();
        if since == now {
            return cut;
        }
        let size = self.image.size();
        for block in (0..size).step_by(BLOCK_LEN as usize) {
            let runs = self.image.cached_since(block..size.min(block + BLOCK_LEN + OVERLAP), since);
            if runs.is_empty() {
                continue;
            }
            self.note_suggestion(block, runs.iter().find_map(|run| suggestion::search(&run.bytes, size)));
            cut.extend(runs.iter().filter_map(|run| self.search_for_table(run)).flatten());
        }
        cut
    }

    fn note_suggestion(&self, block: u32, found: Option<Mtdparts>) {
        let suggestions = &mut self.state.lock().suggestions;
        match found {
            Some(mtdparts) => suggestions.insert(block, mtdparts),
            None => suggestions.remove(&block),
        };
    }

    /// Makes a table in `run` the partitions of the mount, if it has none; or returns the sectors that are missing to see it.
    fn search_for_table(&self, run: &Cached) -> Option<Vec<u32>> {
        if self.table.placed().is_some() {
            return None;
        }
        let size = self.image.size();
        match fmap::search(&run.bytes, size) {
            Found::Table(fmap) => {
                self.settle(run.address, fmap);
                None
            }
            Found::Beginning(offset) => {
                let end = run.address as usize + offset + fmap::LONGEST;
                let behind = run.address as usize + run.bytes.len()..end.min(size as usize);
                let sectors = behind.step_by(SECTOR_LEN as usize).filter_map(|at| u32::try_from(at).ok());
                Some(sectors.collect())
            }
            Found::Nothing => None,
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
