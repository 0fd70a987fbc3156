//! Many callers at a time, and callers and daemons that are suspended, interrupted or told to end in the middle of it.

mod common;
mod figures;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{Account, Bench, CHIP_LEN, SECTOR_LEN, assert_same, noise, wait_until};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

const READERS: u64 = 8;
const WRITERS: u64 = 4;
const LOAD: Duration = Duration::from_secs(60);

/// Nobody waits longer than this, on a chip that is simulated as fast as the machine can.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// Each writer has a block for itself, and writes whole records, each of one number that only grows.
const AREA_LEN: usize = 64 << 10;
const RECORD_LEN: usize = 512;
const RECORDS: usize = AREA_LEN / RECORD_LEN;

/// The realtime simulated chip at the clock that a Raspberry Pi usually finds.
const REALTIME: [&str; 3] = ["--sim-realtime", "--speed", "32M"];

/// Random numbers (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % limit
    }
}

/// What a caller has done.
#[derive(Default)]
struct Work {
    operations: u64,
    longest: Duration,
}

impl Work {
    /// Does something and takes its time.
    fn time<T>(&mut self, operation: impl FnOnce() -> io::Result<T>) -> T {
        let started = Instant::now();
        let result = operation().expect("no operation fails");
        self.operations += 1;
        self.longest = self.longest.max(started.elapsed());
        result
    }
}

/// Where a writer's area begins: far from the others', so that some of the chip lies between that nobody writes.
fn area(writer: u64) -> usize {
    (1 + usize::try_from(writer).unwrap() * 3) << 20
}

fn sector_of(mount: &Path, address: usize) -> PathBuf {
    mount.join(format!("sectors/{:06x}.bin", address - address % SECTOR_LEN))
}

/// Writes records of growing numbers, under both names, until told to stop; returns what the area holds then.
fn write_records(mount: &Path, writer: u64, original: &[u8], stop: &AtomicBool) -> (Work, Vec<u8>) {
    let start = area(writer);
    let mut area = original[start..start + AREA_LEN].to_vec();
    let raw = OpenOptions::new().read(true).write(true).open(mount.join("raw.bin")).unwrap();
    let mut random = Random(writer + 1);
    let mut work = Work::default();
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        number += 1;
        let offset = random.below(RECORDS) * RECORD_LEN;
        let record = number.to_le_bytes().repeat(RECORD_LEN / 8);
        area[offset..offset + RECORD_LEN].copy_from_slice(&record);
        let address = start + offset;
        if random.below(4) == 0 {
            let path = sector_of(mount, address);
            let sector = work.time(|| OpenOptions::new().write(true).open(path));
            work.time(|| sector.write_all_at(&record, (address % SECTOR_LEN) as u64));
            // Closing waits as fsync does, but nobody is told how it ended.
            work.time(|| sector.sync_all());
        } else {
            work.time(|| raw.write_all_at(&record, address as u64));
        }
        if random.below(20) == 0 {
            work.time(|| raw.sync_all());
        }
        let mut found = vec![0; RECORD_LEN];
        work.time(|| raw.read_exact_at(&mut found, address as u64));
        assert!(found == record, "writer {writer} does not see its record at {address:#x}");
    }
    (work, area)
}

