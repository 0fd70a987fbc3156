//! Random histories of reads, writes, commits and faults, compared with an array of bytes. Whatever goes wrong, no wrong byte
//! is passed off as a right one, no other byte is touched, and every failure is told.
//!
//! The seeds are fixed, so that a suite that has passed passes again; `NORFUSE_SEED` takes others.

mod figures;
mod model_chip;

use std::env;
use std::ops::{AddAssign, Range};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use model_chip::{Care, ModelChip, mixed_contents};
use norfuse::image::{Error, Image};
use norfuse::spi::sim::faults::{Cell, Faults};
use norfuse::spi::sim::storage::CHIP_SIZE;
use norfuse::spi::sim::tally::Violation;
use parking_lot::Mutex;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Where everything happens: at both ends of the chip, across ends of blocks, where contents end, and where all is blank.
const PLACES: [u32; 6] = [0, 0xE000, 0x7_E800, 0xF_B000, 0x7F_A000, CHIP_SIZE - WINDOW_LEN];
const WINDOW_LEN: u32 = 24 << 10;

/// Whatever takes this long hangs.
const HANG: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
enum Step {
    Read(Range<u32>),
    Write {
        range: Range<u32>,
        kind: Kind,
        seed: u64,
    },
    /// Everything.
    Commit,
    CommitPart(Range<u32>),
    CommitWhileReading(Vec<Range<u32>>),
    /// Other faults, so many messages later.
    Faults {
        after: u64,
        faults: Faults,
    },
    /// An end to all faults.
    Repair,
}

/// What is written over what there was.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Random,
    Blank,
    Zeros,
    ClearedBits,
    Same,
}

/// What the histories came to.
#[derive(Debug, Default, Clone, Copy)]
struct Figures {
    histories: u64,
    reads: u64,
    reads_failed: u64,
    writes: u64,
    writes_refused: u64,
    commits: u64,
    commits_failed: u64,
    verify_failures: u64,
    mismatches: u64,
    messages: u64,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.histories += other.histories;
        self.reads += other.reads;
        self.reads_failed += other.reads_failed;
        self.writes += other.writes;
        self.writes_refused += other.writes_refused;
        self.commits += other.commits;
        self.commits_failed += other.commits_failed;
        self.verify_failures += other.verify_failures;
        self.mismatches += other.mismatches;
        self.messages += other.messages;
    }
}

fn ranges() -> impl Strategy<Value = Range<u32>> {
    let len = prop_oneof![3 => 1..64u32, 3 => 64..600u32, 3 => 600..6000u32, 1 => Just(4096), 1 => 60_000..140_000u32];
    (0..PLACES.len(), 0..WINDOW_LEN, any::<bool>(), len).prop_map(|(place, offset, aligned, len)| {
        let offset = if aligned { offset & !0xFFF } else { offset };
        let start = PLACES[place] + offset;
        start..(start + len).min(CHIP_SIZE)
    })
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Random),
        1 => Just(Kind::Blank),
        1 => Just(Kind::Zeros),
        2 => Just(Kind::ClearedBits),
        1 => Just(Kind::Same),
    ]
}

fn cells() -> impl Strategy<Value = Vec<Cell>> {
    let cell = (0..PLACES.len(), 0..WINDOW_LEN, 0..8u8)
        .prop_map(|(place, offset, bit)| Cell { address: PLACES[place] + offset, bit });
    proptest::collection::vec(cell, 1..40)
}

/// A probability of any order of magnitude from 10^`from` to 10^`to`.
fn rates(from: f64, to: f64) -> impl Strategy<Value = f64> {
    (from..to).prop_map(|exponent| 10f64.powf(exponent))
}

fn faults() -> impl Strategy<Value = Faults> {
    let none = Faults::default;
    let one = prop_oneof![
        3 => Just(none()),
        4 => rates(-7.0, -4.0).prop_map(move |flip_read| Faults { flip_read, ..none() }),
        2 => Just(Faults { disconnected: true, ..none() }),
        1 => Just(Faults { stuck_low: true, ..none() }),
        1 => Just(Faults { stuck_busy: true, ..none() }),
        1 => cells().prop_map(move |weak_program| Faults { weak_program, ..none() }),
        1 => cells().prop_map(move |weak_erase| Faults { weak_erase, ..none() }),
        2 => rates(-5.0, -3.0).prop_map(move |lost| Faults { lost, ..none() }),
        1 => (1..20u64).prop_map(move |count| Faults { power_cut: Some(count), ..none() }),
    ];
    let flips = prop_oneof![3 => Just(0.0), 1 => rates(-7.0, -4.0)];
    (one, flips, any::<u64>()).prop_map(|(faults, flip_read, seed)| Faults {
        flip_read: faults.flip_read.max(flip_read),
        seed,
        ..faults
    })
}

