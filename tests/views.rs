//! `raw.bin` and the sector files show the same bytes, to readers, writers and mappings.

mod common;

use common::{Bench, noise, patched, wait_until};

#[test]
fn writing_changes_the_modification_time_of_both_views() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    let times = |name: &str| bench.sh(&format!("stat -c %.9Y m/{name}")).ok().stdout;
    let (raw, written, other) = (times("raw.bin"), times("sectors/00a000.bin"), times("sectors/00b000.bin"));
    bench.sh("echo hi > m/sectors/00a000.bin").ok();
    assert_ne!(times("raw.bin"), raw);
    assert_ne!(times("sectors/00a000.bin"), written);
    assert_eq!(times("sectors/00b000.bin"), other);
    bench.unmount();
}

#[test]
fn what_msync_returned_for_is_on_the_chip() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
import mmap
f = open('m/raw.bin', 'r+b')
m = mmap.mmap(f.fileno(), 0)
m[70000:70006] = b'mapped'
m.flush()
pause()
m.close()
f.close()
";
    let writer = bench.paused_python(script);
    let wanted = patched(&chip, 70_000, b"mapped");
    bench.assert_chip(&wanted);
    writer.go_on();
    bench.unmount_to(&wanted);
}

#[test]
fn what_was_mapped_gets_to_the_chip_without_msync() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
import mmap, os
fd = os.open('m/raw.bin', os.O_RDWR)
m = mmap.mmap(fd, 0)
os.close(fd)
m[70000:70006] = b'mapped'
m[0x800000:0x800003] = b'far'
";
    bench.python(script).ok();
    let wanted = patched(&patched(&chip, 70_000, b"mapped"), 0x80_0000, b"far");
    wait_until("the bytes are on the chip", || bench.read("chip.img") == wanted);
    bench.unmount_to(&wanted);
}

#[test]
fn a_write_through_one_view_is_seen_at_once_through_the_other() {
    see_at_once(&[]);
}

/// As kernels before 6.6 have it.
#[test]
fn a_write_through_one_view_is_seen_at_once_through_the_other_with_the_page_cache() {
    see_at_once(&["-o", "page_cache"]);
}

fn see_at_once(arguments: &[&str]) {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(arguments);
    let script = "
import os
raw = os.open('m/raw.bin', os.O_RDWR)
sector = os.open('m/sectors/00a000.bin', os.O_RDWR)
for i in range(50):
    text = b'%08d' % i
    os.pwrite(sector, text, 100)
    assert os.pread(raw, 8, 0xa000 + 100) == text, i
    os.pwrite(raw, text, 0xa000 + 200)
    assert os.pread(sector, 8, 200) == text, i
";
    bench.python(script).ok();
    let wanted = patched(&patched(&chip, 0xa000 + 100, b"00000049"), 0xa000 + 200, b"00000049");
    bench.sh("cmp -n 4096 <(tail -c +40961 m/raw.bin) m/sectors/00a000.bin").ok();
    bench.unmount_to(&wanted);
}

#[test]
fn a_write_through_one_view_is_seen_in_mappings_of_the_other() {
    see_in_mappings(&[]);
}

/// As kernels before 6.6 have it.
#[test]
fn a_write_through_one_view_is_seen_in_mappings_of_the_other_with_the_page_cache() {
    see_in_mappings(&["-o", "page_cache"]);
}

fn see_in_mappings(arguments: &[&str]) {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(arguments);
    let script = "
import mmap, os
raw = os.open('m/raw.bin', os.O_RDWR)
sector = os.open('m/sectors/00a000.bin', os.O_RDWR)
raw_map = mmap.mmap(raw, 0)
sector_map = mmap.mmap(sector, 0)
for i in range(50):
    text = b'%08d' % i
    raw_map[0xa000], sector_map[0]
    os.pwrite(sector, text, 100)
    assert raw_map[0xa000 + 100:0xa000 + 108] == text, ('raw_map', i)
    assert sector_map[100:108] == text, ('sector_map', i)
    os.pwrite(raw, text, 0xa000 + 200)
    assert sector_map[200:208] == text, ('sector_map', i)
    assert raw_map[0xa000 + 200:0xa000 + 208] == text, ('raw_map', i)
";
    bench.python(script).ok();
    bench.unmount_to(&patched(&patched(&chip, 0xa000 + 100, b"00000049"), 0xa000 + 200, b"00000049"));
}

#[test]
fn a_mapping_s_write_is_seen_through_the_other_view_after_msync() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
import mmap, os
raw = os.open('m/raw.bin', os.O_RDWR)
sector = os.open('m/sectors/00a000.bin', os.O_RDWR)
raw_map = mmap.mmap(raw, 0)
sector_map = mmap.mmap(sector, 0)
raw_map[0xa000:0xa003] = b'raw'
raw_map.flush()
assert os.pread(sector, 3, 0) == b'raw'
assert sector_map[0:3] == b'raw'
sector_map[100:106] = b'sector'
sector_map.flush()
assert os.pread(raw, 6, 0xa000 + 100) == b'sector'
assert raw_map[0xa000 + 100:0xa000 + 106] == b'sector'
";
    bench.python(script).ok();
    bench.unmount_to(&patched(&patched(&chip, 0xa000, b"raw"), 0xa000 + 100, b"sector"));
}

#[test]
fn a_mapping_s_store_undoes_nothing_that_was_written_beside_it_under_another_name() {
    store_beside(&[]);
}

/// As kernels before 6.6 have it.
#[test]
fn a_mapping_s_store_undoes_nothing_that_was_written_beside_it_under_another_name_with_the_page_cache() {
    store_beside(&["-o", "page_cache"]);
}

/// The kernel writes back whole pages, of which only a part has been stored into.
fn store_beside(arguments: &[&str]) {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(arguments);
    let script = "
import mmap, os
raw = os.open('m/raw.bin', os.O_RDWR)
sector = os.open('m/sectors/00a000.bin', os.O_RDWR)
raw_map = mmap.mmap(raw, 0)
sector_map = mmap.mmap(sector, 0)
raw_map[0xa000:0xa005] = b'raw 1'
os.pwrite(sector, b'sector 1', 100)
raw_map[0xa200:0xa205] = b'raw 2'
sector_map[300:308] = b'sector 2'
raw_map.flush()
sector_map.flush()
";
    bench.python(script).ok();
    let wanted = patched(&patched(&chip, 0xa000, b"raw 1"), 0xa000 + 100, b"sector 1");
    bench.unmount_to(&patched(&patched(&wanted, 0xa200, b"raw 2"), 0xa000 + 300, b"sector 2"));
}
