//! Tools that only look: at bytes, at firmware, and at directories.

use super::firmware::{
    BANNER, BANNER_AT, BINARY_AT, SQUASHED, SQUASHFS_AT, TEXT_AT, firmware, sector, squashfs,
};
use super::firmware_bench::FirmwareBench;
use super::row::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = byte_rows();
    rows.extend(firmware_rows());
    rows.extend(directory_rows());
    rows
}

fn byte_rows() -> Vec<Row> {
    vec![
        row("cmp", "raw.bin and what is on the chip", |bench| bench.prints("cmp m/raw.bin chip.img", "")),
        row("cmp -l", "raw.bin and an image with another byte", |bench| {
            bench.sh(r"cp chip.img other && printf '\0' | dd of=other bs=1 seek=40960 conv=notrunc").ok();
            let differs = bench.sh("cmp -l m/raw.bin other");
            assert_eq!((differs.code, &*differs.stdout), (1, "   40961  57   0\n"), "{differs}");
            format!("1 byte differs; {}", bench.unchanged())
        }),
        row("diff", "two sectors", |bench| {
            let differ = bench.sh("diff m/sectors/00a000.bin m/sectors/00b000.bin");
            let said = "Binary files m/sectors/00a000.bin and m/sectors/00b000.bin differ\n";
            assert_eq!((differ.code, &*differ.stdout), (1, said), "{differ}");
            format!("they differ; {}", bench.unchanged())
        }),
        row("sha256sum", "raw.bin", |bench| {
            bench.prints("sha256sum < m/raw.bin | cmp - <(sha256sum < chip.img)", "")
        }),
        row("sha256sum -c", "some sectors", |bench| {
            bench.sh("split -b 4096 -d -a 4 chip.img sector.").ok();
            let check = "for n in {0..4095..64}; do
                printf '%s  m/sectors/%06x.bin\\n' $(sha256sum < sector.$(printf %04d $n) | cut -d ' ' -f 1) $((n * 4096))
                done | sha256sum -c --quiet";
            bench.prints(check, "")
        }),
        row("strings", "raw.bin", |bench| {
            bench.prints("strings -t x m/raw.bin | grep U-Boot", &format!("{:>7x} {BANNER}\n", BANNER_AT + 1))
        }),
        row("grep -abo", "raw.bin", |bench| {
            bench.prints("grep -abo /telnetd.-l m/raw.bin", &format!("{}:/telnetd -l\n", BINARY_AT + 9))
        }),
        row("grep -c", "a sector of text", |bench| {
            bench.prints("grep -c value01 m/sectors/00b000.bin", "3\n")
        }),
        row("grep -rl", "the whole mount", |bench| {
            let found = "m/raw.bin\nm/sectors/00a000.bin\n";
            bench.prints("grep -rl /telnetd.-l m | sort", found)
        }),
        row("od", "a part of raw.bin", |bench| {
            bench.prints(
                "od -A x -t c -j 0xb000 -N 8 m/raw.bin",
                "00b000   n   a   m   e   0   0   0   =\n00b008\n",
            )
        }),
        row("sort, wc", "a sector of text", |bench| {
            bench.prints(
                "sort -r m/sectors/00b000.bin | head -1; wc m/sectors/00b000.bin",
                "name255=value55\n 256  256 4096 m/sectors/00b000.bin\n",
            )
        }),
        row("gzip", "raw.bin, and back", |bench| {
            bench.copies("gzip -c m/raw.bin | gunzip > copy", "copy", firmware())
        }),
    ]
}

/// Checks that the directory `root` on the bench has the files of the squashfs.
fn assert_unsquashed(bench: &FirmwareBench, root: &str) {
    for (name, contents) in SQUASHED {
        bench.assert_file(&format!("{root}/{name}"), contents.as_bytes());
    }
}