fn steps(faults: impl Strategy<Value = Faults> + 'static) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => ranges().prop_map(Step::Read),
        6 => (ranges(), kinds(), any::<u64>()).prop_map(|(range, kind, seed)| Step::Write { range, kind, seed }),
        3 => Just(Step::Commit),
        1 => ranges().prop_map(Step::CommitPart),
        1 => proptest::collection::vec(ranges(), 1..4).prop_map(Step::CommitWhileReading),
        // Of the messages of a step most come early in it, and few steps have more than this.
        5 => (prop_oneof![Just(0), 0..20u64, 0..300u64], faults)
            .prop_map(|(after, faults)| Step::Faults { after, faults }),
        2 => Just(Step::Repair),
    ];
    proptest::collection::vec(step, 5..40)
}

/// What is wrong, in words.
type Checked<T = ()> = Result<T, String>;

/// A chip, and what it should hold; both outlive many histories.
struct Bench {
    chip: ModelChip,
    original: Vec<u8>,
    wanted: Vec<u8>,
    /// What histories have written since chip and `wanted` were last made `original`.
    written: Vec<Range<u32>>,
    /// Whether the last history ended as it should have, so that only what was written has to be restored.
    is_sound: bool,
}

impl Bench {
    fn new(care: Care) -> Self {
        let original = mixed_contents();
        let mut chip = ModelChip::quick(&original);
        chip.care = care;
        Self { chip, wanted: original.clone(), original, written: Vec::new(), is_sound: true }
    }

    fn restore(&mut self) {
        self.clear_faults();
        if !self.is_sound {
            self.written.push(0..CHIP_SIZE);
        }
        for range in std::mem::take(&mut self.written) {
            let original = &self.original[indices(&range)];
            self.wanted[indices(&range)].copy_from_slice(original);
            self.chip.poke(range.start, original);
        }
    }

    fn clear_faults(&self) {
        self.chip.schedule.rest();
        self.chip.model().set_faults(Faults::default());
    }

    /// Runs a history on a fresh image of the restored chip.
    fn run(&mut self, steps: &[Step]) -> Checked<Figures> {
        self.restore();
        self.is_sound = false;
        let image = self.chip.start(None).map_err(|error| format!("does not start: {error}"))?;
        let result = self.run_on(&image, steps);
        self.clear_faults();
        if result.is_ok() {
            image.stop().map_err(|error| format!("does not stop well: {error}"))?;
            self.is_sound = true;
        } else {
            // Its bus thread may hang, and stopping would wait for it.
            std::mem::forget(image);
        }
        result
    }

    /// Runs a history, ends all faults, and makes sure that chip and image are as they should be.
    fn run_on(&mut self, image: &Image, steps: &[Step]) -> Checked<Figures> {
        let violations_before = self.chip.model().violations();
        let before = image.report();
        let mut player = Player {
            bench: self,
            image,
            figures: Figures::default(),
            is_disturbed: false,
            explained: Vec::new(),
        };
        for (index, step) in steps.iter().enumerate() {
            player.play(step).map_err(|wrong| format!("step {index}: {wrong}"))?;
        }
        player.end()?;
        let Player { mut figures, explained, .. } = player;
        let violations = self.chip.model().violations();
        for kind in Violation::ALL {
            let happened = violations.count(kind) > violations_before.count(kind);
            if happened && !explained.contains(&kind) {
                return Err(format!("the chip was used wrongly, which no fault explains: {kind:?}"));
            }
        }
        let after = image.report();
        figures.histories = 1;
        figures.verify_failures = after.counts.verify_failures - before.counts.verify_failures;
        figures.mismatches = after.counts.mismatches - before.counts.mismatches;
        figures.messages = after.totals.messages - before.totals.messages;
        Ok(figures)
    }