/// Reads all over the chip: what nobody writes is as it was, and the records that somebody does are whole and never get older.
fn read_everywhere(mount: &Path, reader: u64, original: &[u8], stop: &AtomicBool) -> Work {
    let raw = File::open(mount.join("raw.bin")).unwrap();
    let mut random = Random(100 + reader);
    let mut work = Work::default();
    let mut newest = vec![0u64; RECORDS];
    let writer = reader % WRITERS;
    while !stop.load(Ordering::Relaxed) {
        let elsewhere = random.below(CHIP_LEN - (16 << 10));
        let mut found = vec![0; 1 + random.below(16 << 10)];
        work.time(|| raw.read_exact_at(&mut found, elsewhere as u64));
        let range = elsewhere..elsewhere + found.len();
        let is_written = (0..WRITERS).map(area).any(|at| at < range.end && range.start < at + AREA_LEN);
        assert!(is_written || found == original[range], "reader {reader} reads wrongly at {elsewhere:#x}");

        let index = random.below(RECORDS);
        let address = area(writer) + index * RECORD_LEN;
        let mut record = vec![0; RECORD_LEN];
        if random.below(2) == 0 {
            work.time(|| raw.read_exact_at(&mut record, address as u64));
        } else {
            let sector = work.time(|| File::open(sector_of(mount, address)));
            work.time(|| sector.read_exact_at(&mut record, (address % SECTOR_LEN) as u64));
        }
        if newest[index] == 0 && record == original[address..address + RECORD_LEN] {
            continue;
        }
        let number = u64::from_le_bytes(record[..8].try_into().unwrap());
        assert!(record == number.to_le_bytes().repeat(RECORD_LEN / 8), "torn record at {address:#x}");
        assert!(number >= newest[index], "the record at {address:#x} was newer before");
        newest[index] = number;
    }
    work
}

/// How long this machine keeps a thread waiting that wants to run, at the longest, until told to stop.
fn measure_machine(stop: &AtomicBool) -> Duration {
    const BEAT: Duration = Duration::from_millis(10);
    let mut longest = Duration::ZERO;
    while !stop.load(Ordering::Relaxed) {
        let started = Instant::now();
        thread::sleep(BEAT);
        longest = longest.max(started.elapsed().saturating_sub(BEAT));
    }
    longest
}

/// What all callers at a time have.
#[derive(Clone)]
struct Load {
    mount: PathBuf,
    original: Arc<Vec<u8>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path, &[u8], &AtomicBool) -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let Self { mount, original, stop } = self.clone();
        thread::spawn(move || work(&mount, &original, &stop))
    }
}

#[test]
fn eight_readers_and_four_writers_get_along_for_a_minute_without_a_stall() {
    let original = Arc::new(noise(1));
    let bench = Bench::with_chip(&original);
    bench.mount();
    let load = Load { mount: bench.path("m"), original: Arc::clone(&original), stop: Arc::default() };
    let write =
        |number| load.start(move |mount, original, stop| write_records(mount, number, original, stop));
    let read =
        |number| load.start(move |mount, original, stop| read_everywhere(mount, number, original, stop));
    let writers: Vec<_> = (0..WRITERS).map(write).collect();
    let readers: Vec<_> = (0..READERS).map(read).collect();
    let machine = load.start(|_, _, stop| measure_machine(stop));
    thread::sleep(LOAD);
    load.stop.store(true, Ordering::Relaxed);
    wait_until("nobody waits for anything", || {
        writers.iter().all(JoinHandle::is_finished) && readers.iter().all(JoinHandle::is_finished)
    });
    let machine = machine.join().unwrap();
    let (mut work, areas): (Vec<_>, Vec<_>) =
        writers.into_iter().map(|thread| thread.join().unwrap()).unzip();
    let writes: u64 = work.iter().map(|work| work.operations).sum();
    work.extend(readers.into_iter().map(|thread| thread.join().unwrap()));
    let operations: u64 = work.iter().map(|work| work.operations).sum();
    let longest = work.iter().map(|work| work.longest).max().unwrap();
    figures::show(format_args!(
        "{READERS} readers and {WRITERS} writers for {LOAD:?}: {operations} operations, {writes} of them the writers'; the longest \
         took {longest:.1?}, while the machine kept a sleeper waiting for {machine:.1?}"
    ));
    assert!(
        longest.saturating_sub(machine) < LONGEST_WAIT,
        "somebody waited for {longest:?}, and the machine explains {machine:?} of it"
    );
    let mut wanted = original.to_vec();
    for (writer, content) in (0..).zip(areas) {
        wanted[area(writer)..area(writer) + AREA_LEN].copy_from_slice(&content);
    }
    bench.unmount_to(&wanted);
}

