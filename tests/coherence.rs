//! Random histories of writes through several handles, mappings, threads and renames under all names of the same bytes, compared
//! with an array of bytes: whoever looks sees what was written last, and so does the chip in the end.
//!
//! The seeds are fixed, so that a suite that has passed passes again; `NORFUSE_SEED` takes others.

mod common;
mod figures;

use std::env;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use common::{Bench, Mapping, SECTOR_LEN, noise};
use parking_lot::Mutex;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};

/// Where everything happens: two sectors on either side of a block's end.
const WINDOW: Range<usize> = 0x3_E000..0x4_2000;
const WINDOW_LEN: usize = WINDOW.end - WINDOW.start;
const SECTORS: usize = WINDOW_LEN / SECTOR_LEN;

const CASES: u32 = 80;

/// How the kernel treats chip files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Direct,
    /// As kernels before 6.6 do.
    PageCache,
}

/// Under which name something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Raw,
    Sector,
}

/// A change of bytes of the window.
#[derive(Debug, Clone)]
struct Change {
    name: Name,
    how: How,
    range: Range<usize>,
    seed: u64,
}

#[derive(Debug, Clone, Copy)]
enum How {
    /// Through the first or the second handle.
    Write(usize),
    /// Through the mapping, which is synchronized.
    StoreAndSync,
    /// Through the mapping, which is synchronized at some later time.
    Store,
}

#[derive(Debug, Clone)]
enum Step {
    /// One after the other, before anybody looks.
    Changes(Vec<Change>),
    /// A scratch file with other bytes is renamed over a sector.
    Replace { sector: usize, seed: u64 },
    /// For each sector a thread changes it, all at the same time.
    Together(Vec<Vec<Change>>),
    /// All files are closed and opened anew.
    Reopen,
}

fn ranges(within: usize) -> impl Strategy<Value = Range<usize>> {
    let len = prop_oneof![4 => 1..40usize, 2 => 40..1500usize, 1 => 1500..6000usize];
    (0..within, len).prop_map(move |(start, len)| start..(start + len).min(within))
}

fn changes(within: usize) -> impl Strategy<Value = Change> {
    let name = prop_oneof![Just(Name::Raw), Just(Name::Sector)];
    let how = prop_oneof![
        2 => Just(How::Write(0)),
        2 => Just(How::Write(1)),
        1 => Just(How::StoreAndSync),
        3 => Just(How::Store),
    ];
    (name, how, ranges(within), any::<u64>()).prop_map(|(name, how, range, seed)| Change {
        name,
        how,
        range,
        seed,
    })
}

fn histories() -> impl Strategy<Value = Vec<Step>> {
    let of_a_thread = || proptest::collection::vec(changes(SECTOR_LEN), 0..6);
    let step = prop_oneof![
        16 => proptest::collection::vec(changes(WINDOW_LEN), 1..6).prop_map(Step::Changes),
        2 => (0..SECTORS, any::<u64>()).prop_map(|(sector, seed)| Step::Replace { sector, seed }),
        2 => proptest::collection::vec(of_a_thread(), SECTORS).prop_map(Step::Together),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 3..20)
}

/// A sector's name in the mount.
fn sector_path(mount: &Path, sector: usize) -> PathBuf {
    mount.join(format!("sectors/{:06x}.bin", WINDOW.start + sector * SECTOR_LEN))
}

/// A file open twice, and mapped.
struct View {
    files: [File; 2],
    map: Mapping,
    /// Where the window, or the part of it that the file shows, begins in the file.
    offset: usize,
    len: usize,
}

impl View {
    fn open(path: &Path, offset: usize, len: usize) -> io::Result<Self> {
        let open = || OpenOptions::new().read(true).write(true).open(path);
        let files = [open()?, open()?];
        let map = Mapping::new(&files[1], offset, len)?;
        Ok(Self { files, map, offset, len })
    }

    fn change(&self, how: How, start: usize, bytes: &[u8]) -> io::Result<()> {
        match how {
            How::Write(handle) => self.files[handle].write_all_at(bytes, (self.offset + start) as u64),
            How::Store => {
                self.map.store(start, bytes);
                Ok(())
            }
            How::StoreAndSync => {
                self.map.store(start, bytes);
                self.map.sync()
            }
        }
    }

    /// What the file shows, through each of its handles and the mapping.
    fn read(&self) -> io::Result<[Vec<u8>; 3]> {
        let mut read = [vec![0; self.len], vec![0; self.len]];
        for (file, bytes) in self.files.iter().zip(&mut read) {
            file.read_exact_at(bytes, self.offset as u64)?;
        }
        let [one, other] = read;
        Ok([one, other, self.map.load(0..self.len)])
    }
}

/// The window under all its names.
struct Views {
    raw: View,
    sectors: Vec<View>,
}

impl Views {
    fn open(mount: &Path) -> io::Result<Self> {
        let raw = View::open(&mount.join("raw.bin"), WINDOW.start, WINDOW_LEN)?;
        let open = |sector| View::open(&sector_path(mount, sector), 0, SECTOR_LEN);
        Ok(Self { raw, sectors: (0..SECTORS).map(open).collect::<io::Result<_>>()? })
    }

