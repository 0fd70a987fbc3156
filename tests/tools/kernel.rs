//! What the kernel offers for files: loop devices, holes, locks, notification, attributes.

use nix::unistd::geteuid;

use super::firmware::{BINARY_AT, SQUASHED, SQUASHFS_AT, squashfs};
use super::firmware_bench::FirmwareBench;
use super::row::{Row, row};

pub(super) fn rows() -> Vec<Row> {
    let mut rows = loop_rows();
    rows.extend(space_rows());
    rows.extend(lock_rows());
    rows.extend(attribute_rows());
    rows
}

/// Shell that sets up `$loop` for a part of raw.bin, and gives it back in the end.
fn with_loop(options: &str, script: &str) -> String {
    format!(
        "set -e; loop=$(losetup --find --show {options} m/raw.bin); trap 'umount x 2>/dev/null || true; losetup -d $loop' EXIT
        {script}"
    )
}

/// What somebody without privileges is told.
#[track_caller]
fn refuses_loop(bench: &FirmwareBench) -> String {
    let script = "losetup --find --show -r m/raw.bin";
    bench.refuses(script, 1, "losetup: m/raw.bin: failed to set up loop device: Permission denied")
}

fn loop_rows() -> Vec<Row> {
    vec![
        row("losetup -o --sizelimit, mount", "the squashfs in raw.bin", |bench| {
            if !geteuid().is_root() {
                return refuses_loop(bench);
            }
            let len = squashfs().len();
            let mount = "mkdir x && mount -t squashfs -o ro $loop x && cat x/usr/sbin/telnetd";
            let script = with_loop(&format!("-r -o {SQUASHFS_AT} --sizelimit {len}"), mount);
            assert_eq!(bench.sh(&script).ok().stdout, SQUASHED[1].1);
            format!("its files; {}", bench.unchanged())
        }),
        row("mount -o loop,ro", "the squashfs in a partition", |bench| {
            if !geteuid().is_root() {
                return refuses_loop(bench);
            }
            let script =
                "mkdir x && mount -o loop,ro m/partitions/rootfs.bin x && cat x/etc/passwd && umount x";
            assert_eq!(bench.sh(script).ok().stdout, SQUASHED[0].1);
            format!("its files; {}", bench.unchanged())
        })
        .mounted_with(&["-o", "mtdparts=2m(boot),1m(rootfs),-(rest)"]),
        row("losetup, dd", "written through a loop device", |bench| {
            if !geteuid().is_root() {
                return refuses_loop(bench);
            }
            let write = "echo looped | dd of=$loop bs=512 conv=notrunc,fsync,sync";
            bench.sh(&with_loop("-o 4096 --sizelimit 65536", write)).ok();
            let mut block = b"looped\n".to_vec();
            block.resize(512, 0);
            bench.changed(&[(4096, &block)])
        }),
        row("losetup", "without privileges", refuses_loop).without_privileges(),
    ]
}

fn space_rows() -> Vec<Row> {
    vec![
        row("fallocate", "space that is there", |bench| {
            let message = "fallocate: fallocate failed: Operation not supported";
            bench.refuses("fallocate -l 4096 m/raw.bin", 1, message)
        }),
        row("fallocate -p", "a hole", |bench| {
            let message = "fallocate: fallocate failed: keep size mode is unsupported";
            bench.refuses("fallocate -p -o 4096 -l 4096 m/raw.bin", 1, message)
        }),
        row("fallocate -z", "zeros", |bench| {
            let message = "fallocate: fallocate failed: Operation not supported";
            bench.refuses("fallocate -z -l 4096 m/sectors/00a000.bin", 1, message)
        }),
        row("fallocate -c", "a part taken out", |bench| {
            let message = "fallocate: fallocate failed: Operation not supported";
            bench.refuses("fallocate -c -o 4096 -l 4096 m/raw.bin", 1, message)
        }),
        row("fallocate -d", "holes where zeros are", |bench| {
            let message = "fallocate: fallocate failed: keep size mode is unsupported";
            bench.refuses("fallocate -d m/raw.bin", 1, message)
        }),
        row("fallocate -x", "space that is there, the portable way", |bench| {
            bench.sh("fallocate -x -l 4096 m/sectors/00a000.bin").ok();
            bench.unchanged()
        }),
    ]
}