    /// Makes sure that the chip holds in `range` what it should.
    fn check_chip(&self, range: Range<u32>) -> Checked {
        let mut found = vec![0; 64 << 10];
        let model = self.chip.model();
        for start in range.clone().step_by(found.len()) {
            let piece = start..range.end.min(start + (64 << 10));
            let found = &mut found[..piece.len()];
            model.peek(piece.start, found).map_err(|error| error.to_string())?;
            same(found, &self.wanted[indices(&piece)], piece.start, "the chip")?;
        }
        Ok(())
    }
}

/// A history in the course of being played.
struct Player<'a> {
    bench: &'a mut Bench,
    image: &'a Image,
    figures: Figures,
    /// Whether faults are in force or to come.
    is_disturbed: bool,
    /// What the faults so far can make a careful user of the chip do wrong.
    explained: Vec<Violation>,
}

impl Player<'_> {
    fn play(&mut self, step: &Step) -> Checked {
        match step {
            Step::Read(range) => {
                let receiver = self.start_read(range);
                self.finish_read(range, &receiver)
            }
            Step::Write { range, kind, seed } => self.write(range, *kind, *seed),
            Step::Commit => self.commit(0..CHIP_SIZE, &[]),
            Step::CommitPart(range) => self.commit(range.clone(), &[]),
            Step::CommitWhileReading(ranges) => self.commit(0..CHIP_SIZE, ranges),
            Step::Faults { after, faults } => {
                self.explained.extend(explained_by(faults));
                self.is_disturbed = true;
                self.bench.chip.schedule.push(*after, faults.clone());
                Ok(())
            }
            Step::Repair => {
                self.bench.clear_faults();
                self.is_disturbed = false;
                Ok(())
            }
        }
    }

    fn start_read(&self, range: &Range<u32>) -> Receiver<Result<Vec<u8>, Error>> {
        let (sender, receiver) = channel();
        let done = move |result: Result<&[u8], Error>| drop(sender.send(result.map(<[u8]>::to_vec)));
        self.image.read(range.clone(), Box::new(done));
        receiver
    }

    fn finish_read(&mut self, range: &Range<u32>, receiver: &Receiver<Result<Vec<u8>, Error>>) -> Checked {
        self.figures.reads += 1;
        match received(receiver, "a read")? {
            Ok(found) => same(&found, &self.bench.wanted[indices(range)], range.start, "a read"),
            Err(error) if !self.is_disturbed => {
                Err(format!("a read fails without a fault: {}", norfuse::error_text(&error)))
            }
            Err(_) => {
                self.figures.reads_failed += 1;
                Ok(())
            }
        }
    }

    fn write(&mut self, range: &Range<u32>, kind: Kind, seed: u64) -> Checked {
        let data = new_bytes(&self.bench.wanted[indices(range)], kind, seed);
        let (sender, receiver) = channel();
        let done = move |result| drop(sender.send(result));
        self.image.write(range.start, range.start, &data, Box::new(done));
        self.figures.writes += 1;
        match received(&receiver, "a write")? {
            Ok(()) => {
                self.bench.wanted[indices(range)].copy_from_slice(&data);
                self.bench.written.push(range.clone());
                Ok(())
            }
            // What the chip has refused before may still take all the room there is.
            Err(error) if !self.is_disturbed && self.figures.commits_failed == 0 => {
                Err(format!("a write fails without a fault: {}", norfuse::error_text(&error)))
            }
            Err(_) => {
                self.figures.writes_refused += 1;
                Ok(())
            }
        }
    }

    fn commit(&mut self, range: Range<u32>, reads: &[Range<u32>]) -> Checked {
        let result = self.commit_and_read(range.clone(), reads)?;
        match result {
            Ok(()) => self.bench.check_chip(range).map_err(|wrong| format!("after a commit: {wrong}")),
            Err(error) if !self.is_disturbed => {
                Err(format!("a commit fails without a fault: {}", norfuse::error_text(&error)))
            }
            Err(_) => {
                self.figures.commits_failed += 1;
                Ok(())
            }
        }
    }

    fn commit_and_read(&mut self, range: Range<u32>, reads: &[Range<u32>]) -> Checked<Result<(), Error>> {
        let (sender, receiver) = channel();
        self.image.commit(range, Box::new(move |result| drop(sender.send(result))));
        self.figures.commits += 1;
        for range in reads {
            let read = self.start_read(range);
            self.finish_read(range, &read)?;
        }
        received(&receiver, "a commit")
    }

    /// When the faults are over, everything can be read and put on the chip, and nothing else has changed.
    fn end(&mut self) -> Checked {
        self.read_written()?;
        self.play(&Step::Repair)?;
        let result = self.commit_and_read(0..CHIP_SIZE, &[])?;
        result.map_err(|error| {
            format!("cannot be committed when the faults are over: {}", norfuse::error_text(&error))
        })?;
        self.bench.check_chip(0..CHIP_SIZE).map_err(|wrong| format!("in the end: {wrong}"))?;
        self.read_written()
    }

    fn read_written(&mut self) -> Checked {
        for range in self.bench.written.clone() {
            let read = self.start_read(&range);
            self.finish_read(&range, &read)?;
        }
        Ok(())
    }
}