    fn change(&self, name: Name, how: How, start: usize, bytes: &[u8]) -> io::Result<()> {
        match (name, how) {
            (Name::Raw, _) => self.raw.change(how, start, bytes),
            (Name::Sector, How::StoreAndSync) => {
                self.change_sectors(How::Store, start, bytes)?;
                self.sync(name)
            }
            (Name::Sector, _) => self.change_sectors(how, start, bytes),
        }
    }

    fn change_sectors(&self, how: How, start: usize, bytes: &[u8]) -> io::Result<()> {
        let mut start = start;
        let mut rest = bytes;
        while !rest.is_empty() {
            let within = start % SECTOR_LEN;
            let (piece, behind) = rest.split_at(rest.len().min(SECTOR_LEN - within));
            self.sectors[start / SECTOR_LEN].change(how, within, piece)?;
            start += piece.len();
            rest = behind;
        }
        Ok(())
    }

    fn sync(&self, name: Name) -> io::Result<()> {
        match name {
            Name::Raw => self.raw.map.sync(),
            Name::Sector => self.sectors.iter().try_for_each(|sector| sector.map.sync()),
        }
    }

    /// The window under `name`, through its first handles, its second handles and its mappings.
    fn read(&self, name: Name) -> io::Result<[Vec<u8>; 3]> {
        if name == Name::Raw {
            return self.raw.read();
        }
        let mut all = [Vec::new(), Vec::new(), Vec::new()];
        for sector in &self.sectors {
            for (all, part) in all.iter_mut().zip(sector.read()?) {
                all.extend(part);
            }
        }
        Ok(all)
    }
}

/// A mount in use, and what it should show.
struct Player {
    mount: PathBuf,
    mode: Mode,
    views: Option<Views>,
    wanted: Vec<u8>,
    /// What has been stored and not synchronized, which only its own name needs to show.
    stored: Vec<(Name, Range<usize>)>,
    has_failed: bool,
    steps: u64,
    changes: u64,
}

type Checked<T = ()> = Result<T, String>;

impl Player {
    fn new(mount: PathBuf, mode: Mode, chip: &[u8]) -> io::Result<Self> {
        let views = Some(Views::open(&mount)?);
        let wanted = chip[WINDOW].to_vec();
        Ok(Self { mount, mode, views, wanted, stored: Vec::new(), has_failed: false, steps: 0, changes: 0 })
    }

    fn views(&self) -> &Views {
        self.views.as_ref().expect("open between two steps")
    }

    fn play(&mut self, history: &[Step]) -> Checked {
        if std::mem::replace(&mut self.has_failed, true) {
            self.accept_what_is_there().map_err(|error| error.to_string())?;
        }
        for (index, step) in history.iter().enumerate() {
            self.steps += 1;
            self.try_play(step).map_err(|error| format!("step {index}: {error}"))?;
            self.check().map_err(|wrong| format!("step {index}, {step:?}: {wrong}"))?;
        }
        self.has_failed = false;
        Ok(())
    }

    /// After a failure, so that a shorter history that fails can be looked for.
    fn accept_what_is_there(&mut self) -> io::Result<()> {
        self.sync_all()?;
        self.try_play(&Step::Reopen)?;
        [self.wanted, _, _] = self.views().read(Name::Raw)?;
        Ok(())
    }

    fn try_play(&mut self, step: &Step) -> io::Result<()> {
        match step {
            Step::Changes(changes) => {
                for change in changes {
                    self.sync_others(change.name, &change.range)?;
                    self.views().change(change.name, change.how, change.range.start, &bytes_of(change))?;
                    self.note(change, 0);
                    settle(&self.mount, self.mode)?;
                }
            }
            Step::Replace { sector, seed } => {
                self.sync_all()?;
                self.replace(*sector, *seed)?;
            }
            Step::Together(threads) => {
                self.sync_all()?;
                self.change_together(threads)?;
            }
            Step::Reopen => {
                self.sync_all()?;
                // Closed first: nobody has the files open in between.
                self.views = None;
                self.views = Some(Views::open(&self.mount)?);
            }
        }
        settle(&self.mount, self.mode)
    }

    /// Takes note of a change within the part of the window that begins at `base`.
    fn note(&mut self, change: &Change, base: usize) {
        self.changes += 1;
        let range = base + change.range.start..base + change.range.end;
        self.wanted[range.clone()].copy_from_slice(&bytes_of(change));
        match change.how {
            How::Store => self.stored.push((change.name, range)),
            How::StoreAndSync => self.stored.retain(|(name, _)| *name != change.name),
            How::Write(_) => {}
        }
    }

    /// Of a store that is not synchronized and a write of the same bytes under another name, either may be the later one.
    fn sync_others(&mut self, writer: Name, range: &Range<usize>) -> io::Result<()> {
        let overlaps = |stored: &Range<usize>| stored.start < range.end && range.start < stored.end;
        let unclear = self.stored.iter().find(|(name, stored)| *name != writer && overlaps(stored));
        if let Some(&(name, _)) = unclear {
            self.views().sync(name)?;
            self.stored.retain(|(stored_by, _)| *stored_by != name);
        }
        Ok(())
    }

