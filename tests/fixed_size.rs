//! A chip can neither grow nor shrink, and its files keep their names: what truncation, sparse files and the like do.

mod common;

use common::{Bench, SECTOR_LEN, noise, patched};

#[test]
fn emptying_a_file_changes_nothing() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let before = bench.counters();
    bench.sh(": > m/raw.bin && : > m/sectors/00a000.bin && cp /dev/null m/sectors/00b000.bin").ok();
    bench
        .sh("truncate -s 0 m/raw.bin && truncate -s 0 m/sectors/00a000.bin && truncate -s 100 m/raw.bin")
        .ok();
    assert_eq!(bench.sh("stat -c %s m/raw.bin m/sectors/00a000.bin").ok().stdout, "16777216\n4096\n");
    bench.sh("cmp m/raw.bin chip.img").ok();
    let after = bench.counters();
    assert_eq!((after.all_erases(), after.pages_programmed), (before.all_erases(), before.pages_programmed));
    bench.unmount_to(&chip);
}

#[test]
fn appending_fails_and_changes_nothing() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("echo hi >> m/sectors/00a000.bin").fails_with("No space left on device");
    bench.sh("echo hi >> m/raw.bin").fails_with("No space left on device");
    bench.unmount_to(&chip);
}

#[test]
fn a_shorter_file_changes_only_the_bytes_it_has() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = noise(2);
    bench.write("sector", &new[..100]);
    bench.write("image", &new[..70_000]);
    bench.mount();
    bench.sh("cp image m/raw.bin && cp sector m/sectors/200000.bin").ok();
    bench.unmount_to(&patched(&patched(&chip, 0, &new[..70_000]), 0x20_0000, &new[..100]));
}

#[test]
fn what_does_not_fit_fails_behind_the_end() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = &noise(2)[..2 * SECTOR_LEN];
    bench.write("long", new);
    bench.mount();
    bench.sh("cp long m/sectors/00a000.bin").fails_with("No space left on device");
    bench
        .sh("dd if=long of=m/raw.bin bs=6000 seek=$((0xfff000)) oflag=seek_bytes conv=notrunc")
        .fails_with("No space left on device");
    let wanted = patched(&patched(&chip, 0xa000, &new[..SECTOR_LEN]), 0xff_f000, &new[..SECTOR_LEN]);
    bench.unmount_to(&wanted);
}

#[test]
fn an_image_that_is_too_long_fails_with_the_chip_full() {
    let bench = Bench::with_chip(&noise(1));
    let image = noise(2);
    bench.write("long", &[&image[..], b"too much"].concat());
    bench.mount();
    let failed = bench.sh("cp long m/raw.bin").fails_with("No space left on device");
    assert_eq!(failed.code, 1);
    bench.unmount_to(&image);
}

#[test]
fn a_sparse_image_arrives_byte_exact() {
    let bench = Bench::with_chip(&noise(1));
    bench.sh("truncate -s 16M sparse.img && printf head | dd of=sparse.img conv=notrunc status=none").ok();
    bench.sh("dd if=chip.img of=sparse.img bs=64k seek=100 count=3 conv=notrunc status=none").ok();
    bench.sh("dd if=chip.img of=sparse.img bs=4k seek=3000 count=1 conv=notrunc status=none").ok();
    assert_eq!(bench.sh("test $(stat -c %b sparse.img) -lt 1000").code, 0, "the test's image is not sparse");
    let image = bench.read("sparse.img");
    bench.mount();
    bench.sh("cp --sparse=auto sparse.img m/raw.bin && cmp sparse.img m/raw.bin").ok();
    bench.unmount_to(&image);
}

#[test]
fn a_sparse_file_fills_its_holes_with_zeros_up_to_its_end_only() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let script = "
import os
fd = os.open('m/sectors/00a000.bin', os.O_WRONLY | os.O_TRUNC)
os.pwrite(fd, b'one', 100)
os.pwrite(fd, b'two', 200)
os.ftruncate(fd, 300)
os.close(fd)
";
    bench.python(script).ok();
    let mut wanted = patched(&chip, 0xa000, &[0; 300]);
    wanted = patched(&wanted, 0xa000 + 100, b"one");
    wanted = patched(&wanted, 0xa000 + 200, b"two");
    bench.unmount_to(&wanted);
}

