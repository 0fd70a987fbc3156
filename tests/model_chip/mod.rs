//! A simulated chip that outlives the images that use it, as a real one does.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of this")]

pub mod changing_faults;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use norfuse::chip::{Chip, Speed};
use norfuse::image::journal::{ChipIdentity, Journal, Opened, Record};
use norfuse::image::{Error, Image, Options, region_len};
use norfuse::spi::sim::model::{Configuration, Model};
use norfuse::spi::sim::storage::{CHIP_SIZE, Storage};
use norfuse::spi::sim::timing::Times;
use norfuse::spi::sim::{Pace, Simulated};
use parking_lot::{Mutex, MutexGuard};

use changing_faults::{ChangingFaults, Schedule};

pub const SPEED_HZ: u32 = 32_000_000;

/// What the image is asked to do beside reading and writing.
#[derive(Clone, Copy)]
pub struct Care {
    pub read_repeat: u32,
    pub scrub: bool,
}

pub struct ModelChip {
    model: Arc<Mutex<Model>>,
    pub care: Care,
    /// Faults to come.
    pub schedule: Schedule,
}

impl ModelChip {
    pub fn new(contents: &[u8]) -> Self {
        Self::with(contents, Configuration::default())
    }

    pub fn anonymous(contents: &[u8]) -> Self {
        Self::with(contents, Configuration { unique_id: None, ..Configuration::default() })
    }

    /// A chip whose programs are over after a few polls, so that less time goes into polling.
    pub fn quick(contents: &[u8]) -> Self {
        let times = Times { page_program: Duration::from_micros(60), ..Times::default() };
        Self::with(contents, Configuration { times, ..Configuration::default() })
    }

    fn with(contents: &[u8], configuration: Configuration) -> Self {
        let model = Model::new(Storage::memory(contents.to_vec()), configuration);
        Self {
            model: Arc::new(Mutex::new(model)),
            care: Care { read_repeat: 1, scrub: false },
            schedule: Schedule::default(),
        }
    }

    pub fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock()
    }

    pub fn contents(&self) -> Vec<u8> {
        self.model().contents().unwrap()
    }

    pub fn poke(&self, address: u32, bytes: &[u8]) {
        self.model().poke(address, bytes).unwrap();
    }

    pub fn refill(&self, contents: &[u8]) {
        self.poke(0, contents);
    }

    pub fn identify(&self) -> Chip {
        let bus = Simulated::shared(Arc::clone(&self.model), Pace::Virtual);
        let bus = ChangingFaults { bus, schedule: self.schedule.clone() };
        Chip::identify(Box::new(bus), Speed::Fixed(SPEED_HZ)).unwrap()
    }

    /// An image of the chip, with a journal in `directory` if there is one.
    pub fn start(&self, directory: Option<&Path>) -> Result<Image, Error> {
        let journal = directory.map(|directory| open_journal(self, directory));
        let options = Options {
            read_repeat: self.care.read_repeat,
            scrub: self.care.scrub,
            journal,
            replay_always: false,
            unlock: None,
        };
        Image::start(self.identify(), options)
    }
}

pub fn open_journal(chip: &ModelChip, directory: &Path) -> (Journal, Vec<Record>) {
    let chip = chip.identify();
    let identity = ChipIdentity {
        jedec_id: chip.id(),
        unique_id: chip.unique_id().map(<[u8]>::to_vec),
        size: chip.part().size,
    };
    let Opened { journal, records, .. } = Journal::open(directory, &identity, region_len(&chip)).unwrap();
    (journal, records)
}

/// Puts everything on the chip and waits.
pub fn commit(image: &Image) -> Result<(), Error> {
    let (sender, receiver) = channel();
    image.commit(0..image.size(), Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap()
}

/// Reads and waits.
pub fn read(image: &Image, range: std::ops::Range<u32>) -> Result<Vec<u8>, Error> {
    let (sender, receiver) = channel();
    image.read(range, Box::new(move |result| sender.send(result.map(<[u8]>::to_vec)).unwrap()));
    receiver.recv().unwrap()
}

/// Random bytes, text, blank and zeroed stretches, each of some kilobytes and not aligned to anything.
pub fn mixed_contents() -> Vec<u8> {
    let mut contents = vec![0xFF; CHIP_SIZE as usize];
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    for (index, byte) in contents.iter_mut().enumerate().take(1 << 20) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = match index / 7000 % 4 {
            0 => state.to_le_bytes()[0],
            1 => b"the quick brown fox "[index % 20],
            2 => 0xFF,
            _ => 0x00,
        };
    }
    contents
}
