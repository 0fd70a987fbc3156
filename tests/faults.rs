//! What people see with their own tools when a chip or its wires fail.

mod common;

use std::fs;
use std::thread;
use std::time::Duration;

use common::{Bench, CHIP_LEN, Foreground, SECTOR_LEN, SpidevNode, assert_same, noise, wait_until};
use nix::sys::signal::Signal;
use norfuse::spi::sim::model::Configuration;
use norfuse::spi::sim::timing::Times;

const EIO: &str = "Input/output error";

/// Puts `words` in force as the chip's faults. The file is replaced in one go: half of it would be other faults.
fn set_faults(bench: &Bench, words: &str) {
    bench.write("faults.new", words.as_bytes());
    fs::rename(bench.path("faults.new"), bench.path("faults")).unwrap();
    // The chip looks once in a millisecond, and asks for it only when it is used.
    thread::sleep(Duration::from_millis(2));
}

/// Mounts `chip.img` with faults to come.
fn mount(bench: &Bench, arguments: &[&str]) -> Foreground {
    let always = ["--state-dir", "state", "--sim-faults", "faults"];
    bench.mount_in_foreground("sim:chip.img", &[&always, arguments].concat())
}

fn end(bench: &Bench, daemon: &mut Foreground) -> Option<i32> {
    bench.sh("fusermount3 -u m").ok();
    daemon.exit_status()
}

#[test]
fn when_the_clip_slips_cp_fails_and_works_again_once_it_is_back() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let mut daemon = mount(&bench, &["--sim-realtime", "--speed", "32M", "--no-scrub"]);
    let failed = thread::scope(|scope| {
        let copy = scope.spawn(|| bench.sh("cp m/raw.bin x"));
        wait_until("cp is in the middle", || fs::metadata(bench.path("x")).is_ok_and(|x| x.len() >= 1 << 20));
        set_faults(&bench, "disconnected");
        copy.join().unwrap()
    });
    assert_eq!(failed.code, 1, "{failed}");
    failed.fails_with(EIO);
    assert!(daemon.log().contains("stopped answering"), "{}", daemon.log());
    assert_eq!(bench.info()["bus"]["state"], "chip gone");
    let partial = bench.read("x");
    assert!(partial.len() < CHIP_LEN);
    assert_same(&partial, &chip[..partial.len()], "what cp had copied");

    set_faults(&bench, "");
    bench.sh("cp m/raw.bin x").ok();
    assert_same(&bench.read("x"), &chip, "the second copy");
    assert!(daemon.log().contains("answers again"), "{}", daemon.log());
    assert_eq!(end(&bench, &mut daemon), Some(0));
}

#[test]
fn twenty_dumps_of_a_noisy_wire_are_right_with_two_readings() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    for dump in 0..20 {
        set_faults(&bench, &format!("flip=1e-6 seed={dump}"));
        let mut daemon = mount(&bench, &["-o", "read_repeat=2", "--no-scrub"]);
        bench.sh("cmp m/raw.bin chip.img").ok();
        let mismatches = bench.info()["counters"]["mismatches"].as_u64().unwrap();
        // 268 million bits are read.
        assert!(mismatches > 0, "dump {dump}: the faults do nothing");
        assert_eq!(end(&bench, &mut daemon), Some(0));
    }
}

#[test]
fn the_scrub_finds_and_corrects_what_a_noisy_wire_has_spoilt() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    set_faults(&bench, "flip=1e-6 seed=7");
    let mut daemon = mount(&bench, &[]);
    bench.sh("cp m/raw.bin x").ok();
    bench.sh("cmp x chip.img").fails_with("");
    // A second copy alone would not show it: it comes from memory.
    bench.sh("cmp x m/raw.bin").ok();
    wait_until("all is scrubbed", || bench.info()["cache"]["verified_sectors"] == CHIP_LEN / SECTOR_LEN);
    assert!(bench.info()["counters"]["mismatches"].as_u64().unwrap() > 0);
    bench.sh("cmp m/raw.bin chip.img").ok();
    assert!(daemon.log().contains("is corrected"), "{}", daemon.log());
    assert_eq!(end(&bench, &mut daemon), Some(0));
}