#[test]
fn dd_may_seek_without_notrunc() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    let new = &noise(2)[..2 * SECTOR_LEN];
    bench.write("new", new);
    bench.mount();
    bench.sh("dd if=new of=m/raw.bin bs=4096 seek=100").ok();
    bench.unmount_to(&patched(&chip, 100 * SECTOR_LEN, new));
}

#[test]
fn a_file_can_be_truncated_to_its_size_but_not_extended() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("truncate -s 16M m/raw.bin && truncate -s 4096 m/sectors/00a000.bin").ok();
    bench.sh("truncate -s 17M m/raw.bin").fails_with("File too large");
    bench.sh("truncate -s 4097 m/sectors/00a000.bin").fails_with("File too large");
    bench.unmount_to(&chip);
}

#[test]
fn chip_files_stay_where_they_are_and_nothing_but_files_can_be_made() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.write("file", b"file");
    bench.mount();
    let tree = bench.sh("find m | sort").ok().stdout;
    for change in [
        "rm -f m/raw.bin",
        "rm -f m/sectors/00a000.bin",
        "rmdir m/sectors",
        "mv m/sectors/00a000.bin m/sectors/00b000.bin",
        "mv file m/raw.bin",
        "mkdir m/directory",
        "ln m/raw.bin m/link",
        "ln -s raw.bin m/link",
        "mknod m/fifo p",
    ] {
        bench.sh(change).fails_with("Operation not permitted");
        assert_eq!(bench.sh("find m | sort").ok().stdout, tree, "{change}");
    }
    bench.unmount_to(&chip);
}

#[test]
fn fallocate_is_not_supported() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    // FALLOC_FL_KEEP_SIZE, PUNCH_HOLE, COLLAPSE_RANGE and ZERO_RANGE of linux/falloc.h, as fallocate(1) combines them.
    let script = "
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open('m/raw.bin', os.O_RDWR)
for mode in (0x0, 0x1, 0x1 | 0x2, 0x8, 0x10, 0x1 | 0x10):
    for length in (4096, 17 << 20):
        result = libc.fallocate(fd, mode, ctypes.c_long(0), ctypes.c_long(length))
        print(hex(mode), result, os.strerror(ctypes.get_errno()))
";
    let answers = bench.python(script).ok().stdout;
    assert_eq!(
        answers.lines().filter(|line| line.ends_with(" -1 Operation not supported")).count(),
        12,
        "{answers}"
    );
    for how in ["-l 4096", "-l 17M", "-p -l 4096", "-z -l 4096", "-c -l 4096"] {
        bench.sh(&format!("fallocate {how} m/raw.bin")).fails_with("supported");
    }
    bench.unmount_to(&chip);
}

#[test]
fn what_describes_the_chip_cannot_be_written() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    for name in ["jedec_id", "info.json", "sfdp.bin", "unique_id"] {
        let failed = bench.sh(&format!("echo x > m/{name}"));
        assert_ne!(failed.code, 0, "{failed}");
    }
    assert_eq!(bench.sh("cat m/jedec_id").ok().stdout, "a14018\n");
    bench.unmount_to(&chip);
}

#[test]
fn times_can_be_set_and_a_mode_only_to_what_it_is() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    bench.sh("touch m/raw.bin && touch -d '2020-02-02 UTC' m/sectors/00a000.bin").ok();
    assert_eq!(bench.sh("stat -c %Y m/sectors/00a000.bin").ok().stdout, "1580601600\n");
    bench.sh("chmod 600 m/raw.bin && chown $(id -u):$(id -g) m/raw.bin").ok();
    bench.sh("chmod 644 m/raw.bin").fails_with("Operation not permitted");
    bench.sh("head -c 4096 chip.img > same && chmod 600 same && cp -p same m/sectors/000000.bin").ok();
    assert_eq!(bench.sh("stat -c %a m/raw.bin").ok().stdout, "600\n");
    bench.unmount_to(&chip);
}
