//! Tools that give files other names, and remove them.

use super::firmware::{BINARY_AT, firmware, other_firmware, sector};
use super::row::{Row, row};
use crate::common::{SECTOR_LEN, noise};

fn new_sector() -> Vec<u8> {
    noise(5)[..SECTOR_LEN].to_vec()
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("mv", "in, over a sector", |bench| {
            bench.write("new", &new_sector());
            bench.refuses(
                "mv -f new m/sectors/00a000.bin",
                1,
                "mv: inter-device move failed: 'new' to 'm/sectors/00a000.bin'; unable to remove target: Operation not permitted",
            )
        }),
        row("mv", "in under a new name, then over a sector", |bench| {
            bench.write("new", &new_sector());
            bench.sh("mv new m/new && test ! -e new && mv -f m/new m/sectors/00a000.bin").ok();
            bench.changed(&[(BINARY_AT, &new_sector())])
        }),
        row("mv", "an image within the mount, over raw.bin", |bench| {
            let image = other_firmware();
            bench.write("image", &image);
            bench.sh("cp image m/sectors/image && mv -f m/sectors/image m/raw.bin").ok();
            bench.changed_to(&image)
        }),
        row("mv", "a shorter file within the mount, over a sector", |bench| {
            bench.sh("echo short > m/short").ok();
            // What mv makes of EINVAL.
            let message = "mv: cannot move 'm/short' to a subdirectory of itself, 'm/sectors/00a000.bin'";
            bench.fails("mv -f m/short m/sectors/00a000.bin", 1, message);
            assert_eq!(bench.sh("cat m/short && rm m/short").ok().stdout, "short\n");
            format!("EINVAL, which mv tells in its own way; {}", bench.unchanged())
        }),
        row("mv", "a sector to a new name: a copy", |bench| {
            bench.sh("mv m/sectors/00a000.bin m/sectors/00a000.bin~").ok();
            bench.sh("cmp m/sectors/00a000.bin m/sectors/00a000.bin~ && cp m/sectors/00a000.bin~ copy").ok();
            bench.assert_file("copy", sector(BINARY_AT));
            bench.sh("rm m/sectors/00a000.bin~").ok();
            format!("a copy in memory; {}", bench.unchanged())
        }),
        row("mv", "a sector over another", |bench| {
            let message =
                "mv: cannot move 'm/sectors/00a000.bin' to 'm/sectors/00b000.bin': Operation not permitted";
            bench.refuses("mv -f m/sectors/00a000.bin m/sectors/00b000.bin", 1, message)
        }),
        row("mv", "a sector out of the mount", |bench| {
            let message = "mv: cannot remove 'm/sectors/00a000.bin': Operation not permitted";
            let error = bench.fails("mv m/sectors/00a000.bin copy", 1, message);
            bench.assert_file("copy", sector(BINARY_AT));
            format!("copied; {error}; {}", bench.unchanged())
        }),
        row("install", "an image over raw.bin", |bench| {
            bench.write("image", &other_firmware());
            let message = "install: cannot remove 'm/raw.bin': Operation not permitted";
            bench.refuses("install image m/raw.bin", 1, message)
        }),
        row("install", "raw.bin away", |bench| {
            bench.copies("install -m 644 m/raw.bin copy", "copy", firmware())
        }),
        row("rm", "raw.bin", |bench| {
            bench.refuses("rm -f m/raw.bin", 1, "rm: cannot remove 'm/raw.bin': Operation not permitted")
        }),
        row("rmdir", "sectors", |bench| {
            bench.refuses(
                "rmdir m/sectors",
                1,
                "rmdir: failed to remove 'm/sectors': Operation not permitted",
            )
        }),
        row("mkdir", "a directory", |bench| {
            bench.refuses("mkdir m/new", 1, "mkdir: cannot create directory ‘m/new’: Operation not permitted")
        }),
        row("ln", "a hard link to raw.bin", |bench| {
            let message = "ln: failed to create hard link 'm/link' => 'm/raw.bin': Operation not permitted";
            bench.refuses("ln m/raw.bin m/link", 1, message)
        }),
        row("ln -s", "a symbolic link to raw.bin", |bench| {
            let message = "ln: failed to create symbolic link 'm/link': Operation not permitted";
            bench.refuses("ln -s raw.bin m/link", 1, message)
        }),
        row("mkfifo", "a named pipe", |bench| {
            bench.refuses("mkfifo m/fifo", 1, "mkfifo: cannot create fifo 'm/fifo': Operation not permitted")
        }),
    ]
}
