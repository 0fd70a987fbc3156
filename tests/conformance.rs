//! Other people's tests of file systems, on a mounted chip: fsx, fio and stress-ng. They check what they read themselves; what
//! they leave is checked here.

mod common;
mod figures;

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Bench, assert_same, noise};
use serde_json::Value;

/// Where contrib/test installs fsx.
const FSX: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/tools/bin/fsx");

/// How often fsx runs, and how many operations it does each time. It never unmaps what it has read through a mapping, so that the
/// kernel takes the longer for each operation the more there have been.
const FSX_RUNS: u32 = 10;
const FSX_OPERATIONS: u32 = 10_000;

/// On what part of a file fsx works, in bytes: four blocks of a chip.
const FSX_LEN: usize = 256 << 10;

/// Which operations fsx does how often, all but those that change a file's size.
const FSX_WEIGHTS: &str = "
read = 200
write = 100
mapread = 200
invalidate = 10
fsync = 0.5
fdatasync = 0.5
sendfile = 20
posix_fadvise = 10
copy_file_range = 20
";

/// Runs fsx with a configuration on a file of the mount, and with the same one on a file of the host; returns how long the
/// former took and what the latter holds.
fn run_fsx(bench: &Bench, file: &str, configuration: &str, before: &[u8]) -> (Duration, Vec<u8>) {
    assert!(Path::new(FSX).exists(), "{FSX} is missing; contrib/test installs it");
    bench.write("fsx.toml", format!("flen = {FSX_LEN}\n{configuration}").as_bytes());
    bench.write("same", before);
    bench.make_directory("artifacts");
    let run = |file: &str| {
        for seed in 1..=FSX_RUNS {
            bench.sh(&format!("{FSX} -f fsx.toml -N {FSX_OPERATIONS} -S {seed} -P artifacts {file}")).ok();
        }
    };
    let started = Instant::now();
    run(file);
    let took = started.elapsed();
    run("same");
    (took, bench.read("same"))
}

fn run_fsx_on_the_chip(arguments: &[&str], mapped_writes: &str, mode: &str) {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount_with(arguments);
    let configuration = format!(
        "blockmode = true\nnosizechecks = true\n{mapped_writes}\ntruncate = 0\nclose_open = 0\nposix_fallocate = 0\n{FSX_WEIGHTS}
[opsize]\nmin = 1\nmax = 5000\n"
    );
    let (took, wanted) = run_fsx(&bench, "m/raw.bin", &configuration, &chip);
    let counters = bench.counters();
    figures::show(format_args!(
        "fsx on raw.bin, {mode}: {FSX_RUNS} times {FSX_OPERATIONS} operations in {took:.1?}, {} erases, {} pages programmed",
        counters.all_erases(),
        counters.pages_programmed
    ));
    assert_eq!(counters.verify_failures, 0);
    bench.unmount_to(&wanted);
}

/// What is stored in mappings gets to the chip when the kernel thinks fit, or when it has to because the same bytes are read or
/// written otherwise.
#[test]
fn fsx_finds_nothing_wrong_with_raw_bin() {
    run_fsx_on_the_chip(
        &[],
        "nomsyncafterwrite = true\n[weights]\nmapwrite = 100",
        "mappings not synchronized",
    );
}

/// As kernels before 6.6 have it.
#[test]
fn fsx_finds_nothing_wrong_with_raw_bin_through_the_page_cache() {
    run_fsx_on_the_chip(
        &["-o", "page_cache"],
        "[weights]\nmapwrite = 2",
        "page cache, mappings synchronized",
    );
}

#[test]
fn fsx_finds_nothing_wrong_with_a_scratch_file() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.mount();
    let configuration = format!(
        "[weights]\nmapwrite = 100\ntruncate = 50\nclose_open = 20\nposix_fallocate = 0\n{FSX_WEIGHTS}"
    );
    let (took, wanted) = run_fsx(&bench, "m/sectors/scratch", &configuration, &[]);
    figures::show(format_args!(
        "fsx on a scratch file: {FSX_RUNS} times {FSX_OPERATIONS} operations in {took:.1?}"
    ));
    assert_same(&bench.read("m/sectors/scratch"), &wanted, "the scratch file");
    bench.unmount_to(&chip);
}

