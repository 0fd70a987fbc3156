//! Tools that copy whole files and parts of them.

use super::firmware::{BINARY_AT, TEXT_AT, firmware, other_firmware, sector};
use super::firmware_bench::FirmwareBench;
use super::row::{Row, row};
use crate::common::{CHIP_LEN, SECTOR_LEN, noise};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = cp_rows();
    rows.extend(dd_rows());
    rows.extend(shell_rows());
    rows.extend(rsync_rows());
    rows
}

/// Puts another firmware into the file `image`, runs `script`, and checks that it has got to the chip.
#[track_caller]
fn writes_image(bench: &FirmwareBench, script: &str) -> String {
    let image = other_firmware();
    bench.write("image", &image);
    bench.sh(script).ok();
    bench.changed_to(&image)
}

/// Puts another sector into the file `new`, runs `script`, and checks that it has got to the sector at [`BINARY_AT`].
#[track_caller]
fn writes_sector(bench: &FirmwareBench, script: &str) -> String {
    let new = new_sector();
    bench.write("new", &new);
    bench.sh(script).ok();
    bench.changed(&[(BINARY_AT, &new)])
}

fn new_sector() -> Vec<u8> {
    noise(4)[..SECTOR_LEN].to_vec()
}

fn cp_rows() -> Vec<Row> {
    vec![
        row("cp", "raw.bin away", |bench| bench.copies("cp m/raw.bin copy", "copy", firmware())),
        row("cp", "a sector away", |bench| {
            bench.copies("cp m/sectors/00b000.bin copy", "copy", sector(TEXT_AT))
        }),
        row("cp", "an image over raw.bin", |bench| writes_image(bench, "cp image m/raw.bin")),
        row("cp", "a file over a sector", |bench| writes_sector(bench, "cp new m/sectors/00a000.bin")),
        row("cp", "a sector over another", |bench| {
            bench.sh("cp m/sectors/00b000.bin m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, sector(TEXT_AT))])
        }),
        row("cp", "a shorter file over a sector", |bench| {
            bench.write("short", b"short");
            bench.sh("cp short m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, b"short")])
        }),
        row("cp", "a longer file over a sector", |bench| {
            let long = &noise(4)[..SECTOR_LEN + 1];
            bench.write("long", long);
            let error = bench.fails(
                "cp long m/sectors/00a000.bin",
                1,
                "cp: error writing 'm/sectors/00a000.bin': No space left on device",
            );
            bench.changed(&[(BINARY_AT, &long[..SECTOR_LEN])]);
            format!("{error}; what fits is on the chip")
        }),
        row("cp", "a sparse image over raw.bin", |bench| {
            let make =
                "truncate -s 16M image && dd if=chip.img of=image bs=4k seek=3000 count=1 conv=notrunc";
            bench.sh(make).ok();
            let mut image = vec![0; CHIP_LEN];
            image[3000 * 4096..3001 * 4096].copy_from_slice(&firmware()[..4096]);
            bench.sh("test $(stat -c %b image) -lt 100 && cp image m/raw.bin").ok();
            bench.changed_to(&image)
        }),
        row("cp -a", "the whole mount away", |bench| {
            bench.sh("cp -a m copy").ok();
            let sectors =
                bench.sh("cat copy/sectors/*.bin | cmp - copy/raw.bin && ls copy/sectors | wc -l").ok();
            assert_eq!(sectors.stdout, "4096\n");
            bench.assert_file("copy/raw.bin", firmware());
            bench.unchanged();
            "as on the chip".to_owned()
        }),
        row("cp -a", "an image of mode 600 over raw.bin", |bench| {
            let image = other_firmware();
            bench.write("image", &image);
            bench.sh("chmod 600 image && touch -d '2020-02-02 UTC' image && cp -a image m/raw.bin").ok();
            assert_eq!(bench.sh("stat -c '%Y %a' m/raw.bin").ok().stdout, "1580601600 600\n");
            bench.changed_to(&image)
        }),
        row("cp -a", "an image of mode 644 over raw.bin", |bench| {
            let image = other_firmware();
            bench.write("image", &image);
            let error = bench.fails(
                "chmod 644 image && cp -a image m/raw.bin",
                1,
                "cp: preserving permissions for ‘m/raw.bin’: Operation not permitted",
            );
            format!("{error}; image {}", bench.changed_to(&image))
        }),
        row("cp --reflink=auto", "an image over raw.bin", |bench| {
            writes_image(bench, "cp --reflink=auto image m/raw.bin")
        }),
        row("cp --reflink=auto", "a sector over another", |bench| {
            bench.sh("cp --reflink=auto m/sectors/00b000.bin m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, sector(TEXT_AT))])
        }),
        row("cp --reflink=always", "a sector over another", |bench| {
            bench.refuses(
                "cp --reflink=always m/sectors/00b000.bin m/sectors/00a000.bin",
                1,
                "cp: failed to clone 'm/sectors/00a000.bin' from 'm/sectors/00b000.bin': Operation not supported",
            )
        }),
        row("cp --sparse=always", "an image with zeros over raw.bin", |bench| {
            writes_image(bench, "cp --sparse=always image m/raw.bin")
        }),
        row("cp --sparse=always", "zeros over what is not", |bench| {
            bench.sh("head -c 4096 /dev/zero > zeros && cp --sparse=always zeros m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, &[0; SECTOR_LEN])])
        }),
        row("cp --sparse=always", "raw.bin away", |bench| {
            bench.copies("cp --sparse=always m/raw.bin copy", "copy", firmware())
        }),
        row("cp --sparse=never", "an image over raw.bin", |bench| {
            writes_image(bench, "cp --sparse=never image m/raw.bin")
        }),
        row("cp -f", "a file over a sector", |bench| writes_sector(bench, "cp -f new m/sectors/00a000.bin")),
        row("cp --remove-destination", "a file over a sector", |bench| {
            bench.write("new", &new_sector());
            bench.refuses(
                "cp --remove-destination new m/sectors/00a000.bin",
                1,
                "cp: cannot remove 'm/sectors/00a000.bin': Operation not permitted",
            )
        }),
    ]
}

fn dd_rows() -> Vec<Row> {
    vec![
        row("dd", "bs=1 seek=N conv=notrunc: one byte", |bench| {
            bench.sh(r"printf '\xAB' | dd of=m/raw.bin bs=1 seek=70000 conv=notrunc").ok();
            bench.changed(&[(70_000, &[0xab])])
        }),
        row("dd", "bs=1: a few bytes one by one", |bench| {
            bench.sh("printf 'one by one' | dd of=m/sectors/00a000.bin bs=1 seek=100").ok();
            bench.changed(&[(BINARY_AT + 100, b"one by one")])
        }),
        row("dd", "skip=N count=N: a part of raw.bin", |bench| {
            let script = "dd if=m/raw.bin of=copy bs=777 skip=50 count=100";
            bench.copies(script, "copy", &firmware()[777 * 50..777 * 150])
        }),
        row("dd", "seek=N without notrunc", |bench| {
            writes_sector(bench, "dd if=new of=m/raw.bin bs=4096 seek=10")
        }),
        row("dd", "seek=N conv=notrunc across sectors", |bench| {
            let new = &noise(4)[..9001];
            bench.write("new", new);
            bench.sh("dd if=new of=m/raw.bin bs=777 seek=4351 oflag=seek_bytes conv=notrunc").ok();
            bench.changed(&[(4351, new)])
        }),
        row("dd", "within raw.bin, from one place to another", |bench| {
            bench.sh("dd if=m/raw.bin of=m/raw.bin bs=4096 skip=11 seek=10 count=1 conv=notrunc").ok();
            bench.changed(&[(BINARY_AT, sector(TEXT_AT))])
        }),
        row("dd", "conv=fsync", |bench| writes_image(bench, "dd if=image of=m/raw.bin bs=1M conv=fsync")),
        row("dd", "conv=fdatasync,notrunc", |bench| {
            writes_sector(bench, "dd if=new of=m/raw.bin bs=512 seek=80 conv=fdatasync,notrunc")
        }),
        row("dd", "conv=sparse: an image with zeros", |bench| {
            writes_image(bench, "dd if=image of=m/raw.bin bs=64k conv=sparse,notrunc")
        }),
        row("dd", "conv=excl", |bench| {
            let message = "dd: failed to open 'm/raw.bin': File exists";
            bench.refuses("dd if=/dev/zero of=m/raw.bin count=1 conv=excl", 1, message)
        }),
        row("dd", "oflag=direct", |bench| {
            writes_sector(bench, "dd if=new of=m/raw.bin bs=4096 seek=10 oflag=direct conv=notrunc")
        }),
        row("dd", "iflag=direct", |bench| {
            bench.copies("dd if=m/raw.bin of=copy bs=64k iflag=direct", "copy", firmware())
        }),
        row("dd", "oflag=sync", |bench| {
            writes_sector(bench, "dd if=new of=m/raw.bin bs=1024 seek=40 oflag=sync conv=notrunc")
        }),
        row("dd", "oflag=dsync", |bench| {
            writes_sector(bench, "dd if=new of=m/sectors/00a000.bin bs=1000 oflag=dsync")
        }),
        row("dd", "oflag=append conv=notrunc", |bench| {
            let message = "dd: error writing 'm/raw.bin': No space left on device";
            bench.refuses("echo more | dd of=m/raw.bin oflag=append conv=notrunc", 1, message)
        }),
        row("dd", "status=progress", |bench| {
            bench.write("new", &new_sector());
            let finished = bench.sh("dd if=new of=m/sectors/00a000.bin bs=512 status=progress").ok();
            assert!(finished.stderr.contains("4096 bytes (4.1 kB, 4.0 KiB) copied"), "{finished}");
            bench.changed(&[(BINARY_AT, &new_sector())])
        }),
        row("dd", "beyond the end of raw.bin", |bench| {
            bench.write("new", &noise(4)[..8192]);
            let script = "dd if=new of=m/raw.bin bs=4096 seek=4095 conv=notrunc";
            let error = bench.fails(script, 1, "dd: error writing 'm/raw.bin': No space left on device");
            bench.changed(&[(CHIP_LEN - SECTOR_LEN, &new_sector())]);
            format!("{error}; what fits is on the chip")
        }),
    ]
}

fn shell_rows() -> Vec<Row> {
    vec![
        row("cat", "raw.bin away", |bench| bench.copies("cat m/raw.bin > copy", "copy", firmware())),
        row("cat >", "an image over raw.bin", |bench| writes_image(bench, "cat image > m/raw.bin")),
        row("cat >", "two files over a sector", |bench| {
            bench.write("one", &new_sector()[..1000]);
            bench.write("two", &new_sector()[1000..]);
            bench.sh("cat one two > m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, &new_sector())])
        }),
        row("cat >>", "to the end of a sector", |bench| {
            let message = "cat: write error: No space left on device";
            bench.refuses("cat chip.img >> m/sectors/00a000.bin", 1, message)
        }),
        row("echo >", "a few bytes over a sector", |bench| {
            bench.sh("echo hello > m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, b"hello\n")])
        }),
        row("echo >>", "to the end of raw.bin", |bench| {
            let message = "bash: line 1: echo: write error: No space left on device";
            bench.refuses("echo more >> m/raw.bin", 1, message)
        }),
        row("exec 3<>", "read and written through one descriptor", |bench| {
            bench.sh("exec 3<>m/sectors/00b000.bin && read -r line <&3 && echo \"${line^^}\" >&3").ok();
            bench.changed(&[(TEXT_AT + 16, b"NAME000=VALUE00\n")])
        }),
        row("tee", "over two sectors at once", |bench| {
            bench.write("new", &new_sector());
            bench.sh("tee m/sectors/00a000.bin m/sectors/00b000.bin < new | cmp - new").ok();
            bench.changed(&[(BINARY_AT, &new_sector()), (TEXT_AT, &new_sector())])
        }),
        row("tee -a", "to the end of raw.bin", |bench| {
            let message = "tee: m/raw.bin: No space left on device";
            bench.refuses("echo more | tee -a m/raw.bin", 1, message)
        }),
        row("truncate", "to nothing, and to the length it has", |bench| {
            bench.sh("truncate -s 0 m/raw.bin && truncate -s 16M m/raw.bin").ok();
            bench.sh("truncate -s 0 m/sectors/00a000.bin && truncate -s 4096 m/sectors/00a000.bin").ok();
            bench.unchanged()
        }),
        row("truncate", "to more than it has", |bench| {
            let message = "truncate: failed to truncate 'm/raw.bin' at 16777217 bytes: File too large";
            bench.refuses("truncate -s +1 m/raw.bin", 1, message)
        }),
        row("split, cat", "taken apart and put together again", |bench| {
            let image = other_firmware();
            bench.write("image", &image);
            bench.sh("split -b 5M m/raw.bin old. && cat old.* | cmp - chip.img").ok();
            bench.sh("split -b 5M image new. && cat new.a? > m/raw.bin").ok();
            bench.changed_to(&image)
        }),
        row("head, tail", "parts of raw.bin", |bench| {
            let script = "{ head -c 45056 m/raw.bin | tail -c 4096; tail -c 100 m/raw.bin; } > copy";
            bench.copies(script, "copy", &[sector(BINARY_AT), &firmware()[CHIP_LEN - 100..]].concat())
        }),
        row("pv", "raw.bin away", |bench| bench.copies("pv -q m/raw.bin > copy", "copy", firmware())),
        row("pv", "an image over raw.bin", |bench| writes_image(bench, "pv -q image > m/raw.bin")),
    ]
}

/// The same by rsync, which takes files of one length and one time for the same.
#[track_caller]
fn rsyncs_image(bench: &FirmwareBench, script: &str) -> String {
    writes_image(bench, &format!("touch -d '2020-02-02 UTC' image && {script}"))
}

fn rsync_rows() -> Vec<Row> {
    vec![
        row("rsync", "raw.bin away", |bench| bench.copies("rsync m/raw.bin copy", "copy", firmware())),
        row("rsync", "an image over raw.bin", |bench| rsyncs_image(bench, "rsync image m/raw.bin")),
        row("rsync", "a file over a sector", |bench| {
            writes_sector(bench, "touch -d '2020-02-02 UTC' new && rsync new m/sectors/00a000.bin")
        }),
        row("rsync", "a file over a sector, without privileges", |bench| {
            writes_sector(bench, "touch -d '2020-02-02 UTC' new && rsync new m/sectors/00a000.bin")
        })
        .without_privileges(),
        row("rsync -a", "twice: times arrive, so the second has nothing to do", |bench| {
            let script =
                "chmod 600 image && rsync -a image m/raw.bin && test -z \"$(rsync -ai image m/raw.bin)\"";
            rsyncs_image(bench, script)
        }),
        row("rsync -rt", "sectors from a directory", |bench| {
            let change = "mkdir new && cp -p m/sectors/00[ab]000.bin new && printf 12345 | dd of=new/00a000.bin conv=notrunc
                touch -d '2020-02-02 UTC' new/00a000.bin";
            bench.sh(change).ok();
            bench.sh("rsync -rt new/ m/sectors/").ok();
            bench.changed(&[(BINARY_AT, b"12345")])
        }),
        row("rsync -a", "sectors from a directory of mode 755", |bench| {
            bench.sh("mkdir -m 755 new && cp -p m/sectors/00b000.bin new/00a000.bin").ok();
            let error = bench.fails(
                "touch -d '2020-02-02 UTC' new/00a000.bin && rsync -a new/ m/sectors/",
                23,
                "rsync: [generator] failed to set permissions on \"*/m/sectors/.\": Operation not permitted (1)",
            );
            format!("{error}; sector {}", bench.changed(&[(BINARY_AT, sector(TEXT_AT))]))
        }),
        row("rsync --inplace", "an image over raw.bin", |bench| {
            rsyncs_image(bench, "rsync --inplace image m/raw.bin")
        }),
        row("rsync --inplace --no-whole-file", "an image over raw.bin", |bench| {
            rsyncs_image(bench, "rsync --inplace --no-whole-file image m/raw.bin")
        }),
        row("rsync --checksum", "what is there already", |bench| {
            let before = bench.counters();
            bench.sh("cp m/raw.bin same && rsync --checksum same m/raw.bin").ok();
            let after = bench.counters();
            assert_eq!(
                (after.all_erases(), after.pages_programmed),
                (before.all_erases(), before.pages_programmed)
            );
            bench.unchanged()
        }),
        row("rsync", "a shorter file over a sector", |bench| {
            bench.write("short", b"short");
            bench.refuses(
                "rsync short m/sectors/00a000.bin",
                23,
                "rsync: [receiver] rename \"*/m/sectors/.00a000.bin.*\" -> \"00a000.bin\": Invalid argument (22)",
            )
        }),
    ]
}
