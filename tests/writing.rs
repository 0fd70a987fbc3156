//! Writing a chip with the tools that people have: what arrives, what it costs, and when it is on the chip.

mod common;

use common::{Bench, CHIP_LEN, SECTOR_LEN, assert_same, noise, patched, wait_until};

#[test]
fn dd_changes_exactly_the_byte_it_is_told_to() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("cp m/raw.bin a.bin").ok();
    bench.sh(r"printf '\xAB' | dd of=m/raw.bin bs=1 seek=70000 conv=notrunc").ok();
    bench.unmount_to(&patched(&chip, 70_000, &[0xab]));
    let differing = bench.sh("cmp -l a.bin chip.img");
    assert_eq!(differing.stdout, format!("   70001 {:>3o} 253\n", chip[70_000]));
}

#[test]
fn an_unaligned_dd_over_page_and_sector_ends_changes_only_its_bytes() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = &noise(2)[..9001];
    bench.write("new", new);
    bench.mount();
    bench.sh("dd if=new of=m/raw.bin bs=777 seek=$((0x10ff)) oflag=seek_bytes conv=notrunc").ok();
    bench.sh("cmp new <(dd if=m/raw.bin bs=9001 skip=$((0x10ff)) iflag=skip_bytes count=1 status=none)").ok();
    bench.unmount_to(&patched(&chip, 0x10ff, new));
}

#[test]
fn what_dd_wrote_is_on_the_chip_when_it_ends() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = &noise(2)[..3 * SECTOR_LEN];
    bench.write("new", new);
    bench.mount();
    bench.sh("dd if=new of=m/raw.bin bs=4096 seek=16 conv=notrunc").ok();
    bench.assert_chip(&patched(&chip, 65_536, new));
    assert_eq!(bench.info()["pending"]["bytes"], 0);
    bench.unmount();
}

#[test]
fn what_is_synchronized_is_on_the_chip_while_its_file_is_open() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("dd if=chip.img of=m/raw.bin bs=4096 seek=1 count=1 conv=notrunc,fsync").ok();
    let chip = patched(&chip, 0x1000, &chip[..SECTOR_LEN]);
    let script = "
import os
fd = os.open('m/raw.bin', os.O_RDWR)
os.pwrite(fd, b'by fsync', 100)
os.fsync(fd)
pause()
os.pwrite(fd, b'by close', 200)
";
    let writer = bench.paused_python(script);
    let chip = patched(&chip, 100, b"by fsync");
    bench.assert_chip(&chip);
    writer.go_on();
    let script = "
import os
fd = os.open('m/raw.bin', os.O_RDWR | os.O_DSYNC)
os.pwrite(fd, b'by O_DSYNC', 300)
pause()
";
    let writer = bench.paused_python(script);
    let chip = patched(&patched(&chip, 200, b"by close"), 300, b"by O_DSYNC");
    bench.assert_chip(&chip);
    writer.go_on();
    bench.unmount_to(&chip);
}

#[test]
fn a_quiet_writer_s_bytes_get_to_the_chip_while_its_file_is_open() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let writer = bench.paused_python(
        "import os\nfd = os.open('m/raw.bin', os.O_RDWR)\nos.pwrite(fd, b'quiet', 100)\npause()\n",
    );
    let wanted = patched(&chip, 100, b"quiet");
    wait_until("the bytes are on the chip", || bench.read("chip.img")[..4096] == wanted[..4096]);
    wait_until("nothing is pending", || bench.info()["pending"]["bytes"] == 0);
    writer.go_on();
    bench.unmount_to(&wanted);
}

#[test]
fn an_image_arrives_byte_exact_and_costs_nothing_the_second_time() {
    let bench = Bench::with_chip(&noise(1));
    let other = noise(2);
    bench.write("other.img", &other);
    bench.mount();
    bench.sh("cp other.img m/raw.bin").ok();
    bench.sh("cmp other.img m/raw.bin").ok();
    let first = bench.counters();
    assert!(first.all_erases() >= 256 && first.pages_programmed >= 65_000, "{first:?}");
    bench.sh("cp other.img m/raw.bin").ok();
    bench.sh("cat other.img > m/raw.bin").ok();
    bench.sh("dd if=other.img of=m/raw.bin bs=1M").ok();
    let second = bench.counters();
    assert_eq!((&second.erases, second.pages_programmed), (&first.erases, first.pages_programmed));
    assert_eq!(second.verify_failures, 0);
    bench.unmount_to(&other);
}

#[test]
fn an_image_survives_the_remount() {
    let bench = Bench::with_chip(&noise(1));
    let other = noise(2);
    bench.write("other.img", &other);
    bench.mount();
    bench.sh("cp other.img m/raw.bin").ok();
    bench.unmount();
    bench.sh("cmp other.img chip.img").ok();
    bench.mount();
    bench.sh("cmp other.img m/raw.bin").ok();
    bench.unmount_to(&other);
}

#[test]
fn a_cleared_bit_costs_one_page_program_and_no_erase() {
    let chip = patched(&noise(1), 0x5678, &[0xff]);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let before = bench.counters();
    bench.sh(r"printf '\xFE' | dd of=m/raw.bin bs=1 seek=$((0x5678)) conv=notrunc").ok();
    let after = bench.counters();
    assert_eq!(after.all_erases(), before.all_erases());
    assert_eq!(after.pages_programmed, before.pages_programmed + 1);
    bench.unmount_to(&patched(&chip, 0x5678, &[0xfe]));
}