fn firmware_rows() -> Vec<Row> {
    vec![
        row("file", "a sector of text", |bench| {
            bench.prints("file m/sectors/00b000.bin", "m/sectors/00b000.bin: ASCII text\n")
        }),
        row("file", "the sector in which a squashfs begins", |bench| {
            let said = bench.sh("file -b m/sectors/200000.bin").ok().stdout;
            assert!(said.starts_with("Squashfs filesystem, little endian, version 4.0"), "{said}");
            format!("it is recognised; {}", bench.unchanged())
        }),
        row("binwalk", "raw.bin", |bench| {
            let said = bench.sh("binwalk m/raw.bin").ok().stdout;
            let found = format!("{SQUASHFS_AT:<13} {:<15} Squashfs filesystem", format!("{SQUASHFS_AT:#X}"));
            assert!(said.lines().any(|line| line.starts_with(&found)), "{found}: {said}");
            format!("the squashfs is found; {}", bench.unchanged())
        }),
        row("unsquashfs -o", "the squashfs in raw.bin", |bench| {
            bench.sh(&format!("unsquashfs -q -n -o {SQUASHFS_AT} -d root m/raw.bin")).ok();
            assert_unsquashed(bench, "root");
            format!("its files; {}", bench.unchanged())
        }),
        row("unsquashfs, mksquashfs, dd", "unpacked, changed, packed, and put back", |bench| {
            let script = "unsquashfs -q -n -d root m/partitions/rootfs.bin && echo changed > root/etc/passwd &&
                mksquashfs root new -quiet -no-progress -all-root &&
                dd if=new of=m/partitions/rootfs.bin conv=notrunc && unsquashfs -q -n -d again m/partitions/rootfs.bin";
            bench.sh(script).ok();
            bench.assert_file("again/etc/passwd", b"changed\n");
            let new = bench.read("new");
            bench.changed(&[(SQUASHFS_AT, &new)])
        })
        .mounted_with(&["-o", "mtdparts=2m(boot),1m(rootfs),-(rest)"]),
        row("dd, unsquashfs", "the squashfs cut out of raw.bin", |bench| {
            let blocks = squashfs().len().div_ceil(4096);
            bench.sh(&format!("dd if=m/raw.bin of=cut bs=4096 skip=512 count={blocks}")).ok();
            bench.sh("unsquashfs -q -n -d root cut").ok();
            assert_unsquashed(bench, "root");
            format!("its files; {}", bench.unchanged())
        }),
    ]
}

fn directory_rows() -> Vec<Row> {
    vec![
        row("tar", "the whole mount, and unpacked again", |bench| {
            bench.sh("tar -C m -cf mount.tar . && mkdir copy && tar -C copy -xf mount.tar").ok();
            bench.sh("cat copy/sectors/*.bin | cmp - copy/raw.bin").ok();
            bench.assert_file("copy/raw.bin", firmware());
            bench.unchanged();
            "as on the chip".to_owned()
        }),
        row("tar", "a sector, unpacked over it", |bench| {
            bench.sh("cp m/sectors/00b000.bin 00a000.bin && tar -cf new.tar 00a000.bin").ok();
            let message = "tar: 00a000.bin: Cannot open: File exists";
            bench.refuses("tar -C m/sectors -xf new.tar", 2, message)
        }),
        row("tar --overwrite", "a sector, unpacked over it", |bench| {
            bench.sh("cp m/sectors/00b000.bin 00a000.bin && tar -cf new.tar 00a000.bin").ok();
            bench.sh("tar -C m/sectors --overwrite -xf new.tar").ok();
            bench.changed(&[(BINARY_AT, sector(TEXT_AT))])
        }),
        row("find", "by name, size and type", |bench| {
            let script =
                "find m -type f -size 16M; find m/sectors -type f -size 4096c | wc -l; find m -name 'fff*'";
            bench.prints(script, "m/raw.bin\n4096\nm/sectors/fff000.bin\n")
        }),
        row("find -exec", "the sector with a text", |bench| {
            let script = "find m/sectors -name '00*' -exec grep -l telnetd {} +";
            bench.prints(script, "m/sectors/00a000.bin\n")
        }),
        row("du", "raw.bin and sectors", |bench| {
            bench.prints("du -k m/raw.bin; du -sb m/sectors", "16384\tm/raw.bin\n16777216\tm/sectors\n")
        }),
        row("df", "the mount", |bench| {
            let script = "df -B1 --output=size,used,avail m";
            bench.prints(script, "1B-blocks     Used Avail\n 16777216 16777216     0\n")
        }),
        row("ls -l", "raw.bin and a sector", |bench| {
            let script = "touch -d '2020-02-02 UTC' m/raw.bin m/sectors/00a000.bin &&
                ls -ln --time-style=+%s m/raw.bin m/sectors/00a000.bin | sed \"s/ $(id -u) $(id -g) / UID GID /\"";
            bench.prints(script, "-rw------- 1 UID GID 16777216 1580601600 m/raw.bin\n-rw------- 1 UID GID     4096 1580601600 m/sectors/00a000.bin\n")
        }),
        row("ls", "all names", |bench| {
            bench.prints(
                "ls m; ls m/sectors | wc -l",
                "info.json\njedec_id\nmap.svg\npartitions\nraw.bin\nsectors\nsfdp.bin\nunique_id\n4096\n",
            )
        }),
        row("tree", "the whole mount", |bench| {
            bench.prints("tree m | tail -1", "3 directories, 4102 files\n")
        }),
        row("stat", "raw.bin", |bench| {
            bench.prints("stat -c '%s %A %F %h' m/raw.bin", "16777216 -rw------- regular file 1\n")
        }),
    ]
}