    fn sync_all(&mut self) -> io::Result<()> {
        self.views().sync(Name::Raw)?;
        self.views().sync(Name::Sector)?;
        self.stored.clear();
        Ok(())
    }

    fn replace(&mut self, sector: usize, seed: u64) -> io::Result<()> {
        self.changes += 1;
        let content = random(seed, SECTOR_LEN);
        let scratch = self.mount.join("sectors/new");
        fs::write(&scratch, &content)?;
        fs::rename(&scratch, sector_path(&self.mount, sector))?;
        self.wanted[sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN].copy_from_slice(&content);
        Ok(())
    }

    fn change_together(&mut self, threads: &[Vec<Change>]) -> io::Result<()> {
        let (mount, mode) = (&self.mount, self.mode);
        thread::scope(|scope| {
            let started: Vec<_> = threads
                .iter()
                .enumerate()
                .map(|(sector, changes)| scope.spawn(move || change_sector(mount, sector, changes, mode)))
                .collect();
            started.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
        })?;
        for (sector, changes) in threads.iter().enumerate() {
            for change in changes {
                self.note(change, sector * SECTOR_LEN);
            }
        }
        self.stored.clear();
        Ok(())
    }

    /// Makes sure that every view shows what it should.
    fn check(&self) -> Checked {
        for name in [Name::Raw, Name::Sector] {
            let seen = self.views().read(name).map_err(|error| error.to_string())?;
            for (mut seen, through) in seen.into_iter().zip(["first handle", "second handle", "mapping"]) {
                for (_, stored) in self.stored.iter().filter(|(stored_by, _)| *stored_by != name) {
                    seen[stored.clone()].copy_from_slice(&self.wanted[stored.clone()]);
                }
                if let Some(offset) = (0..WINDOW_LEN).find(|&offset| seen[offset] != self.wanted[offset]) {
                    let (seen, wanted) = (seen[offset], self.wanted[offset]);
                    let address = WINDOW.start + offset;
                    return Err(format!(
                        "{name:?} shows {seen:#04x} instead of {wanted:#04x} at {address:#08x}, through the {through}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Changes a sector through files of its own. What was stored in a mapping is synchronized before anything is done under another
/// name.
fn change_sector(mount: &Path, sector: usize, changes: &[Change], mode: Mode) -> io::Result<()> {
    let raw = View::open(&mount.join("raw.bin"), WINDOW.start + sector * SECTOR_LEN, SECTOR_LEN)?;
    let own = View::open(&sector_path(mount, sector), 0, SECTOR_LEN)?;
    for change in changes {
        let view = if change.name == Name::Raw { &raw } else { &own };
        let how = if matches!(change.how, How::Store) { How::StoreAndSync } else { change.how };
        view.change(how, change.range.start, &bytes_of(change))?;
        settle(mount, mode)?;
    }
    Ok(())
}

/// Waits until what was written is seen under all names. That is when the write returns; but through the page cache, where several
/// are written at a time, a moment later, and at the latest when anything is synchronized.
fn settle(mount: &Path, mode: Mode) -> io::Result<()> {
    if mode == Mode::PageCache {
        File::open(mount.join("sectors/fff000.bin"))?.sync_all()?;
    }
    Ok(())
}

/// What a change changes its range to.
fn bytes_of(change: &Change) -> Vec<u8> {
    random(change.seed, change.range.len())
}

/// Random bytes (xorshift64*).
fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn seed() -> u64 {
    env::var("NORFUSE_SEED").map_or(1, |seed| seed.parse().expect("NORFUSE_SEED is a number"))
}

fn every_view_shows_the_same(mode: Mode) {
    let started = Instant::now();
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let arguments: &[&str] = if mode == Mode::PageCache { &["-o", "page_cache"] } else { &[] };
    bench.mount_with(arguments);
    let player = Mutex::new(Player::new(bench.path("m"), mode, &chip).unwrap());
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed()),
        max_shrink_iters: 300,
        ..Config::default()
    };
    let outcome = TestRunner::new(config)
        .run(&histories(), |history| player.lock().play(&history).map_err(TestCaseError::fail));
    if let Err(failure) = outcome {
        panic!("NORFUSE_SEED={}: {failure}", seed());
    }
    let mut player = player.into_inner();
    player.sync_all().unwrap();
    player.check().unwrap();
    player.views = None;
    figures::show(format_args!(
        "coherence, {mode:?}: {CASES} histories of {} steps and {} changes, each step seen the same under all names, in {:.1?}",
        player.steps,
        player.changes,
        started.elapsed()
    ));
    bench.unmount_to(&common::patched(&chip, WINDOW.start, &player.wanted));
}

#[test]
fn handles_mappings_threads_and_renames_agree_on_every_byte() {
    every_view_shows_the_same(Mode::Direct);
}

/// As kernels before 6.6 have it.
#[test]
fn handles_mappings_threads_and_renames_agree_on_every_byte_through_the_page_cache() {
    every_view_shows_the_same(Mode::PageCache);
}