/// What a careful user may do wrong to a chip with these faults, since it cannot know.
fn explained_by(faults: &Faults) -> Vec<Violation> {
    use Violation::{Busy, SetsBits, WriteDisabled};
    if faults.flip_written > 0.0 {
        return Violation::ALL.to_vec();
    }
    let mut explained = Vec::new();
    // A status that says "ready" too early; a write enable or an erase that has not been heard.
    if faults.flip_read > 0.0 || faults.stuck_low {
        explained.extend([Busy, WriteDisabled, SetsBits]);
    }
    if faults.stuck_busy {
        explained.extend([Busy, SetsBits]);
    }
    if faults.lost > 0.0 {
        explained.extend([WriteDisabled, SetsBits]);
    }
    if faults.disconnected
        || faults.power_cut.is_some()
        || !faults.weak_erase.is_empty()
        || !faults.weak_program.is_empty()
    {
        explained.push(SetsBits);
    }
    explained
}

fn received<T>(receiver: &Receiver<T>, what: &str) -> Checked<T> {
    receiver.recv_timeout(HANG).map_err(|error| match error {
        RecvTimeoutError::Timeout => format!("{what} hangs"),
        RecvTimeoutError::Disconnected => format!("{what} is never answered"),
    })
}

fn same(found: &[u8], wanted: &[u8], address: u32, what: &str) -> Checked {
    // Byte by byte is slow without optimisation, and nearly all are the same.
    if found == wanted {
        return Ok(());
    }
    let Some(index) = found.iter().zip(wanted).position(|(found, wanted)| found != wanted) else {
        return Err(format!("{what} has {} bytes instead of {}", found.len(), wanted.len()));
    };
    let differing = found.iter().zip(wanted).filter(|(found, wanted)| found != wanted).count();
    Err(format!(
        "{what} has {:02x} instead of {:02x} at {:#08x}, and {} more differ",
        found[index],
        wanted[index],
        address as usize + index,
        differing - 1
    ))
}

fn indices(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn new_bytes(old: &[u8], kind: Kind, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    old.iter()
        .map(|&old| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let random = state.to_le_bytes()[2];
            match kind {
                Kind::Random => random,
                Kind::Blank => 0xFF,
                Kind::Zeros => 0x00,
                Kind::ClearedBits => old & random,
                Kind::Same => old,
            }
        })
        .collect()
}

fn first_seed() -> u64 {
    env::var("NORFUSE_SEED").map_or(1, |seed| seed.parse().expect("NORFUSE_SEED is a number"))
}