#[test]
fn a_chip_that_stays_busy_is_an_error_and_no_hang() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let mut daemon = mount(&bench, &[]);
    bench.sh("head -c 8192 m/raw.bin >x").ok();
    set_faults(&bench, "stuck-busy");
    bench.sh("dd if=/dev/zero of=m/raw.bin bs=4096 count=1 conv=notrunc,fsync").fails_with(EIO);
    // What is known can still be read, and what was written too.
    bench.sh("cmp -n 4096 m/raw.bin /dev/zero").ok();
    bench.sh("cmp -n 4096 -i 4096 m/raw.bin x").ok();
    assert_eq!(end(&bench, &mut daemon), Some(1), "{}", daemon.log());
    bench.assert_chip(&chip);
}

#[test]
fn a_worn_cell_fails_the_write_for_everybody_who_has_written() {
    let mut chip = noise(1);
    chip[0x1_2345] = 0x00;
    let bench = Bench::with_chip(&chip);
    set_faults(&bench, "weak-erase=0x12345.3");
    let mut daemon = mount(&bench, &[]);
    let new = vec![0xFF; SECTOR_LEN];
    bench.write("new", &new);
    bench.sh("dd if=new of=m/raw.bin bs=4096 seek=18 conv=notrunc,fsync").fails_with(EIO);
    let info = bench.info();
    assert_eq!(info["pending"]["failed"][0]["address"], "0x010000", "{info}");
    assert_eq!(info["bus"]["state"], "writes failed");
    bench.sh("cmp -n 4096 -i 73728:0 m/raw.bin new").ok();
    bench.sh("cmp -n 4096 m/sectors/012000.bin new").ok();

    // Two have written; each is told, once.
    let script = "
import errno, os
a = os.open('m/raw.bin', os.O_RDWR)
b = os.open('m/raw.bin', os.O_RDWR)
reader = os.open('m/raw.bin', os.O_RDWR)
os.pread(reader, 10, 0)
os.pwrite(a, b'a', 0x12000)
os.pwrite(b, b'b', 0x12001)
def fails(call, fd):
    try:
        call(fd)
    except OSError as error:
        return errno.errorcode[error.errno]
    return 'ok'
print(fails(os.fsync, a), fails(os.close, b), fails(os.close, reader))
";
    let told = bench.python(script).ok().stdout;
    assert_eq!(told, "EIO EIO ok\n");

    set_faults(&bench, "");
    bench.sh("python3 -c 'import os; fd = os.open(\"m/raw.bin\", os.O_RDWR); os.fsync(fd)'").ok();
    assert_eq!(bench.info()["pending"]["bytes"], 0);
    chip[0x1_2000..0x1_3000].copy_from_slice(&new);
    chip[0x1_2000..0x1_2002].copy_from_slice(b"ab");
    bench.assert_chip(&chip);
    assert_eq!(end(&bench, &mut daemon), Some(0));
}

#[test]
fn an_interrupted_write_waits_for_a_writable_mount_and_is_finished_by_it() {
    let mut chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = &noise(2)[..100_000];
    bench.write("new", new);
    interrupt_write(&bench);
    let interrupted = bench.read("chip.img");
    assert!(interrupted != chip, "the write was not interrupted");

    let mut daemon = mount(&bench, &["-o", "ro"]);
    assert!(daemon.log().contains("waiting"), "{}", daemon.log());
    assert_eq!(end(&bench, &mut daemon), Some(0));
    bench.assert_chip(&interrupted);

    let mut daemon = mount(&bench, &[]);
    // It is answered when the write is finished.
    bench.info();
    assert!(daemon.log().contains("are finished"), "{}", daemon.log());
    assert_eq!(end(&bench, &mut daemon), Some(0));
    chip[70_000..170_000].copy_from_slice(new);
    bench.assert_chip(&chip);

    let mut daemon = mount(&bench, &[]);
    bench.info();
    assert!(!daemon.log().contains("finish"), "{}", daemon.log());
    assert_eq!(end(&bench, &mut daemon), Some(0));
}

#[test]
fn an_interrupted_write_can_be_dropped() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.write("new", &noise(2)[..100_000]);
    interrupt_write(&bench);
    let interrupted = bench.read("chip.img");
    for arguments in [&["--discard-journal"][..], &[]] {
        let mut daemon = mount(&bench, arguments);
        assert_eq!(end(&bench, &mut daemon), Some(0));
        bench.assert_chip(&interrupted);
    }
}

