//! Reading a chip with the tools that people have.

mod common;

use std::fmt::Write;

use common::{Bench, CHIP_LEN, assert_same, noise};

#[test]
fn tools_read_what_is_on_the_chip() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("cp m/raw.bin a.bin && cmp a.bin chip.img").ok();
    bench.sh("cmp m/raw.bin chip.img").ok();
    bench.sh("diff <(sha256sum < m/raw.bin) <(sha256sum < chip.img)").ok();
    bench.sh("diff <(xxd -s 0x123456 -l 300 m/raw.bin) <(xxd -s 0x123456 -l 300 chip.img)").ok();
    bench.sh("diff <(xxd m/sectors/abc000.bin) <(dd if=chip.img bs=4096 skip=$((0xabc)) count=1 status=none | xxd)").ok();
    bench.sh("cmp <(tail -c 1000 m/raw.bin) <(tail -c 1000 chip.img)").ok();
    bench.sh("tar -cf - m/sectors/000000.bin | tar -xOf - | cmp -n 4096 - chip.img").ok();
    bench.unmount_to(&chip);
}

#[test]
fn any_part_can_be_read_in_any_block_size() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    for (block, skip, count) in
        [(1, 70_000, 5), (7, 999, 1234), (512, 3, 17), (4096, 4095, 1), (100_003, 51, 2)]
    {
        bench.sh(&format!("dd if=m/raw.bin of=part bs={block} skip={skip} count={count} status=none")).ok();
        let from = block * skip;
        assert_same(
            &bench.read("part"),
            &chip[from..from + block * count],
            &format!("bs={block} skip={skip}"),
        );
    }
    bench.sh("dd if=m/raw.bin of=part bs=1M iflag=direct status=none").ok();
    assert_same(&bench.read("part"), &chip, "the chip by O_DIRECT");
    bench.unmount();
}

#[test]
fn every_sector_is_a_file_of_its_bytes() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("cat m/sectors/*.bin | cmp - chip.img").ok();
    bench.unmount();
}

#[test]
fn a_file_ends_where_the_chip_or_sector_does() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
import os
raw = os.open('m/raw.bin', os.O_RDONLY)
sector = os.open('m/sectors/001000.bin', os.O_RDONLY)
print(len(os.pread(raw, 100, 16777206)), len(os.pread(raw, 100, 16777216)), len(os.pread(raw, 100, 1 << 40)))
print(len(os.pread(sector, 100, 4000)), len(os.pread(sector, 5000, 0)), len(os.pread(sector, 1, 4096)))
print(os.lseek(raw, 0, os.SEEK_END), os.lseek(sector, 0, os.SEEK_END))
";
    assert_eq!(bench.python(script).ok().stdout, "10 0 0\n96 4096 0\n16777216 4096\n");
    bench.unmount();
}

#[test]
fn the_sectors_are_listed_in_the_chips_order() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    let names = (0..CHIP_LEN).step_by(4096).fold(String::new(), |mut names, offset| {
        writeln!(names, "{offset:06x}.bin").unwrap();
        names
    });
    assert_eq!(bench.sh("ls m/sectors").ok().stdout, names);
    assert_eq!(bench.sh("ls -U m/sectors").ok().stdout, names);
    let listed = bench.sh("ls -l m/sectors | tail -n +2").ok().stdout;
    assert_eq!(listed.lines().count(), 4096);
    for line in listed.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((fields[0], fields[4]), ("-rw-------", "4096"), "{line}");
    }
    bench.sh("cat m/sectors/001001.bin").fails_with("No such file or directory");
    bench.sh("cat m/sectors/00A000.bin").fails_with("No such file or directory");
    bench.unmount();
}

#[test]
fn sizes_blocks_and_modes_are_those_of_the_chip() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    let stat = |name: &str| bench.sh(&format!("stat -c '%F %a %s %b %B %o' m/{name}")).ok().stdout;
    assert_eq!(stat("raw.bin"), "regular file 600 16777216 32768 512 4096\n");
    assert_eq!(stat("sectors/fff000.bin"), "regular file 600 4096 8 512 4096\n");
    assert!(stat("sectors").starts_with("directory 700 "));
    assert!(stat(".").starts_with("directory 700 "));
    assert!(stat("jedec_id").starts_with("regular file 400 7 "));
    assert_eq!(bench.sh("df -B1 --output=size m | tail -1").ok().stdout.trim(), "16777216");
    bench.unmount();
}

#[test]
fn inode_numbers_are_different_and_stay() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    let list = || bench.sh("find m -printf '%i %p\\n' | sort -k 2").ok().stdout;
    let inodes = list();
    let mut numbers: Vec<&str> = inodes.lines().filter_map(|line| line.split(' ').next()).collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count);
    assert!(count > 4096);
    bench.unmount();
    bench.mount();
    assert_eq!(list(), inodes);
    bench.unmount();
}

