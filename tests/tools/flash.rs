//! Tools that are made for flash, and the ioctls that they speak.

use super::firmware::{BINARY_AT, other_firmware, sector};
use super::firmware_bench::FirmwareBench;
use super::row::{Row, row};
use crate::common::{SECTOR_LEN, noise};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = mtd_utils_rows();
    rows.extend(blockdev_rows());
    rows.extend(ioctl_rows());
    rows
}

fn mtd_utils_rows() -> Vec<Row> {
    vec![
        row("flashcp -v", "a short image over raw.bin", |bench| {
            let image = &other_firmware()[..0x16_0000];
            bench.write("image", image);
            let said = bench.sh("flashcp -v image m/raw.bin").ok().stdout;
            assert!(said.contains("Verifying data: 1408k/1408k (100%)"), "{said}");
            bench.changed(&[(0, image)])
        }),
        row("flashcp", "a file over a sector", |bench| {
            let new = &noise(7)[..SECTOR_LEN];
            bench.write("new", new);
            bench.sh("flashcp new m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, new)])
        }),
        row("flashcp", "a file over a sector, without privileges", |bench| {
            let new = &noise(7)[..SECTOR_LEN];
            bench.write("new", new);
            bench.sh("flashcp new m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, new)])
        })
        .without_privileges(),
        row("flashcp", "a short file over a sector: the rest is erased", |bench| {
            bench.write("new", b"short");
            bench.sh("flashcp new m/sectors/00a000.bin").ok();
            let mut erased = vec![0xff; SECTOR_LEN];
            erased[..5].copy_from_slice(b"short");
            bench.changed(&[(BINARY_AT, &erased)])
        }),
        row("flashcp", "a file over a partition", |bench| {
            let new = &noise(7)[..0x1_0000];
            bench.write("new", new);
            bench.sh("flashcp -v new m/partitions/env.bin").ok();
            bench.changed(&[(0x4_0000, new)])
        })
        .mounted_with(&["-o", "mtdparts=256k(boot),64k(env),2m(kernel),-(rootfs)"]),
        row("flashcp -p", "an image of which little differs", |bench| {
            let image = other_firmware();
            bench.write("image", &image);
            bench.sh("flashcp -p image m/raw.bin").ok();
            bench.changed_to(&image)
        }),
        row("flashcp", "a file that is longer than a sector", |bench| {
            bench.write("new", &noise(7)[..SECTOR_LEN + 1]);
            bench.refuses("flashcp new m/sectors/00a000.bin", 1, "new won't fit into m/sectors/00a000.bin!")
        }),
        row("mtd_debug info", "raw.bin", |bench| {
            bench.prints(
                "mtd_debug info m/raw.bin",
                "mtd.type = MTD_NORFLASH\nmtd.flags = MTD_CAP_NORFLASH\nmtd.size = 16777216 (16M)\n\
                 mtd.erasesize = 4096 (4K)\nmtd.writesize = 1 \nmtd.oobsize = 0 \nregions = 0\n\n",
            )
        }),
        row("mtd_debug info", "a sector", |bench| {
            let said = bench.sh("mtd_debug info m/sectors/00a000.bin").ok().stdout;
            assert!(said.contains("mtd.size = 4096 (4K)\nmtd.erasesize = 4096 (4K)\n"), "{said}");
            bench.unchanged()
        }),
        row("mtd_debug read", "a part of raw.bin", |bench| {
            bench.copies("mtd_debug read m/raw.bin 0xa000 4096 copy", "copy", sector(BINARY_AT))
        }),
        row("mtd_debug erase", "a sector of raw.bin", |bench| {
            bench.sh("mtd_debug erase m/raw.bin 0xa000 0x1000").ok();
            bench.changed(&[(BINARY_AT, &[0xff; SECTOR_LEN])])
        }),
        row("mtd_debug erase", "what is no whole sector", |bench| {
            bench.refuses("mtd_debug erase m/raw.bin 0xa000 0x800", 1, "MEMERASE: Invalid argument")
        }),
        row("mtd_debug write", "a part of raw.bin", |bench| {
            let new = &noise(7)[..5000];
            bench.write("new", new);
            bench.sh("mtd_debug write m/raw.bin 0xa100 5000 new").ok();
            bench.changed(&[(BINARY_AT + 0x100, new)])
        }),
        row("flash_erase", "a sector of raw.bin", |bench| {
            // What it says depends on whether the machine has an MTD device.
            bench.fails("flash_erase m/raw.bin 0xa000 1", 255, "flash_erase: error!: *");
            format!("it insists on /dev/mtdN; {}", bench.unchanged())
        }),
    ]
}

fn blockdev_rows() -> Vec<Row> {
    vec![
        row("blockdev --getsize64", "raw.bin and a sector", |bench| {
            let script = "blockdev --getsize64 m/raw.bin m/sectors/00a000.bin";
            bench.prints(script, "16777216\n4096\n")
        }),
        row("blockdev --flushbufs", "what is read afterwards comes from the chip", |bench| {
            let reading = |bench: &FirmwareBench| {
                let before = bench.counters().bytes_read;
                bench
                    .sh("cmp m/sectors/00a000.bin <(dd if=chip.img bs=4096 skip=10 count=1 status=none)")
                    .ok();
                bench.counters().bytes_read - before
            };
            reading(bench);
            assert_eq!(reading(bench), 0);
            bench.sh("blockdev --flushbufs m/raw.bin").ok();
            let read = reading(bench);
            assert!(read >= SECTOR_LEN as u64, "{read}");
            format!("read again; {}", bench.unchanged())
        }),
        row("blockdev --getss", "raw.bin", |bench| {
            let message = "blockdev: ioctl error on BLKSSZGET: Inappropriate ioctl for device";
            bench.refuses("blockdev --getss m/raw.bin", 1, message)
        }),
    ]
}

/// The ioctls of include/uapi/mtd/mtd-abi.h, and how Python calls them.
const IOCTLS: &str = "
import fcntl, os, struct
def io(direction, number, size): return direction << 30 | size << 16 | ord('M') << 8 | number
MEMGETINFO = io(2, 1, 32)
MEMERASE = io(1, 2, 8)
MEMWRITEOOB = io(3, 3, 16)
MEMREADOOB = io(3, 4, 16)
MEMLOCK = io(1, 5, 8)
MEMUNLOCK = io(1, 6, 8)
MEMGETREGIONCOUNT = io(2, 7, 4)
MEMERASE64 = io(1, 20, 16)
MEMISLOCKED = io(2, 23, 8)
def call(fd, request, argument=b''):
    argument = bytearray(argument)
    try:
        return fcntl.ioctl(fd, request, argument), bytes(argument)
    except OSError as error:
        return os.strerror(error.errno), b''
raw = os.open('m/raw.bin', os.O_RDWR)
sector = os.open('m/sectors/00a000.bin', os.O_RDWR)
reader = os.open('m/raw.bin', os.O_RDONLY)
";

/// Runs a Python script that calls ioctls, and returns what it prints.
#[track_caller]
fn ioctls(bench: &FirmwareBench, script: &str) -> String {
    bench.python(&format!("{IOCTLS}{script}")).ok().stdout
}

fn ioctl_rows() -> Vec<Row> {
    vec![
        row("ioctl MEMGETINFO", "raw.bin and a sector", |bench| {
            // Type, flags, size, erase size, write size, out-of-band size.
            let script = "
for fd in raw, sector:
    result, info = call(fd, MEMGETINFO, bytes(32))
    print(result, *struct.unpack('=B3xIIIIIQ', info or bytes(32)))
";
            assert_eq!(ioctls(bench, script), "0 3 3072 16777216 4096 1 0 0\n0 3 3072 4096 4096 1 0 0\n");
            format!("as of a NOR flash; {}", bench.unchanged())
        }),
        row("ioctl MEMERASE, MEMERASE64", "a sector each", |bench| {
            let script = "
print(call(sector, MEMERASE, struct.pack('=II', 0, 4096))[0])
print(call(raw, MEMERASE64, struct.pack('=QQ', 0xb000, 8192))[0])
os.fsync(raw)
print(os.pread(raw, 3 * 4096, 0xa000) == b'\\xff' * 3 * 4096)
";
            assert_eq!(ioctls(bench, script), "0\n0\nTrue\n");
            bench.changed(&[(BINARY_AT, &[0xff; 3 * SECTOR_LEN])])
        }),
        row("ioctl MEMERASE", "out of range, unaligned, or for a reader", |bench| {
            let script = "
print(call(sector, MEMERASE, struct.pack('=II', 4096, 4096))[0])
print(call(raw, MEMERASE, struct.pack('=II', 16 << 20, 4096))[0])
print(call(raw, MEMERASE, struct.pack('=II', 100, 4096))[0])
print(call(raw, MEMERASE64, struct.pack('=QQ', 1 << 40, 4096))[0])
print(call(reader, MEMERASE, struct.pack('=II', 0, 4096))[0])
";
            assert_eq!(
                ioctls(bench, script),
                format!("{}Operation not permitted\n", "Invalid argument\n".repeat(4))
            );
            format!("Invalid argument, Operation not permitted; {}", bench.unchanged())
        }),
        row("ioctl MEMGETREGIONCOUNT", "raw.bin", |bench| {
            assert_eq!(
                ioctls(bench, "print(call(raw, MEMGETREGIONCOUNT, bytes([9] * 4)))"),
                "(0, b'\\x00\\x00\\x00\\x00')\n"
            );
            format!("0 regions; {}", bench.unchanged())
        }),
        row("ioctl MEMISLOCKED", "raw.bin, unprotected", |bench| {
            let script = "print(call(raw, MEMISLOCKED, struct.pack('=II', 0xa000, 4096))[0])";
            assert_eq!(ioctls(bench, script), "0\n");
            format!("not locked; {}", bench.unchanged())
        }),
        row("ioctl MEMUNLOCK", "raw.bin, unprotected", |bench| {
            let script = "print(call(raw, MEMUNLOCK, struct.pack('=II', 0, 16 << 20))[0])";
            assert_eq!(ioctls(bench, script), "0\n");
            bench.unchanged()
        }),
        row("ioctl MEMLOCK", "raw.bin", |bench| {
            let script = "print(call(raw, MEMLOCK, struct.pack('=II', 0xa000, 4096))[0])";
            assert_eq!(ioctls(bench, script), "Operation not supported\n");
            format!("Operation not supported; {}", bench.unchanged())
        }),
        row("ioctl MEMREADOOB, MEMWRITEOOB", "raw.bin", |bench| {
            let script =
                "print(call(raw, MEMREADOOB, bytes(16))[0], call(raw, MEMWRITEOOB, bytes(16))[0], sep='\\n')";
            assert_eq!(ioctls(bench, script), "Operation not supported\nOperation not supported\n");
            format!("Operation not supported; {}", bench.unchanged())
        }),
        row("ioctl", "of what is not known", |bench| {
            assert_eq!(
                ioctls(bench, "print(call(raw, io(2, 99, 4), bytes(4))[0])"),
                "Inappropriate ioctl for device\n"
            );
            format!("Inappropriate ioctl for device; {}", bench.unchanged())
        }),
    ]
}