/// A command in a process group of its own, as a shell with job control starts them.
struct Job {
    child: Child,
}

impl Job {
    fn start(bench: &Bench, program: &str, arguments: &[&str]) -> Self {
        let mut command: Command = Account::Own.command(bench.directory(), program);
        command.args(arguments).stderr(Stdio::null());
        Self { child: command.spawn().unwrap() }
    }

    /// What a key in a terminal sends.
    fn signal(&self, signal: Signal) {
        killpg(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// The letter by which /proc tells what it is at.
    fn state(&self) -> char {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        fields.chars().next().unwrap()
    }

    /// Its exit status, once it has ended; none where a signal ended it.
    fn wait(&mut self) -> Option<i32> {
        let mut status = None;
        wait_until("the command has ended", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Fails when it has ended, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn pending_bytes(bench: &Bench) -> u64 {
    bench.info()["pending"]["bytes"].as_u64().unwrap()
}

/// Fails unless `chip` has `new` up to the end of some sector, and `old` behind. Returns how many bytes are new.
#[track_caller]
fn assert_new_up_to_a_sector(chip: &[u8], old: &[u8], new: &[u8]) -> usize {
    let is_old = |sector: usize| {
        let range = sector * SECTOR_LEN..(sector + 1) * SECTOR_LEN;
        chip[range.clone()] == old[range]
    };
    let first_old = (0..CHIP_LEN / SECTOR_LEN).find(|&sector| is_old(sector));
    let boundary = first_old.unwrap_or(CHIP_LEN / SECTOR_LEN) * SECTOR_LEN;
    assert_same(&chip[..boundary], &new[..boundary], "what was written");
    assert_same(&chip[boundary..], &old[boundary..], "what was not written");
    boundary
}

#[test]
fn a_suspended_copy_holds_up_nobody_and_goes_on_rightly() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(&REALTIME);
    let mut copy = Job::start(&bench, "cp", &["m/raw.bin", "copy"]);
    let copied = || std::fs::metadata(bench.path("copy")).map_or(0, |metadata| metadata.len());
    wait_until("some of it is copied", || copied() > 1 << 20);
    copy.signal(Signal::SIGTSTP);
    wait_until("it is suspended", || copy.state() == 'T');
    let so_far = copied();
    assert!(so_far < CHIP_LEN as u64, "it was suspended too late");
    bench.sh("cmp chip.img m/raw.bin").ok();
    assert_eq!(copied(), so_far, "it is not suspended");
    copy.signal(Signal::SIGCONT);
    assert_eq!(copy.wait(), Some(0));
    assert_same(&bench.read("copy"), &chip, "the copy");
    bench.unmount_to(&chip);
}

#[test]
fn an_interrupted_copy_to_the_chip_is_gone_at_once_and_what_it_wrote_arrives() {
    let (old, new) = (noise(1), noise(2));
    let bench = Bench::with_chip(&old);
    bench.write("new", &new);
    bench.mount_with(&REALTIME);
    let mut copy = Job::start(&bench, "cp", &["new", "m/raw.bin"]);
    wait_until("as much is pending as can be", || pending_bytes(&bench) >= 1 << 20);
    copy.signal(Signal::SIGINT);
    assert_eq!(copy.wait(), None, "a signal ends it");
    let pending = pending_bytes(&bench);
    // Sixteen blocks were pending, each of which takes a third of a second.
    assert!(pending > 256 << 10, "it has waited for the chip: {pending} bytes are left");
    bench.unmount();
    let arrived = assert_new_up_to_a_sector(&bench.read("chip.img"), &old, &new);
    assert!(arrived as u64 >= pending, "{pending} bytes were pending, and {arrived} arrived");
    figures::show(format_args!(
        "cp interrupted after {} KiB: gone with {} KiB still pending",
        arrived >> 10,
        pending >> 10
    ));
}

#[test]
fn a_daemon_terminated_during_a_long_write_leaves_whole_sectors_and_nothing_to_be_finished() {
    let (old, new) = (noise(1), noise(2));
    let bench = Bench::with_chip(&old);
    bench.write("new", &new);
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &REALTIME);
    let mut copy = Job::start(&bench, "cp", &["new", "m/raw.bin"]);
    wait_until("as much is pending as can be", || pending_bytes(&bench) >= 1 << 20);
    daemon.signal(Signal::SIGTERM);
    assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());
    assert_eq!(copy.wait(), Some(1), "cp is told");
    let after = bench.read("chip.img");
    let written = assert_new_up_to_a_sector(&after, &old, &new);
    assert!(written >= 1 << 20, "only {written} bytes are written");
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &[]);
    assert!(!daemon.log().contains("finishing"), "{}", daemon.log());
    bench.sh("fusermount3 -u m").ok();
    assert_eq!(daemon.exit_status(), Some(0));
    bench.assert_chip(&after);
}

#[test]
fn a_program_that_is_replaced_by_another_closes_what_it_has_written_on_the_way() {
    let (old, new) = (noise(1), noise(2));
    let bench = Bench::with_chip(&old);
    bench.write("new", &new);
    bench.mount_with(&REALTIME);
    // Closing each waits for the chip, and as long as exec(2) closes files, there is less to be seen of the process than usual.
    let finished = bench.python(
        "import os
files = [open(f'm/sectors/{sector << 16:06x}.bin', 'r+b', buffering=0) for sector in range(6)]
new = open('new', 'rb').read(4096)
for file in files:
    file.write(new)
os.execvp('cat', ['cat', 'm/jedec_id'])
",
    );
    assert_eq!(finished.stdout, String::from_utf8_lossy(&bench.read("m/jedec_id")), "{finished}");
    assert_eq!(pending_bytes(&bench), 0, "closing waits for the chip");
    let wanted = (0..6).fold(old, |chip, sector| common::patched(&chip, sector << 16, &new[..SECTOR_LEN]));
    bench.unmount_to(&wanted);
}

#[test]
fn a_busy_chip_that_is_unmounted_lazily_gets_everything_its_writer_has() {
    let mut ways = vec!["fusermount3 -uz m"];
    if nix::unistd::geteuid().is_root() {
        ways.push("umount -l m");
    }
    for way in ways {
        let (old, new) = (noise(1), noise(2));
        let bench = Bench::with_chip(&old);
        bench.write("new", &new);
        bench.mount();
        let writer = bench.paused_python(
            "new = open('new', 'rb').read(700000)
file = open('m/raw.bin', 'r+b', buffering=0)
file.write(new[:400000])
pause()
file.write(new[400000:])
file.close()
",
        );
        bench.sh("umount m").fails_with("target is busy");
        assert!(pending_bytes(&bench) > 0);
        bench.sh(way).ok();
        assert!(bench.mounts().is_empty(), "{way}");
        writer.go_on();
        bench.wait_for_daemons();
        bench.assert_chip(&common::patched(&old, 0, &new[..700_000]));
    }
}

#[test]
fn a_writer_killed_on_a_lazily_unmounted_chip_leaves_what_it_wrote_there() {
    let (old, new) = (noise(1), noise(2));
    let bench = Bench::with_chip(&old);
    bench.write("new", &new);
    bench.mount();
    let writer = bench.paused_python(
        "file = open('m/raw.bin', 'r+b', buffering=0)
file.write(open('new', 'rb').read(400000))
pause()
",
    );
    bench.sh("fusermount3 -uz m").ok();
    writer.kill();
    bench.wait_for_daemons();
    bench.assert_chip(&common::patched(&old, 0, &new[..400_000]));
}
