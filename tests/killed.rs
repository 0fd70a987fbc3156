//! The daemon is killed at random moments under a writer that synchronizes: what was synchronized is there afterwards.
//!
//! The moments are random in time, so `NORFUSE_SEED`, which is printed, repeats what is written and how long each daemon lives, not
//! what it is at when it dies.

mod common;
mod figures;

use std::env;
use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use common::{Bench, CHIP_LEN, Foreground, assert_same, noise, wait_until};
use nix::sys::signal::Signal;

const KILLS: u32 = 100;

/// Where the writer writes: both ends of blocks, and little enough that it often comes to the same place again.
const WRITTEN: Range<usize> = 0x3_8000..0x7_8000;

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

/// What the writer has done through one daemon.
#[derive(Default)]
struct Written {
    /// Every write, in order, where it was and what.
    writes: Vec<(usize, Vec<u8>)>,
    /// How many of them were synchronized.
    synchronized: usize,
}

/// Writes and synchronizes until the daemon is dead.
fn write_until_killed(raw: &Path, seed: u64) -> Written {
    let mut random = Random(seed | 1);
    let mut written = Written::default();
    // The daemon may already be gone.
    let Ok(file) = OpenOptions::new().write(true).open(raw) else { return written };
    loop {
        for _ in 0..1 + random.below(3) {
            let longest = [200, 5000, 20_000][random.below(3)];
            let len = 1 + random.below(longest);
            let offset = WRITTEN.start + random.below(WRITTEN.len() - len);
            let data = match random.below(4) {
                0 => vec![0xFF; len],
                1 => vec![0x00; len],
                _ => (0..len).map(|_| u8::try_from(random.below(256)).unwrap()).collect(),
            };
            written.writes.push((offset, data.clone()));
            if file.write_all_at(&data, offset as u64).is_err() {
                return written;
            }
        }
        if file.sync_all().is_err() {
            return written;
        }
        written.synchronized = written.writes.len();
    }
}

/// Makes sure that `found` is what `before` has become by what was written: all of what was synchronized, and of the rest any
/// part. Returns how many bytes were not synchronized but are there.
fn check(found: &[u8], before: &[u8], written: &Written, kill: u32) -> usize {
    let mut wanted = before.to_vec();
    let (synchronized, rest) = written.writes.split_at(written.synchronized);
    for (offset, data) in synchronized {
        wanted[*offset..offset + data.len()].copy_from_slice(data);
    }
    let mut more = 0;
    for (offset, data) in rest {
        for (index, &byte) in (*offset..).zip(data) {
            if found[index] == byte && wanted[index] != byte {
                wanted[index] = byte;
                more += 1;
            }
        }
    }
    // Byte by byte is slow without optimisation, and nearly all are the same.
    if found != wanted {
        assert_same(found, &wanted, &format!("the chip after kill {kill}"));
    }
    more
}

fn mount(bench: &Bench) -> Foreground {
    bench.mount_in_foreground("sim:chip.img", &["--state-dir", "state", "--speed", "32M"])
}

fn kill(mut daemon: Foreground) {
    daemon.signal(Signal::SIGKILL);
    assert_eq!(daemon.exit_status(), None, "{}", daemon.log());
}

/// Takes away what a killed daemon has left mounted. Nobody may have anything open on it any more.
fn clean_up(bench: &Bench) {
    if !bench.mounts().is_empty() {
        bench.sh("fusermount3 -u m").ok();
    }
}

#[test]
fn what_was_synchronized_survives_a_kill_at_any_moment() {
    let started = Instant::now();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let seed = env::var("NORFUSE_SEED")
        .map_or(now.as_secs(), |seed| seed.parse().expect("NORFUSE_SEED is a number"));
    figures::show(format_args!("NORFUSE_SEED={seed}"));
    let mut random = Random(seed.wrapping_mul(2) | 1);
    let mut chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let (mut writes, mut synchronized, mut interrupted, mut later) = (0, 0, 0, 0);
    for number in 1..=KILLS {
        let daemon = mount(&bench);
        let raw = bench.path("m/raw.bin");
        let writer_seed = random.below(usize::MAX) as u64;
        let writer = thread::spawn(move || write_until_killed(&raw, writer_seed));
        thread::sleep(Duration::from_micros(random.below(80_000) as u64));
        kill(daemon);
        let written = writer.join().unwrap();
        clean_up(&bench);
        // Some die again while they make good what the first has left.
        while random.below(4) == 0 {
            let mut command =
                bench.command(&["-f", "--state-dir", "state", "--speed", "32M", "sim:chip.img", "m"]);
            command.env("RUST_LOG", "warn");
            let daemon = Foreground::start(command, bench.path("log"));
            thread::sleep(Duration::from_micros(random.below(25_000) as u64));
            kill(daemon);
            clean_up(&bench);
        }

        let mut daemon = mount(&bench);
        let mut shown = vec![0; WRITTEN.len()];
        let file = File::open(bench.path("m/raw.bin")).unwrap();
        file.read_exact_at(&mut shown, WRITTEN.start as u64).unwrap();
        drop(file);
        interrupted += u32::from(daemon.log().contains("finishing"));
        bench.sh("fusermount3 -u m").ok();
        assert_eq!(daemon.exit_status(), Some(0), "{}", daemon.log());
        let found = bench.read("chip.img");
        assert_same(&shown, &found[WRITTEN], "the mount");
        later += check(&found, &chip, &written, number);
        writes += written.writes.len();
        synchronized += written.synchronized;
        chip = found;
    }
    figures::show(format_args!(
        "{KILLS} kills in {:.1?}: {writes} writes, {synchronized} of them synchronized, all there; {interrupted} interrupted batches \
         finished, {later} bytes there that were not synchronized",
        started.elapsed()
    ));
    assert_eq!(chip.len(), CHIP_LEN);
    assert!(synchronized > 0 && interrupted > 0, "the kills do nothing");
    wait_until("no daemon is left", || bench.daemons().is_empty());
}

/// The kernel drops a page of one name when another is written, and waits for whoever is just reading it through the daemon.
#[test]
fn a_daemon_killed_while_the_kernel_waits_for_a_page_ends_and_so_does_the_reader() {
    let bench = Bench::with_chip(&noise(1));
    // Slow enough for a page fault to take seconds.
    let slow = ["--sim-realtime", "--speed", "100k", "--no-scrub", "-o", "no_journal"];
    let mut daemon = bench.mount_in_foreground("sim:chip.img", &slow);
    bench
        .sh("stat m/raw.bin m/sectors/100000.bin > /dev/null
             python3 -c 'import mmap
file = open(\"m/raw.bin\", \"rb\")
print(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)[0x100000])' > reader.out 2>&1 & echo $! > reader
             sleep 1
             (printf x | dd of=m/sectors/100000.bin conv=notrunc status=none) > writer.out 2>&1 &")
        .ok();
    wait_until("the daemon waits for the page", || daemon.has_blocked_thread("invalidate"));
    daemon.signal(Signal::SIGKILL);
    assert_eq!(daemon.exit_status(), None, "killed");
    let reader = String::from_utf8(bench.read("reader")).unwrap();
    let reader = Path::new("/proc").join(reader.trim());
    wait_until("the reader has ended", || !reader.exists());
    // Without fusectl the daemon's other half has had to unmount.
    bench.sh("! mountpoint -q m 2> /dev/null || fusermount3 -u m").ok();
}