#[test]
fn the_small_files_describe_the_chip() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    assert_eq!(bench.sh("cat m/jedec_id").ok().stdout, "a14018\n");
    bench.sh("python3 -m json.tool m/info.json").ok();
    let info = bench.info();
    assert_eq!(info["chip"]["jedec_id"], "a14018");
    assert_eq!(info["chip"]["size"], CHIP_LEN);
    assert!(info["chip"]["name"].as_str().unwrap().contains("FM25Q128"), "{info}");
    assert_eq!(info["read"]["opcode"], "0B");
    assert_eq!(info["pending"]["bytes"], 0);
    assert_eq!(bench.sh("head -c 4 m/sfdp.bin").ok().stdout, "SFDP");
    assert!(!bench.sh("cat m/unique_id").ok().stdout.is_empty());
    for name in ["jedec_id", "info.json", "sfdp.bin", "unique_id"] {
        let read = bench.sh(&format!("cat m/{name} | wc -c")).ok().stdout;
        let size = bench.sh(&format!("stat -c %s m/{name}")).ok().stdout;
        if name != "info.json" {
            assert_eq!(read, size, "{name}");
        }
    }
    bench.unmount();
}

#[test]
fn info_json_tells_how_well_the_simulated_chip_keeps_real_time_and_nothing_where_it_does_not() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    assert!(bench.info()["bus"]["simulated_time"].is_null());
    bench.unmount();
    bench.mount_with(&["--sim-realtime", "--speed", "32M"]);
    let time = bench.info()["bus"]["simulated_time"].clone();
    let number = |name: &str| time[name].as_u64().unwrap_or_else(|| panic!("no {name} in {time}"));
    assert!(number("waits") > 0);
    assert!(number("median_late_us") <= number("p99_late_us"));
    assert!(number("p99_late_us") <= number("max_late_us"));
    bench.unmount();
}

#[test]
fn info_json_is_current_and_whole_however_it_is_read() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    let before = bench.counters();
    bench.sh("cat m/sectors/801000.bin").ok();
    let after = bench.counters();
    assert!(after.bytes_read >= before.bytes_read + 4096, "{before:?} {after:?}");
    let script = "
import json
with open('m/info.json', 'rb', buffering=0) as f:
    text = b''
    while (part := f.read(10)):
        text += part
    json.loads(text)
";
    bench.python(script).ok();
    bench.unmount();
}

#[test]
fn a_second_reading_costs_nothing_on_the_bus() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("cat m/raw.bin > /dev/null").ok();
    let first = bench.counters();
    assert!(first.bytes_read >= 16 << 20, "{first:?}");
    assert_eq!(bench.info()["cache"]["cached_sectors"], 4096);
    bench.sh("cmp m/raw.bin chip.img && cat m/sectors/*.bin | cmp - chip.img").ok();
    assert_eq!(bench.counters(), first);
    bench.unmount();
}

#[test]
fn a_dump_reads_each_byte_once() {
    let bench = Bench::with_chip(&noise(1));
    bench.mount();
    let before = bench.counters();
    bench.sh("cp m/raw.bin a.bin").ok();
    let read = bench.counters().bytes_read - before.bytes_read;
    // What was read to compare 03h with 0Bh may be cached already.
    assert!(read <= 16 << 20, "{read}");
    bench.unmount();
}

#[test]
fn several_readers_at_once_get_the_same() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
cp m/raw.bin a & dd if=m/raw.bin of=b bs=4k status=none & dd if=m/raw.bin of=c bs=1M status=none &
cat m/sectors/*.bin > d & tail -c 8M m/raw.bin > e & ls -l m/sectors > /dev/null &
for job in $(jobs -p); do wait $job || exit 1; done
cmp a chip.img && cmp b chip.img && cmp c chip.img && cmp d chip.img && cmp e <(tail -c 8M chip.img)
";
    bench.sh(script).ok();
    bench.unmount_to(&chip);
}

#[test]
fn mappings_private_and_shared_show_the_chip() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
import mmap
chip = open('chip.img', 'rb').read()
for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
    with open('m/raw.bin', 'rb') as f, mmap.mmap(f.fileno(), 0, flags=flags, prot=mmap.PROT_READ) as m:
        assert m[0x7fffff:0x800001] == chip[0x7fffff:0x800001]
        assert m[:] == chip
with open('m/sectors/abc000.bin', 'rb') as f, mmap.mmap(f.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) as m:
    assert m[:] == chip[0xabc000:0xabd000]
with open('m/raw.bin', 'rb') as f, mmap.mmap(f.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as m:
    m[0] = m[0] ^ 0xff
";
    bench.python(script).ok();
    bench.unmount_to(&chip);
}