/// Power fails in the middle of writing `new` at 70000, and the daemon is killed.
fn interrupt_write(bench: &Bench) {
    let mut daemon = mount(bench, &[]);
    set_faults(bench, "power-cut=40");
    bench
        .sh("dd if=new of=m/raw.bin bs=100000 seek=70000 oflag=seek_bytes conv=notrunc,fsync")
        .fails_with(EIO);
    daemon.signal(Signal::SIGKILL);
    assert_eq!(daemon.exit_status(), None);
    bench.sh("fusermount3 -u m").ok();
    set_faults(bench, "");
}

#[test]
fn a_chip_is_used_by_one_norfuse_at_a_time() {
    let bench = Bench::with_chip(&noise(1));
    bench.make_directory("n");
    let mut daemon = mount(&bench, &[]);
    let second = bench.norfuse(&["--state-dir", "state", "sim:chip.img", "n"]);
    second.fails_with("in use by another norfuse");
    assert_eq!(end(&bench, &mut daemon), Some(0));
    bench.norfuse(&["--state-dir", "state", "sim:chip.img", "n"]).ok();
    bench.sh("fusermount3 -u n").ok();
    bench.wait_for_daemons();
}

/// A chip whose BP bits protect all of it, in register map A.
fn protected_node(chip: &[u8]) -> SpidevNode {
    let configuration =
        Configuration { status_registers: [0x1C, 0, 0], times: Times::INSTANT, ..Configuration::default() };
    SpidevNode::with_configuration(chip, configuration)
}

#[test]
fn a_protected_chip_is_a_read_only_file_system_that_names_its_bits() {
    let chip = noise(1);
    let node = protected_node(&chip);
    let bench = Bench::new();
    let mut daemon = bench.mount_in_foreground(&node.device(), &["--state-dir", "state"]);
    bench
        .sh("dd if=/dev/zero of=m/raw.bin bs=4096 count=1 conv=notrunc,fsync")
        .fails_with("Read-only file system");
    assert!(daemon.log().contains("BP"), "{}", daemon.log());
    assert_same(&node.contents(), &chip, "the chip");
    end(&bench, &mut daemon);
    assert_eq!(node.wires().model.status_registers()[0] & 0x1C, 0x1C);
}

#[test]
fn unlock_writes_a_protected_chip_and_restores_its_protection() {
    let mut chip = noise(1);
    let node = protected_node(&chip);
    let bench = Bench::new();
    let mut daemon = bench.mount_in_foreground(&node.device(), &["--state-dir", "state", "--unlock"]);
    bench.sh("dd if=/dev/zero of=m/raw.bin bs=4096 count=1 conv=notrunc,fsync").ok();
    chip[..4096].fill(0);
    assert_same(&node.contents(), &chip, "the chip");
    assert_eq!(end(&bench, &mut daemon), Some(0), "{}", daemon.log());
    assert_eq!(node.wires().model.status_registers()[0] & 0x1C, 0x1C, "the protection is not restored");
}

#[test]
fn what_a_protected_chip_has_refused_is_not_in_the_way_of_the_next_mount() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    set_faults(&bench, "protect=7");
    let mut daemon = mount(&bench, &[]);
    bench.sh("dd if=/dev/zero of=m/raw.bin bs=4096 count=1 conv=notrunc").fails_with("Read-only file system");
    assert!(!daemon.log().contains("gone astray"), "{}", daemon.log());
    end(&bench, &mut daemon);
    let mut daemon = mount(&bench, &[]);
    bench.sh("cmp m/raw.bin chip.img").ok();
    assert_eq!(end(&bench, &mut daemon), Some(0), "{}", daemon.log());
    assert_same(&bench.read("chip.img"), &chip, "the chip");
}

#[test]
fn what_a_missing_chip_could_not_take_goes_to_it_when_it_is_back() {
    let mut chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let mut daemon = mount(&bench, &["--speed", "32M", "--no-scrub"]);
    set_faults(&bench, "disconnected");
    bench.sh("dd if=/dev/zero of=m/raw.bin bs=4096 count=1 conv=notrunc").fails_with(EIO);
    set_faults(&bench, "");
    bench.sh("cat m/sectors/800000.bin > /dev/null").ok();
    wait_until("nothing is pending", || bench.info()["pending"]["bytes"] == 0);
    chip[..4096].fill(0);
    assert_same(&bench.read("chip.img"), &chip, "the chip");
    assert_eq!(end(&bench, &mut daemon), Some(0), "{}", daemon.log());
}
