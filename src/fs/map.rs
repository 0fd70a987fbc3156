//! `map.svg`: a picture of what the chip holds, drawn anew for whoever opens it.
//!
//! Nobody pays for it who does not open it: then what is not cached is read, through the cache, by a thread that lives as long as there
//! is something to draw; whoever opens it is called back from there. Until then the file is as long as the last picture.

mod cells;
mod classify;
mod labels;
mod legend;
mod paint;
mod svg;
mod text;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::channel;

use fuser::Errno;
use parking_lot::Mutex;

use super::partition_table::PartitionTable;
use super::survey::Survey;
use crate::image::{Error, Image, Presence, SECTOR_LEN};
use cells::{Class, Look, Mark};
use classify::classify;
use svg::Picture;

/// What is read at a time, in bytes: others who want something of the bus come in between.
const BLOCK_LEN: u32 = 64 << 10;

/// Blanks fill a picture up to a multiple of this many bytes, which is more than most need: programs that look at a file's length before
/// they open it read no more than that.
const LEN_STEP: usize = 64 << 10;

/// What is to be done once there is a picture; with an error if there can be none.
pub(super) type Then = Box<dyn FnOnce(Result<(), Errno>) + Send>;

pub(super) struct MapFile {
    image: Arc<Image>,
    /// The device's name.
    device: String,
    table: Arc<PartitionTable>,
    survey: Arc<Survey>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whether there is a thread at it, which will see to those who wait.
    is_running: bool,
    waiting: Vec<Then>,
    /// The last picture.
    drawn: Vec<u8>,
}

impl MapFile {
    pub(super) fn new(
        image: Arc<Image>,
        device: String,
        table: Arc<PartitionTable>,
        survey: Arc<Survey>,
    ) -> Self {
        Self { image, device, table, survey, state: Mutex::default() }
    }

    /// The last picture's length in bytes; before there is one, what it will most likely be.
    pub(super) fn len(&self) -> usize {
        self.state.lock().drawn.len().max(LEN_STEP)
    }

    /// The last picture.
    pub(super) fn text(&self) -> Vec<u8> {
        self.state.lock().drawn.clone()
    }

    /// Calls `then` once there is a picture of the chip as it is from now on.
    pub(super) fn draw(self: &Arc<Self>, then: Then) {
        let mut state = self.state.lock();
        state.waiting.push(then);
        if state.is_running {
            return;
        }
        state.is_running = true;
        drop(state);
        let map = Arc::clone(self);
        if let Err(error) = std::thread::Builder::new().name("map".to_owned()).spawn(move || map.run()) {
            log::error!("map.svg cannot be drawn: {error}");
            let mut state = self.state.lock();
            state.is_running = false;
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            for then in waiting {
                then(Err(Errno::EIO));
            }
        }
    }

    fn run(&self) {
        loop {
            let waiting = self.take_waiting();
            if waiting.is_empty() {
                return;
            }
            let classes = self.look();
            // Now that all is cached, the search for partitions costs nothing and misses nothing.
            self.wait_for_partitions();
            let picture = self.picture(&classes);
            self.state.lock().drawn = picture;
            for then in waiting {
                then(Ok(()));
            }
        }
    }

    /// Those who wait; where nobody does, this thread is not at it any more.
    fn take_waiting(&self) -> Vec<Then> {
        let mut state = self.state.lock();
        state.is_running = !state.waiting.is_empty();
        std::mem::take(&mut state.waiting)
    }

    /// What each sector looks like.
    fn look(&self) -> Vec<Class> {
        let size = self.image.size();
        let mut classes = Vec::new();
        let mut is_gone = false;
        for start in (0..size).step_by(BLOCK_LEN as usize) {
            let block = start..size.min(start.saturating_add(BLOCK_LEN));
            let whole = if is_gone { None } else { self.read(block.clone()).ok() };
            if let Some(bytes) = whole {
                classes.extend(bytes.chunks(SECTOR_LEN as usize).map(classify));
                continue;
            }
            for address in block.step_by(SECTOR_LEN as usize) {
                let class = self.look_at_sector(address, is_gone);
                is_gone = is_gone || (class == Class::Unreadable && self.is_chip_gone());
                classes.push(class);
            }
        }
        classes
    }

    /// Of a chip that is gone only what is cached: asking for more would be an error in the log for each sector.
    fn look_at_sector(&self, address: u32, is_gone: bool) -> Class {
        let sector = address..address + SECTOR_LEN;
        if is_gone {
            let cached = self.image.cached_since(sector, 0);
            return cached.first().map_or(Class::Unreadable, |cached| classify(&cached.bytes));
        }
        self.read(sector).map_or(Class::Unreadable, |bytes| classify(&bytes))
    }

    fn is_chip_gone(&self) -> bool {
        self.image.report().counts.presence == Presence::Gone
    }

    fn read(&self, range: Range<u32>) -> Result<Vec<u8>, Error> {
        let (sender, receiver) = channel();
        let done = move |result: Result<&[u8], _>| drop(sender.send(result.map(<[u8]>::to_vec)));
        self.image.read(range, Box::new(done));
        receiver.recv().unwrap_or(Err(Error::Stopped))
    }

    fn wait_for_partitions(&self) {
        let (sender, receiver) = channel::<()>();
        self.survey.then(Box::new(move || drop(sender)));
        // It ends when the sender is dropped.
        let _ = receiver.recv();
    }

    fn picture(&self, classes: &[Class]) -> Vec<u8> {
        let mark = |is_refused| if is_refused { Mark::Failed } else { Mark::Pending };
        let unwritten = self.image.unwritten().into_iter();
        let marks: BTreeMap<u32, Mark> =
            unwritten.map(|sector| (sector.address / SECTOR_LEN, mark(sector.is_refused))).collect();
        let sectors: Vec<Look> = (0..)
            .zip(classes)
            .map(|(number, &class)| Look { class, mark: marks.get(&number).copied() })
            .collect();
        let description = self.image.description();
        let picture = Picture {
            chip: &description.name,
            jedec_id: &description.jedec_id,
            device: &self.device,
            size: self.image.size(),
            sectors: &sectors,
            partitions: self.table.list(),
        };
        let mut text = picture.document().into_bytes();
        let len = text.len().next_multiple_of(LEN_STEP);
        text.resize(len - 1, b' ');
        text.push(b'\n');
        text
    }
}
