//! Readers who come during an erase: on a chip that can suspend one they wait for a few milliseconds, on any other for its end; and
//! nobody gets a wrong byte, whatever becomes of the commands.

mod figures;
mod model_chip;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use model_chip::{SPEED_HZ, commit, read};
use norfuse::chip::{Chip, Speed};
use norfuse::image::{Image, Options};
use norfuse::spi::sim::faults::Faults;
use norfuse::spi::sim::model::{Configuration, Model};
use norfuse::spi::sim::storage::{CHIP_SIZE, Storage};
use norfuse::spi::sim::tally::Violation;
use norfuse::spi::sim::{Pace, Simulated};
use norfuse::spi::{Bus, Error, Transaction};
use parking_lot::Mutex;

/// What is written: whole blocks, so that most of the time is that of their erases.
const WRITTEN: std::ops::Range<u32> = 0x10_0000..0x30_0000;

/// A reader comes each time that the bus has slept so often: an erase sleeps through a millisecond at a time.
const SLEEPS_BETWEEN_READERS: u64 = 17;

/// The first erase tells how long one takes, and on the second suspending is tried; readers who come then wait for the end.
const WAITS_BEFORE_PROVEN: usize = 18;

/// Called when the bus sleeps.
type Hook = Arc<Mutex<Option<Box<dyn FnMut() + Send>>>>;

/// A bus on which something happens while it sleeps.
struct Sleepy {
    bus: Simulated,
    hook: Hook,
    /// The simulated time in nanoseconds.
    now: Arc<AtomicU64>,
}