/// What fio does at the same time. No two jobs that verify write to the same bytes, under whichever name. (fio maps from the
/// beginning of a file whatever its offset is.)
const FIO_JOBS: &str = "
[global]
rw=randwrite
bs=4k
verify=crc32c
verify_fatal=1
allow_file_create=0
fallocate=none
end_fsync=1
randseed=1

[mapped]
filename=m/raw.bin
ioengine=mmap
size=512k

[plain]
filename=m/raw.bin
ioengine=psync
offset=2m
size=512k

[asynchronous]
filename=m/raw.bin
ioengine=libaio
iodepth=8
direct=1
offset=4m
size=512k

[synchronous]
filename=m/raw.bin
ioengine=pvsync2
sync=1
bs=2k
offset=6m
size=64k

[sectors]
filename=m/sectors/700000.bin:m/sectors/701000.bin:m/sectors/702000.bin:m/sectors/703000.bin
ioengine=psync
nrfiles=4
filesize=4k
bs=512

[mapped sector]
filename=m/sectors/800000.bin
ioengine=mmap
size=4k
bs=1k

[read and write]
filename=m/sectors/900000.bin
ioengine=psync
rw=randrw
size=4k
io_size=64k
bs=256
verify_backlog=16

[other names]
filename=m/sectors/000000.bin:m/sectors/200000.bin:m/sectors/400000.bin:m/sectors/600000.bin
ioengine=psync
rw=randread
verify=0
nrfiles=4
filesize=4k
bs=1k
io_size=2m

[whole chip]
filename=m/raw.bin
ioengine=psync
rw=randread
verify=0
bs=16k
io_size=8m
";

/// Where they write.
const FIO_WRITES: [Range<usize>; 7] = [
    0..512 << 10,
    2 << 20..(2 << 20) + (512 << 10),
    4 << 20..(4 << 20) + (512 << 10),
    6 << 20..(6 << 20) + (64 << 10),
    0x70_0000..0x70_4000,
    0x80_0000..0x80_1000,
    0x90_0000..0x90_1000,
];

#[test]
fn fio_verifies_what_several_jobs_have_written() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.write("jobs.fio", FIO_JOBS.as_bytes());
    bench.mount();
    let started = Instant::now();
    bench.sh("fio --output-format=json --output=jobs.json jobs.fio").ok();
    let took = started.elapsed();
    let results: Value = serde_json::from_slice(&bench.read("jobs.json")).unwrap();
    let jobs = results["jobs"].as_array().unwrap();
    let total = |direction: &str| -> u64 {
        jobs.iter().map(|job| job[direction]["total_ios"].as_u64().unwrap()).sum()
    };
    assert!(jobs.iter().all(|job| job["error"] == 0), "{results}");
    figures::show(format_args!(
        "fio: {} jobs, {} writes and {} reads in {took:.1?}, verified by crc32c",
        jobs.len(),
        total("write"),
        total("read")
    ));
    // Where a sector has the same offset as in raw.bin, fio verifies what it has written under the other name.
    bench
        .sh("fio --name=other --filename=m/sectors/000000.bin --rw=read --bs=4k --size=4k --verify=crc32c")
        .ok();
    bench.sh("cat m/sectors/*.bin | cmp - m/raw.bin && cp m/raw.bin after").ok();
    let mut wanted = chip;
    let after = bench.read("after");
    for range in FIO_WRITES {
        assert_ne!(after[range.clone()], wanted[range.clone()], "nothing is written at {:#x}", range.start);
        wanted[range.clone()].copy_from_slice(&after[range]);
    }
    bench.unmount_to(&wanted);
}