/// Has each of `workers` threads run `cases` histories; returns what they came to. Fails with the smallest history that fails.
fn run_everywhere<T: Strategy>(
    workers: u64,
    cases: u32,
    care: Care,
    strategy: impl Fn() -> T + Sync,
    run: impl Fn(&mut Bench, &T::Value) -> Checked<Figures> + Sync,
) -> Figures {
    let total = Mutex::new(Figures::default());
    let run_one = |seed: u64| {
        let bench = Mutex::new(Bench::new(care));
        let config = Config {
            cases,
            failure_persistence: None,
            rng_seed: RngSeed::Fixed(seed),
            max_shrink_iters: 300,
            ..Config::default()
        };
        let outcome = TestRunner::new(config).run(&strategy(), |history| {
            let figures = run(&mut bench.lock(), &history).map_err(TestCaseError::fail)?;
            *total.lock() += figures;
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("NORFUSE_SEED={seed}: {failure}");
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..workers).map(|worker| scope.spawn(move || run_one(first_seed() + worker))).collect();
        for thread in threads {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    total.into_inner()
}

#[test]
fn no_fault_makes_a_wrong_byte_or_goes_untold() {
    let started = Instant::now();
    let care = Care { read_repeat: 2, scrub: true };
    let figures = run_everywhere(4, 250, care, || steps(faults()), |bench, steps| bench.run(steps));
    figures::show(format_args!("random histories in {:.1?}: {figures:#?}", started.elapsed()));
    assert_eq!(figures.histories, 1000);
    assert!(figures.reads_failed > 0 && figures.commits_failed > 0, "the faults do nothing");
}

#[test]
fn a_flipped_command_is_found_and_its_damage_repaired() {
    let started = Instant::now();
    let flips = || {
        (Just(2e-6), any::<u64>()).prop_map(|(flip_written, seed)| Faults {
            flip_written,
            seed,
            ..Faults::default()
        })
    };
    let care = Care { read_repeat: 2, scrub: false };
    // Many histories on one image: what a command may hit instead has to be known, and reading all of the chip takes long.
    let strategy = || proptest::collection::vec(steps(flips()), 25);
    let figures = run_everywhere(2, 4, care, strategy, |bench, histories| {
        bench.restore();
        bench.is_sound = false;
        let image = bench.chip.start(None).map_err(|error| error.to_string())?;
        let mut figures = Figures::default();
        let mut result = warm(&image);
        for steps in histories {
            result = result.and_then(|()| bench.run_on(&image, steps)).map(|history| figures += history);
        }
        bench.clear_faults();
        // A history that went wrong may have left a bus thread that hangs.
        if result.is_err() {
            std::mem::forget(image);
        } else {
            bench.is_sound = true;
        }
        result.map(|()| figures)
    });
    figures::show(format_args!("histories with flipped commands in {:.1?}: {figures:#?}", started.elapsed()));
    assert_eq!(figures.histories, 200);
    assert!(figures.verify_failures > 0, "the faults do nothing");
}

/// Has the whole chip read.
fn warm(image: &Image) -> Checked {
    for start in (0..CHIP_SIZE).step_by(1 << 20) {
        let (sender, receiver) = channel();
        image.read(start..start + (1 << 20), Box::new(move |result| drop(sender.send(result.map(drop)))));
        received(&receiver, "a read")?.map_err(|error| error.to_string())?;
    }
    Ok(())
}

#[test]
fn what_was_misread_is_corrected_by_the_scrub() {
    let started = Instant::now();
    let care = Care { read_repeat: 1, scrub: true };
    let strategy = || (proptest::collection::vec(ranges(), 1..12), rates(-6.0, -4.5), any::<u64>());
    let misread = Mutex::new(0);
    let figures = run_everywhere(8, 3, care, strategy, |bench, (ranges, flip_read, seed)| {
        bench.restore();
        let image = bench.chip.start(None).map_err(|error| error.to_string())?;
        bench.chip.model().set_faults(Faults { flip_read: *flip_read, seed: *seed, ..Faults::default() });
        for range in ranges {
            let found = model_chip::read(&image, range.clone()).map_err(|error| error.to_string())?;
            *misread.lock() += u64::from(found != bench.wanted[indices(range)]);
        }
        wait_for_scrub(&image)?;
        let mut figures = Figures { histories: 1, ..Figures::default() };
        for range in ranges {
            figures.reads += 1;
            let found = model_chip::read(&image, range.clone()).map_err(|error| error.to_string())?;
            same(&found, &bench.wanted[indices(range)], range.start, "a read after the scrub")?;
        }
        figures.mismatches = image.report().counts.mismatches;
        Ok(figures)
    });
    let misread = misread.into_inner();
    figures::show(format_args!(
        "scrubbed in {:.1?}: {misread} reads had been wrong: {figures:#?}",
        started.elapsed()
    ));
    assert!(misread > 0 && figures.mismatches >= misread, "the faults do nothing");
}

/// Waits until all that is cached has been read again.
fn wait_for_scrub(image: &Image) -> Checked {
    let started = Instant::now();
    loop {
        let report = image.report();
        if report.verified_sectors == report.cached_sectors {
            return Ok(());
        }
        if started.elapsed() > HANG {
            return Err(format!("{} of {} sectors scrubbed", report.verified_sectors, report.cached_sectors));
        }
        thread::sleep(Duration::from_millis(20));
    }
}