impl Bus for Sleepy {
    fn transfer(&mut self, transactions: &mut [Transaction<'_>]) -> Result<(), Error> {
        let result = self.bus.transfer(transactions);
        self.note_time();
        result
    }

    fn set_clock(&mut self, hz: u32) -> Result<(), Error> {
        self.bus.set_clock(hz)
    }

    fn clock(&self) -> u32 {
        self.bus.clock()
    }

    fn max_data_len(&self) -> usize {
        self.bus.max_data_len()
    }

    fn now(&self) -> Duration {
        self.bus.now()
    }

    fn sleep(&mut self, duration: Duration) {
        if let Some(hook) = &mut *self.hook.lock() {
            hook();
        }
        self.bus.sleep(duration);
        self.note_time();
    }
}

impl Sleepy {
    fn note_time(&self) {
        self.now.store(u64::try_from(self.bus.now().as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

/// What came of reading during a write.
struct Outcome {
    /// How long each reader waited, in simulated time.
    waits: Vec<Duration>,
    /// Readers who were told of an error.
    failed: usize,
    chip: Arc<Mutex<Model>>,
}

/// Writes while readers come, with `faults` in force; checks every byte that is read, and what the chip holds in the end.
fn write_with_readers(configuration: Configuration, faults: Faults) -> Outcome {
    let old = scattered(0);
    let bus = Simulated::from_model(Model::new(Storage::memory(old.clone()), configuration), Pace::Virtual);
    let chip = bus.share();
    let (hook, now) = (Hook::default(), Arc::new(AtomicU64::new(0)));
    let bus = Sleepy { bus, hook: Arc::clone(&hook), now: Arc::clone(&now) };
    let options = Options { read_repeat: 2, scrub: false, journal: None, unlock: None, replay_always: false };
    let identified = Chip::identify(Box::new(bus), Speed::Fixed(SPEED_HZ)).unwrap();
    let image = Arc::new(Image::start(identified, options).unwrap());
    // Something must be known for sure to try suspending on.
    read(&image, 0..0x1_0000).unwrap();

    let waits = Arc::new(Mutex::new((Vec::new(), 0)));
    *hook.lock() = Some(readers(&image, &old, &now, &waits));
    chip.lock().set_faults(faults);
    let mut new = old.clone();
    let written = WRITTEN.start as usize..WRITTEN.end as usize;
    new[written.clone()].copy_from_slice(&scattered(1)[written]);
    for start in WRITTEN.step_by(0x1_0000) {
        let data = &new[start as usize..start as usize + 0x1_0000];
        image.write(start, start, data, Box::new(|result| result.unwrap()));
    }
    commit(&image).unwrap();
    *hook.lock() = None;
    chip.lock().set_faults(Faults::default());
    image.stop().unwrap();
    assert!(chip.lock().contents().unwrap() == new, "the chip holds something else");
    let (waits, failed) = std::mem::take(&mut *waits.lock());
    Outcome { waits, failed, chip }
}

/// Bytes for a whole chip, each of them different for another `seed`.
fn scattered(seed: u32) -> Vec<u8> {
    let value = |index: u32| (index ^ seed).wrapping_mul(0x9E37_79B1).to_be_bytes();
    (0..CHIP_SIZE).map(|index| value(index)[1] ^ value(index)[0]).collect()
}

/// Reads one sector after the other of those that nobody has read yet, and notes how long that takes.
fn readers(
    image: &Arc<Image>,
    old: &[u8],
    now: &Arc<AtomicU64>,
    waits: &Arc<Mutex<(Vec<Duration>, usize)>>,
) -> Box<dyn FnMut() + Send> {
    let (image, old) = (Arc::downgrade(image), Arc::new(old.to_vec()));
    let (now, waits) = (Arc::clone(now), Arc::clone(waits));
    let (mut sleeps, mut next) = (0, 0x40_0000u32);
    Box::new(move || {
        sleeps += 1;
        let Some(image) = image.upgrade().filter(|_| sleeps % SLEEPS_BETWEEN_READERS == 0) else {
            return;
        };
        // Far apart, so that nothing is read ahead.
        let range = next..next + 4096;
        next = if next < 0xFF_0000 { next + 0x3000 } else { 0x40_1000 };
        let (came, now, waits, old) =
            (now.load(Ordering::SeqCst), Arc::clone(&now), Arc::clone(&waits), Arc::clone(&old));
        image.read(
            range.clone(),
            Box::new(move |result: Result<&[u8], _>| match result {
                Ok(bytes) => {
                    assert!(bytes == &old[range.start as usize..range.end as usize], "a wrong byte");
                    waits.lock().0.push(Duration::from_nanos(now.load(Ordering::SeqCst) - came));
                }
                Err(_) => waits.lock().1 += 1,
            }),
        );
    })
}

#[test]
fn on_a_chip_that_can_suspend_readers_wait_for_milliseconds() {
    let Outcome { mut waits, failed, chip } = write_with_readers(Configuration::default(), Faults::default());
    assert_eq!((chip.lock().violations().total(), failed), (0, 0), "{:?}", chip.lock().violations());
    let mut later = waits.split_off(WAITS_BEFORE_PROVEN);
    later.sort();
    figures::show(format_args!(
        "{} readers during erases waited {:?} at the median, {:?} at the 99th of a hundred, {:?} at most",
        later.len(),
        later[later.len() / 2],
        later[later.len() * 99 / 100],
        later[later.len() - 1]
    ));
    assert!(later.len() > 80, "{}", later.len());
    assert!(later[later.len() * 99 / 100] < Duration::from_millis(5), "{later:?}");
}

#[test]
fn on_a_chip_that_cannot_suspend_readers_wait_for_the_end_of_an_erase() {
    let configuration = Configuration { suspends: false, ..Configuration::default() };
    let Outcome { waits, failed, chip } = write_with_readers(configuration, Faults::default());
    // It is tried once: the chip is told to suspend, and for safety to resume.
    let violations = chip.lock().violations();
    let tried = [Violation::Busy, Violation::UnknownOpcode].map(|kind| violations.count(kind));
    assert_eq!((tried, violations.total(), failed), ([1, 1], 2, 0), "{violations:?}");
    let longest = waits.iter().max().unwrap();
    assert!(*longest < Duration::from_millis(170), "{longest:?}");
}

#[test]
fn lost_commands_neither_spoil_an_erase_nor_a_read() {
    for seed in 0..6 {
        let faults = Faults { lost: 0.004, seed, ..Faults::default() };
        let outcome = write_with_readers(Configuration::default(), faults);
        assert!(!outcome.waits.is_empty());
    }
}

#[test]
fn bits_flipped_on_the_way_from_the_chip_neither_spoil_an_erase_nor_a_read() {
    for seed in 0..4 {
        let faults = Faults { flip_read: 1e-6, seed, ..Faults::default() };
        let outcome = write_with_readers(Configuration::default(), faults);
        assert!(!outcome.waits.is_empty());
    }
}