/// The stressors of stress-ng that a directory without subdirectories, links, holes and extended attributes is something for, how
/// many operations each does, and with which options.
const STRESSORS: [(&str, u64, &str); 34] = [
    ("access", 20, ""),
    ("chmod", 20, ""),
    ("chown", 200, ""),
    ("copy-file", 20, "--copy-file-bytes 128M"),
    ("dentry", 2000, ""),
    ("dnotify", 20, ""),
    ("dup", 200, ""),
    ("fallocate", 1, "--fallocate-bytes 4M"),
    ("fcntl", 500, ""),
    ("file-ioctl", 200, ""),
    ("filename", 20, ""),
    ("flock", 500, ""),
    ("fsize", 1, ""),
    ("fstat", 500, ""),
    ("getdent", 500, ""),
    ("hdd", 1000, "--hdd-bytes 4M"),
    ("io", 5, ""),
    ("iomix", 1000, "--iomix-bytes 4M"),
    ("lease", 200, ""),
    ("locka", 500, ""),
    ("lockf", 500, ""),
    ("lockofd", 500, ""),
    ("mmap", 3, "--mmap-file --mmap-bytes 4M"),
    ("msync", 100, "--msync-bytes 4M"),
    ("open", 500, ""),
    ("readahead", 500, "--readahead-bytes 4M"),
    ("rename", 1000, ""),
    ("revio", 1000, "--revio-bytes 4M"),
    ("seek", 1000, "--seek-size 4M"),
    ("sendfile", 200, "--sendfile-size 1M"),
    ("splice", 200, ""),
    ("sync-file", 20, "--sync-file-bytes 2M"),
    ("touch", 200, ""),
    ("utime", 500, ""),
];

/// stress-ng makes a directory for each stressor, which a chip has none of. This, loaded before libc, makes a symbolic link to the mount
/// instead, through which everything else then goes.
const DIRECTORIES_ARE_THE_MOUNT: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int mkdir(const char *path, mode_t mode)
{
    const char *name = strrchr(path, '/');
    if (name && strncmp(name, "/tmp-stress-ng-", 15) == 0)
        return symlink(getenv("MOUNT"), path);
    return ((int (*)(const char *, mode_t))dlsym(RTLD_NEXT, "mkdir"))(path, mode);
}

int rmdir(const char *path)
{
    struct stat status;
    if (lstat(path, &status) == 0 && S_ISLNK(status.st_mode))
        return unlink(path);
    return ((int (*)(const char *))dlsym(RTLD_NEXT, "rmdir"))(path);
}
"#;

/// How many operations of a stressor the table says that stress-ng prints.
fn stressor_operations(printed: &str, stressor: &str) -> Option<u64> {
    printed.lines().filter(|line| line.contains("metrc:")).find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|&word| word != stressor);
        words.nth(1)?.parse().ok()
    })
}

#[test]
fn the_stressors_of_stress_ng_find_nothing_wrong_and_leave_nothing() {
    let chip = noise(1);
    let bench = Bench::with_chip(&chip);
    bench.write("directories.c", DIRECTORIES_ARE_THE_MOUNT.as_bytes());
    bench.sh("cc -shared -fPIC -o directories.so directories.c").ok();
    bench.make_directory("temporary");
    bench.mount_with(&["-o", "scratch=288M"]);
    let listing = bench.sh("ls m m/sectors").ok().stdout;
    let mut table = String::from("stress-ng in a mount\n");
    for (stressor, operations, options) in STRESSORS {
        let started = Instant::now();
        let finished = bench.sh(&format!(
            "MOUNT=$PWD/m LD_PRELOAD=$PWD/directories.so stress-ng --temp-path $PWD/temporary --{stressor} 1 \
             --{stressor}-ops {operations} {options} --verify --metrics-brief --timeout 120 2>&1"
        ));
        let done = stressor_operations(&finished.stdout, stressor);
        table += &format!(
            "  {stressor:12} {:>6} operations {:6.1?} {}\n",
            done.unwrap_or_default(),
            started.elapsed(),
            if finished.code == 0 { "passed" } else { "FAILED" }
        );
        let finished = finished.ok();
        assert!(done >= Some(operations), "{stressor} has done too little: {finished}");
    }
    figures::show(format_args!("{table}"));
    assert_eq!(bench.sh("ls m m/sectors").ok().stdout, listing);
    bench.unmount_to(&chip);
}