#[test]
fn a_set_bit_costs_one_erase_of_4_kib() {
    let chip = patched(&noise(1), 0x5678, &[0xfe]);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let before = bench.counters();
    bench.sh(r"printf '\xFF' | dd of=m/raw.bin bs=1 seek=$((0x5678)) conv=notrunc").ok();
    let after = bench.counters();
    let mut wanted = before.erases.clone();
    *wanted.entry(4096).or_default() += 1;
    assert_eq!(after.erases, wanted);
    assert_eq!(after.pages_programmed, before.pages_programmed + 16);
    bench.unmount_to(&patched(&chip, 0x5678, &[0xff]));
}

#[test]
fn erased_bytes_are_not_programmed() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let blank = [0xff; SECTOR_LEN];
    bench.write("blank", &blank);
    bench.mount();
    let before = bench.counters();
    bench.sh("cp blank m/sectors/123000.bin").ok();
    let after = bench.counters();
    assert_eq!(after.pages_programmed, before.pages_programmed);
    assert_eq!(after.all_erases(), before.all_erases() + 1);
    bench.unmount_to(&patched(&chip, 0x12_3000, &blank));
}

#[test]
fn redirected_output_changes_just_its_bytes() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("echo hi > m/sectors/00a000.bin").ok();
    bench.sh("{ echo one; cat chip.img | head -c 5; echo two; } > m/sectors/00b000.bin").ok();
    let mut wanted = patched(&chip, 0xa000, b"hi\n");
    wanted[0xb000..0xb000 + 13].copy_from_slice(&[b"one\n", &chip[..5], b"two\n"].concat());
    bench.unmount_to(&wanted);
}

#[test]
fn a_sector_is_replaced_by_cat_and_cp() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = noise(2);
    bench.write("one", &new[..SECTOR_LEN]);
    bench.write("two", &new[SECTOR_LEN..2 * SECTOR_LEN]);
    bench.mount();
    bench.sh("cat one > m/sectors/00a000.bin && cp two m/sectors/00b000.bin").ok();
    bench.unmount_to(&patched(&chip, 0xa000, &new[..2 * SECTOR_LEN]));
}

#[test]
fn xxd_patches_in_place() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("echo '123456: 6e6f 7266 75' | xxd -r - m/raw.bin").ok();
    bench.unmount_to(&patched(&chip, 0x12_3456, b"norfu"));
}

#[test]
fn python_writes_in_place_and_whole_files() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
import os, pathlib
with open('m/raw.bin', 'r+b') as f:
    f.seek(70000)
    f.write(b'in place')
    f.flush()
    os.fsync(f.fileno())
    f.seek(70000)
    assert f.read(8) == b'in place'
pathlib.Path('m/sectors/00a000.bin').write_bytes(b'whole' * 100)
";
    bench.python(script).ok();
    bench.unmount_to(&patched(&patched(&chip, 70_000, b"in place"), 0xa000, &b"whole".repeat(100)));
}

#[test]
fn several_writers_at_once_all_arrive() {
    write_at_once(&[]);
}

/// As kernels before 6.6 have it.
#[test]
fn several_writers_at_once_all_arrive_through_the_page_cache() {
    write_at_once(&["-o", "page_cache"]);
}

fn write_at_once(arguments: &[&str]) {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = noise(2);
    bench.write("new", &new);
    bench.mount_with(arguments);
    let script = "
for i in 1 3 5 7 9 11; do
    dd if=new of=m/raw.bin bs=5000 skip=$i seek=$i count=1 conv=notrunc status=none &
    dd if=new of=m/sectors/80${i: -1}000.bin skip=$((0x800 + ${i: -1})) bs=4096 count=1 status=none &
done
cat m/raw.bin > /dev/null &
for job in $(jobs -p); do wait $job || exit 1; done
";
    bench.sh(script).ok();
    let mut wanted = chip;
    for i in [1, 3, 5, 7, 9, 11] {
        wanted[i * 5000..(i + 1) * 5000].copy_from_slice(&new[i * 5000..(i + 1) * 5000]);
        let sector = 0x80_0000 + i % 10 * SECTOR_LEN;
        wanted[sector..sector + SECTOR_LEN].copy_from_slice(&new[sector..sector + SECTOR_LEN]);
    }
    bench.unmount_to(&wanted);
}

#[test]
fn reading_what_another_writes_never_shows_anything_else() {
    let (old, new) = (noise(1), noise(2));
    let bench = Bench::with_chip(&old);
    bench.write("new", &new);
    bench.mount();
    bench.sh("cp new m/raw.bin & cp m/raw.bin seen; wait $!").ok();
    let seen = bench.read("seen");
    assert_eq!(seen.len(), CHIP_LEN);
    let wrong = (0..CHIP_LEN).find(|&at| seen[at] != old[at] && seen[at] != new[at]);
    assert_eq!(wrong, None);
    bench.unmount_to(&new);
}

#[test]
fn an_image_written_in_small_pieces_arrives() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = &noise(2)[..200_000];
    bench.write("new", new);
    bench.mount();
    bench.sh("dd if=new of=m/raw.bin bs=100 seek=5 conv=notrunc").ok();
    let wanted = patched(&chip, 500, new);
    assert_same(&bench.read("chip.img"), &wanted, "the chip");
    assert!(bench.counters().all_erases() <= 60, "{:?}", bench.counters());
    bench.unmount_to(&wanted);
}