fn lock_rows() -> Vec<Row> {
    vec![
        row("flock", "raw.bin, twice", |bench| {
            let script =
                "flock -n m/raw.bin sh -c 'flock -n m/sectors/00a000.bin true; flock -n -E 7 m/raw.bin true'";
            assert_eq!(bench.sh(script).code, 7);
            bench.sh("flock -n m/raw.bin sh -c 'echo hello > m/sectors/00a000.bin'").ok();
            format!("exclusive; {}", bench.changed(&[(BINARY_AT, b"hello\n")]))
        }),
        row("lockf", "parts of raw.bin, from two processes", |bench| {
            let script = "
import fcntl, subprocess, sys
f = open('m/raw.bin', 'r+b')
fcntl.lockf(f, fcntl.LOCK_EX, 4096, 0)
attempt = '''
import fcntl, sys
f = open('m/raw.bin', 'r+b')
fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB, 4096, int(sys.argv[1]))
'''
for start in 4096, 100:
    print(subprocess.run([sys.executable, '-c', attempt, str(start)], stderr=subprocess.PIPE, text=True).stderr.splitlines()[-1:])
";
            let said = bench.python(script).ok().stdout;
            assert_eq!(said, "[]\n['BlockingIOError: [Errno 11] Resource temporarily unavailable']\n");
            format!("exclusive, by range; {}", bench.unchanged())
        }),
        row("inotifywait", "sees another's write", |bench| {
            let script = "
inotifywait -q -e open -e modify -e close_write --format %e -m m/raw.bin > events 2> said &
watcher=$!
until grep -q OPEN events; do head -c 1 m/raw.bin > /dev/null; sleep 0.02; done
printf x | dd of=m/raw.bin bs=1 seek=100 conv=notrunc status=none
until grep -q CLOSE_WRITE events; do sleep 0.02; done
kill $watcher
grep -v OPEN events";
            assert_eq!(bench.sh(script).ok().stdout, "MODIFY\nCLOSE_WRITE,CLOSE\n");
            format!("notified; {}", bench.changed(&[(100, b"x")]))
        }),
        row("tail -f", "a sector of text", |bench| {
            let script = "timeout 0.5 tail -f m/sectors/00b000.bin | tail -1";
            assert_eq!(bench.sh(script).stdout, "name255=value55\n");
            format!("its end; {}", bench.unchanged())
        }),
        row("sync", "a file, and its file system", |bench| {
            bench.sh("sync m/raw.bin && sync -d m/sectors/00a000.bin && sync -f m/raw.bin").ok();
            bench.unchanged()
        }),
    ]
}

fn attribute_rows() -> Vec<Row> {
    vec![
        row("touch", "raw.bin and a sector", |bench| {
            bench.sh("touch m/raw.bin && touch -d '2020-02-02 UTC' m/sectors/00a000.bin").ok();
            assert_eq!(bench.sh("stat -c %Y m/sectors/00a000.bin").ok().stdout, "1580601600\n");
            format!("times are set; {}", bench.unchanged())
        }),
        row("chmod", "to the mode it has", |bench| {
            bench.sh("chmod 600 m/raw.bin && chmod u+rw m/sectors/00a000.bin").ok();
            bench.unchanged()
        }),
        row("chmod", "to another mode", |bench| {
            let message = "chmod: changing permissions of 'm/raw.bin': Operation not permitted";
            bench.refuses("chmod 644 m/raw.bin", 1, message)
        }),
        row("chown", "to the owner it has", |bench| {
            bench.sh("chown $(id -u):$(id -g) m/raw.bin").ok();
            bench.unchanged()
        }),
        row("chown", "to another owner", |bench| {
            let message = "chown: changing ownership of 'm/raw.bin': Operation not permitted";
            bench.refuses("chown 1234 m/raw.bin", 1, message)
        }),
        row("setfattr", "an attribute of raw.bin", |bench| {
            let message = "setfattr: m/raw.bin: Operation not supported";
            bench.refuses("setfattr -n user.note -v bricked m/raw.bin", 1, message)
        }),
        row("getfattr", "the attributes of raw.bin", |bench| {
            bench.refuses("getfattr -d m/raw.bin", 1, "getfattr: m/raw.bin: Operation not supported")
        }),
    ]
}
